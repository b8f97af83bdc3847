// Set-up: the words for a missing adapter, the calmed poll's transparency, bootstrap's decisions on fake folders, apt's sources, the archive
// reader, the test runner's sums, and an adapter that opens here. Run: `npm test -- setup`.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { calmed, isPump } from "../engine/calm.ts";
import { isSoftware, NoAdapterError } from "../engine/host.ts";
import { cachedDrivers, classify, nodeHost, openGPU } from "../engine/host_node.ts";
import { proveAdapter } from "../setup/adapter.ts";
import { parseSources, sourceLines, writeManifests } from "../setup/apt.ts";
import { untar } from "../setup/swiftshader.ts";

function inFolder(use: (folder: string) => void): void {
  const folder = mkdtempSync(join(tmpdir(), "worldline-setup-"));
  try {
    use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

// ---- why there is no adapter

const REDUCED =
  "Warning: maxDynamicUniformBuffersPerPipelineLayout artificially reduced from 1000000 to 16 to fit dynamic offset allocation limit.";

test("classify tells no loader, no driver and an old driver apart", () => {
  const loader = "Warning: Couldn't load Vulkan: libvulkan.so.1: cannot open shared object file: No such file or directory\n";
  const none =
    "Warning: vkCreateInstance: Found no drivers!\nWarning: vkCreateInstance failed with VK_ERROR_INCOMPATIBLE_DRIVER\n    at CheckVkSuccessImpl (x.cpp:106)\n";
  const old = `${REDUCED}\nWarning: Vulkan shaderUniform*ArrayDynamicIndexing required.\n    at InitializeImpl (x.cpp:1)\n`;
  assert.is(classify(loader).result, "no loader");
  assert.match(classify(loader).detail, "Couldn't load Vulkan");
  assert.is(classify(none).result, "no driver");
  assert.is(classify(none).detail, "vkCreateInstance: Found no drivers!");
  assert.is(classify(old).result, "driver too old");
  assert.is(classify(old).detail, "Vulkan shaderUniform*ArrayDynamicIndexing required.");
});

test("classify does not take harmless or unknown words for a reason it knows", () => {
  assert.is(classify("").result, "no driver");
  assert.is(classify(`${REDUCED}\n`).detail, "the drivers offer no adapter");
  assert.equal(classify("Warning: the device said no\n    at X (y)\n"), { result: "refused", detail: "the device said no" });
});

test("a missing adapter is one sentence with what was tried and the remedy", () => {
  const error = new NoAdapterError("software", [{ what: "system drivers", result: "no loader", detail: "x" }], "Run `y`.");
  assert.is(error.message, "No software WebGPU adapter: system drivers: no loader (x). Run `y`.");
});

// ---- the calmed poll

/** A stand-in for an add-on's function: a proxy of a nameless function prints as native code and has neither name nor arguments. */
const native = (run: () => void): (() => void) =>
  new Proxy(() => {
    run();
  }, {});

test("only nameless native functions without arguments count as the pump", () => {
  assert.ok(
    isPump(
      native(() => undefined),
      [],
    ),
  );
  assert.not.ok(
    isPump(
      native(() => undefined),
      [1],
    ),
  );
  assert.not.ok(isPump(() => 1, []));
  assert.not.ok(isPump((() => 1).bind(null), []));
  assert.not.ok(isPump(Math.random, []));
  assert.not.ok(isPump(undefined, []));
  let resolver: unknown;
  void new Promise((resolve) => (resolver = resolve));
  assert.not.ok(isPump(resolver, []));
});

test("other callers of setImmediate see no difference", async () => {
  const wrapped = calmed(setImmediate);
  const got: unknown[] = [];
  const handle = wrapped((...args: unknown[]) => got.push(...args), 1, "two", null);
  assert.instance(handle, (setImmediate(() => 0) as object).constructor as never);
  assert.ok(handle.hasRef());
  const cancelled = wrapped(() => got.push("cancelled"));
  clearImmediate(cancelled);
  await new Promise<void>((done) => wrapped(done));
  assert.equal(got, [1, "two", null]);
  assert.is(wrapped.length, setImmediate.length);
  assert.is(wrapped.name, setImmediate.name);
  assert.is(await promisify(wrapped)("value"), "value");
  assert.throws(() => wrapped("no function" as never), /callback/);
});

/** A calmed setImmediate on a clock of its own. */
function stage() {
  let time = 1000;
  const queue: [string, () => void][] = [];
  let napped = "";
  const original = ((run: () => void) => queue.push([`quick${napped}`, run])) as unknown as typeof setImmediate;
  const wrapped = calmed(
    original,
    () => time,
    (run, ms) => queue.push([`timer ${ms}`, run]),
    (ms) => void (napped = ` after ${ms.toFixed(2)}`),
  );
  /** A wait of some pump calls, every call queueing the next from inside as the add-on does; `times` pass between them. */
  return (...times: number[]): string[] => {
    const kinds: string[] = [];
    const pump = native(() => {
      if (times.length) wrapped(pump);
    });
    wrapped(pump);
    for (let next = queue.shift(); next; next = queue.shift()) {
      kinds.push(next[0]);
      napped = "";
      time += times.shift() ?? 0;
      next[1]();
    }
    return kinds;
  };
}

test("the pump is quick for 0.1 ms of a wait, then naps for a sixteenth of it, then goes by timers, and is quick again in the next wait", () => {
  const wait = stage();
  assert.equal(wait(0.09, 0.11, 1.4, 3.2, 11.3, 4, 0), [
    "quick",
    "quick",
    "quick after 0.05",
    "quick after 0.10",
    "quick after 0.30",
    "timer 1",
    "timer 1",
  ]);
  assert.equal(wait(0.05, 0), ["quick", "quick"]);
});

test("after eight waits the pump sleeps for seven eighths of the shortest of them, and no longer once a shorter one has come", () => {
  const wait = stage();
  for (let i = 0; i < 7; i++) wait(4);
  assert.equal(wait(0.02, 3.98), ["quick", "quick"], "seven waits are not enough");
  assert.equal(wait(0.02, 1.5, 1, 0.88, 0.05, 1.6, 0), [
    "quick",
    "timer 2", // 3.48 ms ahead
    "quick after 1.00", // 1.98 ahead
    "quick after 0.98",
    "quick after 0.10", // the rest
    "quick after 0.05",
    "quick after 0.10", // a sixteenth of what has passed since
  ]);
  assert.equal(wait(0.2, 0), ["quick", "timer 2"]);
  assert.equal(wait(0.02, 0.18, 0.5), ["quick", "quick after 0.16", "quick after 0.05"], "a short wait is remembered");
  for (let i = 0; i < 8; i++) wait(1000);
  assert.equal(wait(0, 13.9, 20, 0).slice(1), ["timer 13", "quick after 0.10", "timer 1"], "never for more than 14 ms");
});

test("naps give the core back and end by themselves", async () => {
  const wrapped = calmed(setImmediate);
  const begin = performance.now();
  const spent = process.cpuUsage();
  for (let i = 0; i < 50; i++) {
    const start = performance.now();
    await new Promise<void>((done) => {
      const pump = native(() => {
        if (performance.now() - start < 1.4) wrapped(pump);
        else done();
      });
      wrapped(pump);
    });
  }
  const { user, system } = process.cpuUsage(spent);
  const share = (user + system) / 1000 / (performance.now() - begin);
  assert.ok(share < 0.7, `${(100 * share).toFixed(0)}% of the core were spun away`);
});

test("a pump that throws ends its wait", () => {
  let time = 0;
  const queue: (() => void)[] = [];
  const kinds: string[] = [];
  const wrapped = calmed(
    ((run: () => void) => kinds.push("quick") && queue.push(run)) as unknown as typeof setImmediate,
    () => time,
    (run) => kinds.push("slow") && queue.push(run),
  );
  const broken = native(() => {
    throw new Error("inside");
  });
  wrapped(broken);
  assert.throws(queue[0], "inside");
  time = 5;
  wrapped(broken);
  assert.equal(kinds, ["quick", "quick"]);
});

// ---- bootstrap

const bootstrap: {
  nodeProblem(version: string): string | null;
  modulesState(root: string): string;
  rememberModules(root: string): void;
  adapterKey(root: string, env: Record<string, string>): string;
} = await import(new URL("../setup/bootstrap.mjs", import.meta.url).href);

test("bootstrap takes Node 20.19 and later", () => {
  for (const version of ["v20.19.0", "v20.20.2", "v22.0.0", "v24.1.0"]) assert.is(bootstrap.nodeProblem(version), null, version);
  for (const version of ["v20.18.3", "v18.20.0", "v9.99.9"])
    assert.match(bootstrap.nodeProblem(version) ?? "", `This is Node ${version.slice(1)}`);
});

const lock = (packages: object) => JSON.stringify({ lockfileVersion: 3, packages: { "": { name: "x" }, ...packages } });

test("bootstrap installs modules when they are missing or older than the lock, and only then", () =>
  inFolder((root) => {
    const modules = join(root, "node_modules");
    writeFileSync(
      join(root, "package-lock.json"),
      lock({ "node_modules/a": { version: "1.0.0" }, "node_modules/b": { version: "2.0.0", optional: true } }),
    );
    assert.is(bootstrap.modulesState(root), "missing");
    mkdirSync(modules);
    assert.is(bootstrap.modulesState(root), "missing", "an install that was broken off");
    writeFileSync(join(modules, ".package-lock.json"), lock({ "node_modules/a": { version: "1.0.0" } }));
    assert.is(bootstrap.modulesState(root), "current", "installed by hand, without another platform's package");
    bootstrap.rememberModules(root);
    rmSync(join(modules, ".package-lock.json"));
    assert.is(bootstrap.modulesState(root), "current", "by the marker");
    writeFileSync(join(root, "package-lock.json"), lock({ "node_modules/a": { version: "1.1.0" } }));
    writeFileSync(join(modules, ".package-lock.json"), lock({ "node_modules/a": { version: "1.0.0" } }));
    assert.is(bootstrap.modulesState(root), "stale", "the lock moved on");
  }));

test("bootstrap asks for the adapter again when a driver comes, goes or is hidden", () =>
  inFolder((root) => {
    const env = { XDG_CACHE_HOME: root };
    const first = bootstrap.adapterKey(root, env);
    assert.is(bootstrap.adapterKey(root, env), first);
    assert.is.not(bootstrap.adapterKey(root, { ...env, VK_DRIVER_FILES: "/nowhere" }), first);
    mkdirSync(join(root, "worldline", "driver", "lavapipe"), { recursive: true });
    writeFileSync(join(root, "worldline", "driver", "lavapipe", "driver.json"), "{}");
    assert.is.not(bootstrap.adapterKey(root, env), first);
  }));

test("bootstrap installs what the commands run with, also where NODE_ENV or an .npmrc leaves it out", () =>
  inFolder((root) => {
    writeFileSync(join(root, "npm.cjs"), "console.log(process.argv.slice(2).join(' '));");
    writeFileSync(join(root, "package-lock.json"), lock({}));
    const module = new URL("../setup/bootstrap.mjs", import.meta.url).href;
    const program = `import { seeToModules } from ${JSON.stringify(module)}; await seeToModules(${JSON.stringify(root)});`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], {
      encoding: "utf8",
      env: { ...process.env, NODE_ENV: "production", npm_execpath: join(root, "npm.cjs") },
    });
    assert.match(stdout + stderr, /--include=dev --include=optional/);
  }));

