// What commands say when something is wrong: run as people run them, each must end with exit code 1, one sentence on stderr, no stack trace and
// nothing half-written. Also what a command says and goes on.

import { spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { cases, folder, linux, noAdapter } from "./errors_cli_cases.ts";

const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
const tsx = import.meta.resolve("tsx");
interface Outcome {
  readonly code: number | null;
  readonly out: string;
  /** Lines of stderr but those that Dawn and the Vulkan loader write from native code. */
  readonly said: string[];
}

const native = /^(Warning: (maxDynamic|vk|loader_|Couldn't|DriverLoader|.*libvulkan)|\s+at \w+ \(.*third_party\/dawn)/;

function run(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, ["--import", tsx, main, ...args], {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [out, err] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => void (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => void (err += text));
    const timer = setTimeout(() => child.kill("SIGKILL"), 120_000);
    child.on("error", fail).on("close", (code) => {
      clearTimeout(timer);
      done({ code, out, said: err.split("\n").filter((line) => line.trim() && !native.test(line)) });
    });
  });
}

/** Everything below the scratch folder. */
const listing = () => readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();

/** Three at a time: a command spends most of its start waiting for the disk and the compiler. */
async function sideBySide<T>(work: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async () => {
    while (next < work.length) {
      const i = next++;
      results[i] = await work[i]();
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  return results;
}

const kept = listing();
const wanted = cases.filter((c) => !c.skip);
const outcomes = await sideBySide(wanted.map((c) => () => run(c.args, c.env)));
const left = listing();

for (const [i, c] of wanted.entries()) {
  test(c.name, () => {
    const { code, out, said } = outcomes[i];
    const words = `exit code ${code}, said:\n${said.join("\n")}`;
    assert.is(code, 1, words);
    const lines = [...said];
    if (c.usage) assert.is(lines.pop(), "(see --help)", words);
    const sentence = lines.pop() ?? "";
    if (typeof c.want === "string") assert.is(sentence, c.want.replaceAll("{}", folder), words);
    else assert.match(sentence, c.want, words);
    if (c.before) assert.match(lines.pop() ?? "", c.before, words);
    assert.equal(lines, [], "more than one sentence");
    assert.not.match(out, /\n\s+at /);
  });
}

test("no command that failed left anything behind", () => {
  const made = left.filter((name) => !kept.includes(name) && !name.startsWith("frames"));
  assert.equal(made, []);
  assert.equal(
    kept.filter((name) => !left.includes(name)),
    [],
  );
});

test("an action with unknown words is carried out, and said", async () => {
  const { code, said } = await run([
    "edit",
    "--cwm",
    "model",
    "--image",
    "picture.png",
    "--action",
    "frobnicate the zebra",
    "--out",
    "zebra.png",
    "--candidates",
    "2",
  ]);
  assert.is(code, 0, said.join("\n"));
  assert.is(said[0], 'note: the model\'s vocabulary has no whole token for "frobnicate", "zebra"; spelled out, expect poor results');
  assert.match(said[said.length - 1], /^zebra\.png: 48 x 48, candidate 1 of 2$/);
  assert.equal(
    [...readFileSync(join(folder, "zebra.png")).subarray(1, 4)],
    [..."PNG"].map((c) => c.charCodeAt(0)),
  );
});

if (linux) {
  test("doctor says what is missing and how to mend it", async () => {
    const { code, out, said } = await run(["doctor"], noAdapter);
    assert.is(code, 1);
    assert.equal(said, []);
    assert.match(out, /^tried +system drivers: no (driver|loader) /m);
    assert.match(out, /^result +no WebGPU adapter$/m);
    assert.match(out, /^to mend it +npm run doctor -- --install$/m);
  });

  test("doctor --adapter hardware does not take a software adapter", async () => {
    const { code, out } = await run(["doctor", "--adapter", "hardware", "--json"], noAdapter);
    assert.is(code, 1);
    const { ok, adapter, remedy } = JSON.parse(out) as { ok: boolean; adapter: unknown; remedy: string };
    assert.equal(
      { ok, adapter, remedy },
      { ok: false, adapter: null, remedy: "install the graphics card's Vulkan driver, or use --adapter software" },
    );
  });
}

test.run();