test("bootstrap passes arguments and the exit code on", () => {
  const start = (...args: string[]) =>
    spawnSync(process.execPath, ["setup/bootstrap.mjs", "--modules-only", ...args], {
      cwd: new URL("..", import.meta.url),
      encoding: "utf8",
    });
  const echo = start("node", "-e", "console.log(JSON.stringify(process.argv.slice(1))); process.exitCode = 3", "--", "--preset", "a b");
  assert.is(echo.stdout, '["--preset","a b"]\n');
  assert.is(echo.status, 3);
  assert.is(start("node", "-e", "process.kill(process.pid, 'SIGTERM'); setTimeout(() => 0, 5000)").status, 143);
  assert.is(start().status, 1);
  const missing = start("no-such-program-here");
  assert.is(missing.status, 127);
  assert.match(missing.stderr, "no-such-program-here could not be started");
});

// ---- drivers

const DEB822 = `Types: deb
# a remark
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb-src
URIs: http://mirror.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://other.example/x
Suites: nodistro
Components: main
Enabled: no
`;

test("apt's sources are read in both forms and Debian 12 gets backports from the same mirror", () => {
  const text = `${DEB822}\ndeb [arch=amd64 signed-by=/etc/k.gpg] https://third.example/y stable main extra # remark\n# deb http://off.example z main\n`;
  const sources = parseSources(text);
  assert.equal(
    sources.map((s) => s.uri),
    ["https://third.example/y", "http://mirror.example/debian"],
  );
  assert.equal(sources[0], { uri: "https://third.example/y", suites: ["stable"], components: ["main", "extra"], signedBy: "/etc/k.gpg" });
  const key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
  const added = `deb ${key} http://mirror.example/debian bookworm-backports main`;
  assert.equal(sourceLines(sources, { id: "debian", codename: "bookworm" }), {
    lines: [
      `deb ${key} http://mirror.example/debian bookworm main`,
      `deb ${key} http://mirror.example/debian bookworm-updates main`,
      added,
    ],
    added,
  });
});

test("backports are added once and only on Debian 12", () => {
  const own = parseSources("deb http://m.example/debian bookworm main\ndeb http://m.example/debian bookworm-backports main\n");
  assert.is(sourceLines(own, { id: "debian", codename: "bookworm" }).added, null);
  const trixie = parseSources("deb http://m.example/debian trixie main\n");
  assert.equal(sourceLines(trixie, { id: "debian", codename: "trixie" }), {
    lines: ["deb http://m.example/debian trixie main"],
    added: null,
  });
});

test("a driver folder counts only when it is whole", () =>
  inFolder((cache) => {
    const folder = join(cache, "lavapipe");
    assert.equal(cachedDrivers(cache), []);
    mkdirSync(folder);
    writeFileSync(join(folder, "driver.json"), "{ cut o");
    assert.equal(cachedDrivers(cache), []);
    writeManifests(folder, "lavapipe", "lvp.so", ["."]);
    assert.equal(cachedDrivers(cache), [], "the library is missing");
    writeFileSync(join(folder, "lvp.so"), "");
    assert.equal(
      cachedDrivers(cache).map((d) => d.library),
      [join(folder, "lvp.so")],
    );
  }));

test("untar gives a tar archive's files and refuses one that is cut off", () =>
  inFolder((folder) => {
    mkdirSync(join(folder, "d"));
    writeFileSync(join(folder, "d", "one.txt"), "x".repeat(700));
    writeFileSync(join(folder, "two"), "");
    const packed = spawnSync("tar", ["-C", folder, "-cf", "-", "d", "two"], { maxBuffer: 1 << 24 }).stdout;
    const files = untar(packed);
    assert.equal([...files.keys()], ["d/one.txt", "two"]);
    assert.is(new TextDecoder().decode(files.get("d/one.txt")), "x".repeat(700));
    assert.throws(() => untar(packed.subarray(0, 1300)), /cut off/);
  }));

// ---- the test runner's sums

const runner: {
  choose(words: string[], files: string[]): { chosen: string[]; filter: string };
  judge(run: { code: number | string; timedOut: boolean; output: string }): {
    passed: number;
    failed: number;
    skipped: number;
    note: string;
  };
  totalLine(sum: { passed: number; failed: number; skipped: number }): string;
} = await import(new URL("./run.mjs", import.meta.url).href);

test("the runner counts a crash, a hang and an empty file as failures", () => {
  const said = (total: number, passed: number, skipped: number) =>
    `\n  Total:     ${total}\n  Passed:    ${passed}\n  Skipped:   ${skipped}\n  Duration:  1ms\n`;
  const sum = (code: number | string, output: string, timedOut = false) => {
    const { passed, failed, skipped } = runner.judge({ code, output, timedOut });
    return [passed, failed, skipped];
  };
  assert.equal(sum(0, said(5, 4, 1)), [4, 0, 1]);
  assert.equal(sum(1, said(5, 3, 1)), [3, 1, 1]);
  assert.equal(sum(0, "\x1b[32m  Total:     2\x1b[0m\n  Passed:    2\n"), [2, 0, 0], "colours do not matter");
  assert.equal(sum(0, ""), [0, 1, 0]);
  assert.equal(sum("SIGSEGV", ""), [0, 1, 0]);
  assert.equal(sum("SIGSEGV", said(3, 3, 0)), [3, 1, 0], "died after its summary");
  assert.equal(sum("SIGKILL", said(3, 3, 0), true), [3, 1, 0]);
  assert.is(runner.totalLine({ passed: 7, failed: 0, skipped: 0 }), "7 passed, 0 failed");
  assert.is(runner.totalLine({ passed: 7, failed: 1, skipped: 2 }), "7 passed, 1 failed, 2 skipped");
});

test("the runner's words select files, the rest filters kernels", () => {
  const files = ["kernels.test.ts", "model.test.ts", "setup.test.ts"];
  assert.equal(runner.choose([], files), { chosen: files, filter: "" });
  assert.equal(runner.choose(["setup", "model"], files), { chosen: ["model.test.ts", "setup.test.ts"], filter: "" });
  assert.equal(runner.choose(["rmsnorm:rows=3,C=100"], files), { chosen: ["kernels.test.ts"], filter: "rmsnorm:rows=3,C=100" });
});

// ---- the host and the adapter here

test("the host reads exact byte ranges and says when a file is too short", async () => {
  const folder = mkdtempSync(join(tmpdir(), "worldline-setup-"));
  try {
    const url = pathToFileURL(join(folder, "f"));
    writeFileSync(url, "0123456789");
    assert.is(await nodeHost.readText(url), "0123456789");
    assert.equal([...(await nodeHost.readBytes(url, 3, 6))], [51, 52, 53]);
    assert.is((await nodeHost.readBytes(url, 10, 10)).length, 0);
    const message = (promise: Promise<unknown>): Promise<string> =>
      promise.then(
        () => "no error",
        (error: Error) => error.message,
      );
    assert.match(await message(nodeHost.readBytes(url, 5, 12)), "ends before byte 12 (bytes 5 to 12 were asked for, 5 came)");
    assert.match(await message(nodeHost.readBytes(url, 6, 3)), "no range");
    assert.match(await message(nodeHost.readText(pathToFileURL(join(folder, "missing")))), "cannot be read");
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test("openGPU gives an adapter here that computes", async () => {
  const { adapter, tried } = await openGPU();
  assert.is(tried[tried.length - 1].result, "ok");
  assert.is(await proveAdapter(adapter), null);
  assert.is((globalThis.navigator as { gpu?: GPU } | undefined)?.gpu, undefined, "nothing is put on navigator");
});

test("openGPU gives the kind that was asked for or says what there is", async () => {
  const { adapter } = await openGPU();
  const [here, other] = isSoftware(adapter.info) ? (["software", "hardware"] as const) : (["hardware", "software"] as const);
  assert.is(isSoftware((await openGPU({ adapter: here })).adapter.info), here === "software");
  if (other === "hardware") {
    const error = await openGPU({ adapter: other }).then(
      () => null,
      (e: Error) => e,
    );
    assert.instance(error, NoAdapterError);
    assert.match(error!.message, "No hardware WebGPU adapter: system drivers: ");
  }
});

test.run();
