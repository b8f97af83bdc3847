// Hub ids: settings, the cache's layout, resuming, checksums and what is said when something fails, against a server on the loopback.

import { createHash } from "node:crypto";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { scanCacheDir } from "@huggingface/hub";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { WorldlineError } from "../engine/errors.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { lock } from "../weights/download.ts";
import { place } from "../weights/file_source.ts";
import { type HubOptions, hubSettings, modelFolder, parseHubId } from "../weights/hub.ts";
import { modelSource } from "../weights/hub_source.ts";
import { writeSafetensors } from "../weights/safetensors.ts";
import { type HubServer, hubServer } from "./hub_server.ts";
import { scratchFolder } from "./tiny_model.ts";

const scratch = scratchFolder();
const text = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const values = (n: number) => Uint8Array.from({ length: 4 * n }, (_, i) => (i * 31 + (i >> 8)) % 251);
const tensor = (name: string, n: number) => ({ name, dtype: "F32" as const, shape: [n], data: values(n) });
const weights = await writeSafetensors([tensor("w", 50_000)]);
const config = { model_type: "chameleon" };
const whole = { "config.json": text(config), "tokenizer.json": text({ long: "x".repeat(2000) }), "model.safetensors": weights };

let count = 0;

interface Place {
  readonly server: HubServer;
  readonly cache: string;
  readonly repo: string;
  get(name?: string, more?: Partial<HubOptions>): Promise<string>;
}

/** A server and an empty cache. Gone after `run`. */
async function withHub(run: (place: Place) => Promise<void>, files: Record<string, Uint8Array> = whole): Promise<void> {
  const server = await hubServer(files);
  const cache = join(scratch, `cache ${count++}`);
  const env = { HF_ENDPOINT: server.url, HF_HUB_CACHE: cache, HF_HOME: join(scratch, "no home") };
  const get = (name = "org/name", more: Partial<HubOptions> = {}) =>
    modelFolder(name, { retryDelay: 1, idleLimit: 2000, ...more, env: { ...env, ...more.env } });
  try {
    await run({ server, cache, repo: join(cache, "models--org--name"), get });
  } finally {
    await server.close();
  }
}

async function messageOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => assert.unreachable("nothing was thrown"),
    (e: unknown) => e,
  );
  assert.instance(error, WorldlineError, String((error as Error).stack));
  return (error as Error).message;
}

/** Bytes of the weights that a download has kept so far. */
const kept = (repo: string) => () =>
  statSync(join(repo, "blobs", `${createHash("sha256").update(weights).digest("hex")}.incomplete`), { throwIfNoEntry: false })?.size ?? 0;

/** Names of unfinished files and locks in the cache. */
const unfinished = (repo: string) => readdirSync(join(repo, "blobs")).filter((n) => n.includes("."));

test("the small files alone, where no weights are needed", () =>
  withHub(async ({ server, get }) => {
    const folder = await get("org/name", { weights: false });
    assert.equal(readdirSync(folder).sort(), ["config.json", "tokenizer.json"]);
    const before = server.log.length;
    assert.is(await get("org/name", { weights: false, env: { HF_HUB_OFFLINE: "1" } }), folder);
    assert.is(server.log.length, before);
    await get();
    assert.ok(existsSync(join(folder, "model.safetensors")));
  }));

test("a look at a model that is not in the cache asks for headers alone and keeps nothing", () =>
  withHub(async ({ server, cache, get }) => {
    const look = () => modelSource("org/name", { retryDelay: 1, env: { HF_ENDPOINT: server.url, HF_HUB_CACHE: cache, HF_HOME: cache } });
    const source = await look();
    assert.not.type(source, "string");
    const checkpoint = await openCheckpoint(source);
    assert.equal(checkpoint.tensors.get("w")?.shape, [50_000]);
    assert.equal(await checkpoint.readRange("w", 4000, 4016), values(50_000).slice(4000, 4016));
    await checkpoint.close();
    assert.not.ok(existsSync(cache));
    assert.equal(
      server.log.filter((r) => r.cdn && r.path.startsWith("/model")).map((r) => r.range?.split("-")[0]),
      ["bytes=0", "bytes=8", `bytes=${weights.length - 200_000 + 4000}`],
    );
    server.faults["model.safetensors"] = { noRange: true };
    assert.match(await messageOf(openCheckpoint(source)), /answers 200 to a request for a part of it; fetch the model first/);
    server.faults["model.safetensors"] = {};
    const folder = await get();
    assert.is(await look(), folder);
  }));

test("what is a hub id and what is a path", () => {
  assert.equal(parseHubId("facebook/chameleon-7b"), { repo: "facebook/chameleon-7b", revision: "main" });
  assert.equal(parseHubId("a/b.c@refs/pr/1"), { repo: "a/b.c", revision: "refs/pr/1" });
  for (const no of ["name", "./a/b", "/a/b", "a/b/c", "../b", "a/..", "a/b@", "a/b@../x", "a/b@x/../y", "a--b/c", "a b/c", ""])
    assert.is(parseHubId(no), null, no);
});

test("settings come from the environment as in Python", async () => {
  const home = join(scratch, "home");
  mkdirSync(home);
  writeFileSync(join(home, "token"), "hf_saved\n");
  writeFileSync(join(scratch, "other token"), "hf_other\n");
  assert.equal(await hubSettings({ HF_HOME: home }), {
    endpoint: "https://huggingface.co",
    cache: join(home, "hub"),
    token: "hf_saved",
    offline: false,
  });
  const env = { HF_HOME: home, HF_HUB_CACHE: "/c", HF_ENDPOINT: "http://mirror/", HF_HUB_OFFLINE: "yes" };
  assert.equal(await hubSettings({ ...env, HF_TOKEN: "hf_given", HF_TOKEN_PATH: join(scratch, "other token") }), {
    endpoint: "http://mirror",
    cache: "/c",
    token: "hf_given",
    offline: true,
  });
  assert.is((await hubSettings({ HF_HOME: home, HF_TOKEN_PATH: join(scratch, "other token") })).token, "hf_other");
  assert.is((await hubSettings({ XDG_CACHE_HOME: "/x" })).cache, "/x/huggingface/hub");
  assert.match(await messageOf(hubSettings({ HF_ENDPOINT: "mirror" })), /^HF_ENDPOINT is "mirror"; an address like/);
});

test("a model is fetched once, into the layout that the hub's own library reads", () =>
  withHub(async ({ server, cache, repo, get }) => {
    const seen: [number, number][] = [];
    const folder = await get("org/name", { onProgress: (...p) => void seen.push(p) });
    assert.is(folder, join(repo, "snapshots", server.commit));
    assert.is(readFileSync(join(repo, "refs", "main"), "utf8"), server.commit);
    for (const [name, data] of Object.entries(whole)) {
      assert.ok(lstatSync(join(folder, name)).isSymbolicLink());
      assert.ok(Buffer.from(data).equals(readFileSync(join(folder, name))), name);
    }
    const sha256 = createHash("sha256").update(weights).digest("hex");
    assert.is(readlinkSync(join(folder, "model.safetensors")), join("..", "..", "blobs", sha256));
    assert.equal(unfinished(repo), []);
    assert.equal(seen.at(-1)?.[0], seen.at(-1)?.[1]);
    const scanned = await scanCacheDir(cache);
    assert.equal(scanned.warnings, []);
    assert.is(scanned.repos[0].id.name, "org/name");
    assert.equal(scanned.repos[0].revisions[0].refs, ["main"]);
    assert.is(scanned.repos[0].filesCount, 3);
    const checkpoint = await openCheckpoint(folder);
    assert.equal(await checkpoint.read("w"), values(50_000));
    await checkpoint.close();
    const before = server.log.length;
    assert.is(await get(), folder);
    assert.equal(
      server.log.slice(before).map((r) => r.path.split("?")[0].split("/").at(-2)),
      ["revision", "tree"],
      "the second time only the commit and the list are asked for",
    );
    assert.is(await get(`org/name@${server.commit}`), folder);
    assert.is(server.log.length, before + 2, "a full commit that is there needs no request");
  }));

test("other revisions: a tag, a pull request, and one that is not there", () =>
  withHub(async ({ server, repo, get }) => {
    const folder = await get("org/name@v1");
    assert.is(readFileSync(join(repo, "refs", "v1"), "utf8"), server.commit);
    assert.is(await get("org/name@refs/pr/1"), folder);
    assert.is(readFileSync(join(repo, "refs", "refs", "pr", "1"), "utf8"), server.commit);
    assert.match(await messageOf(get("org/name@v2")), /no model org\/name with the revision v2; check the spelling$/);
    assert.match(
      await messageOf(get("org/nobody")),
      /^org\/nobody: there is no such folder, and 127\.0\.0\.1:\d+ has no model org\/nobody/,
    );
  }));

test("shards are those that the index names; other weights and folders stay away", async () => {
  const [a, b] = [await writeSafetensors([tensor("a", 300)]), await writeSafetensors([tensor("b", 200)])];
  const index = { weight_map: { a: "model-00001-of-00002.safetensors", b: "model-00002-of-00002.safetensors" } };
  const files = {
    "config.json": text(config),
    "model.safetensors.index.json": text(index),
    "model-00001-of-00002.safetensors": a,
    "model-00002-of-00002.safetensors": b,
    "consolidated.safetensors": a,
    "pytorch_model.bin.index.json": text({}),
    "pytorch_model-00001-of-00001.bin": a,
    "README.md": text("x"),
  };
  await withHub(async ({ get }) => {
    const folder = await get();
    const wanted = ["config.json", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"];
    assert.equal(readdirSync(folder).sort(), wanted);
    const checkpoint = await openCheckpoint(folder);
    assert.equal([...checkpoint.tensors.keys()], ["a", "b"]);
    await checkpoint.close();
  }, files);
});

test("a connection that is cut goes on where it stopped, in this run and in the next", () =>
  withHub(async ({ server, repo, get }) => {
    server.faults["model.safetensors"] = { cut: { after: 70_000, times: 2, kept: kept(repo) } };
    await get();
    const ranges = server.log.filter((r) => r.cdn && r.path.startsWith("/model")).map((r) => r.range);
    assert.equal(ranges, [undefined, "bytes=70000-", "bytes=140000-"]);
    rmSync(repo, { recursive: true });
    server.faults["model.safetensors"] = { cut: { after: 1000, times: 99, kept: kept(repo) } };
    assert.match(
      await messageOf(get()),
      /^model\.safetensors: the connection to 127\.0\.0\.1:\d+ keeps breaking \(.*\) at byte 5000 of \d+; run the same command again/,
    );
    assert.equal(
      unfinished(repo).map((n) => n.replace(/^\w+/, "")),
      [".incomplete"],
    );
    server.faults["model.safetensors"] = {};
    server.log.length = 0;
    await get();
    assert.is(server.log.find((r) => r.cdn)?.range, "bytes=5000-");
  }));

test("servers without ranges, with wrong ones, or silent ones", () =>
  withHub(async ({ server, repo, get }) => {
    for (const fault of [{ noRange: true }, { wrongRange: 1 }, { silent: 1 }]) {
      server.faults["model.safetensors"] = { cut: { after: 70_000, times: 1 }, ...fault };
      const folder = await get("org/name", { idleLimit: 300 });
      assert.ok(Buffer.from(weights).equals(readFileSync(join(folder, "model.safetensors"))), JSON.stringify(fault));
      rmSync(repo, { recursive: true });
    }
  }));

test("bytes that do not have the checksum are fetched once more, then refused, and never kept", () =>
  withHub(async ({ server, repo, get }) => {
    server.faults["model.safetensors"] = { garbled: 1 };
    server.faults["config.json"] = { garbled: 1 };
    const folder = await get();
    assert.ok(Buffer.from(weights).equals(readFileSync(join(folder, "model.safetensors"))));
    rmSync(repo, { recursive: true });
    server.faults["model.safetensors"] = { garbled: 9 };
    assert.match(await messageOf(get()), /^model\.safetensors: the content does not have the checksum that the server names/);
    assert.equal(unfinished(repo), []);
    assert.not.ok(existsSync(join(folder, "model.safetensors")));
    server.faults["model.safetensors"] = { tooMuch: 10 };
    assert.match(await messageOf(get()), /^model\.safetensors: the server sends more than the \d+ bytes it named/);
  }));

test("refusals and faults of the server are one sentence each", () =>
  withHub(async ({ server, get }) => {
    server.faults["model.safetensors"] = { statuses: [500, 429, 503], retryAfter: "0" };
    await get();
    const refused = async (status: number, times: number, more: Partial<HubOptions> = {}) => {
      server.api.push(...Array.from({ length: times }, () => status));
      return messageOf(get("org/name@v1", more));
    };
    assert.match(
      await refused(401, 1),
      /has no such model, or it is private: check the spelling, give a token that may read it in HF_TOKEN$/,
    );
    assert.match(await refused(403, 1), /refuses access: accept the model's terms at http:\/\/127\.0\.0\.1:\d+\/org\/name if it asks/);
    assert.match(await refused(401, 1, { env: { HF_TOKEN: "x" } }), /the token given has no access to it$/);
    assert.match(await refused(429, 5), /refuses further requests for now \(429\); wait a while, or set HF_TOKEN$/);
    assert.match(await refused(500, 5), /answers 500; try again later$/);
    assert.is(server.api.length, 0);
  }));

test("the token goes to the hub alone, not where it redirects to", () =>
  withHub(async ({ server, get }) => {
    server.token = "secret";
    assert.match(await messageOf(get()), /give a token that may read it in HF_TOKEN$/);
    await get("org/name", { env: { HF_TOKEN: "secret" } });
    assert.ok(server.log.some((r) => r.cdn));
    assert.ok(server.log.every((r) => !(r.cdn && r.token)));
  }));

test("without the hub the cache serves, and says so; offline nothing is asked", async () => {
  await withHub(async ({ server, repo, get }) => {
    const offline = { env: { HF_HUB_OFFLINE: "1" } };
    assert.match(
      await messageOf(get("org/name", offline)),
      /^org\/name: there is no such folder, it is not in the cache .* HF_HUB_OFFLINE/,
    );
    const folder = await get();
    const requests = server.log.length;
    assert.is(await get("org/name", offline), folder);
    assert.is(server.log.length, requests);
    const lines: string[] = [];
    server.api.push(500, 500, 500, 500, 500);
    assert.is(await get("org/name", { onNotice: (line) => void lines.push(line) }), folder);
    assert.match(lines[0], /answers 500; try again later; using the copy in the cache/);
    const closed = { env: { HF_ENDPOINT: "http://127.0.0.1:9" } };
    assert.is(await get("org/name", closed), folder);
    rmSync(join(folder, "model.safetensors"));
    assert.match(await messageOf(get("org/name", offline)), /model\.safetensors is missing in .*HF_HUB_OFFLINE/);
    assert.match(
      await messageOf(get("org/name", closed)),
      /^org\/name: there is no such folder, and 127\.0\.0\.1:9 cannot be reached \(.*\); check the network/,
    );
    assert.ok(existsSync(join(repo, "blobs")));
  });
});

test("a full disk and a cache that cannot be written", () =>
  withHub(async ({ repo, cache, get }) => {
    if (existsSync("/dev/full")) {
      const sha256 = createHash("sha256").update(weights).digest("hex");
      mkdirSync(join(repo, "blobs"), { recursive: true });
      symlinkSync("/dev/full", join(repo, "blobs", `${sha256}.incomplete`));
      assert.match(
        await messageOf(get()),
        /\.incomplete: the disk is full; make room \(\d+ bytes are still to come; what is there is kept\)$/,
      );
    } else console.log("skipped: a full disk, there is no /dev/full");
    rmSync(cache, { recursive: true, force: true });
    writeFileSync(cache, "");
    assert.match(await messageOf(get()), /the cache cannot be written, a part of the path is a file.*set HF_HUB_CACHE/);
  }));

test("two downloads of one model at once give one whole model; a lock of a process that is gone is taken over", () =>
  withHub(async ({ server, repo, get }) => {
    const sha256 = createHash("sha256").update(weights).digest("hex");
    mkdirSync(join(repo, "blobs"), { recursive: true });
    writeFileSync(join(repo, "blobs", `${sha256}.incomplete.lock`), "999999999");
    server.faults["model.safetensors"] = { cut: { after: 70_000, times: 1 } };
    const [a, b] = await Promise.all([get(), get()]);
    assert.is(a, b);
    assert.ok(Buffer.from(weights).equals(readFileSync(join(a, "model.safetensors"))));
    assert.is(server.log.filter((r) => r.cdn && r.path.startsWith("/model")).length, 2, "fetched once, in two parts");
    assert.equal(unfinished(repo), []);
  }));

test("one at a time holds a lock, however many find that its last holder is gone", async () => {
  const path = join(scratch, "file.lock");
  let holders = 0;
  let most = 0;
  const hold = async () => {
    const unlock = await lock(path, undefined, 1);
    most = Math.max(most, ++holders);
    await sleep(1);
    holders--;
    await unlock();
  };
  for (let round = 0; round < 100; round++) {
    writeFileSync(path, "999999999");
    await Promise.all(Array.from({ length: 4 }, hold));
  }
  assert.is(most, 1);
  assert.not.ok(existsSync(path) || existsSync(`${path}.stale`));
});

test("a lock is stale when its holder is gone or silent, and one of another machine when it is silent", async () => {
  const path = join(scratch, "silent.lock");
  const taken = async (holder: string, age: number) => {
    writeFileSync(path, holder);
    const then = new Date(Date.now() - age);
    utimesSync(path, then, then);
    return lock(path, AbortSignal.timeout(200), 5).then(
      (unlock) => unlock().then(() => true),
      () => false,
    );
  };
  assert.equal(
    [
      await taken(`${process.pid} ${place}`, 0),
      await taken(`${process.pid} ${place}`, 40_000),
      await taken("1 elsewhere", 0),
      await taken("1 elsewhere", 40_000),
      await taken(`999999999 ${place}`, 0),
      await taken("999999999 elsewhere", 0),
      await taken("", 0),
    ],
    [false, true, false, true, true, false, false],
  );
});

test("a look at a model over a connection that breaks tries again, then says so", () =>
  withHub(async ({ server, cache }) => {
    const look = async () => {
      const source = await modelSource("org/name", {
        retryDelay: 1,
        idleLimit: 100,
        env: { HF_ENDPOINT: server.url, HF_HUB_CACHE: cache, HF_HOME: cache },
      });
      const checkpoint = await openCheckpoint(source);
      const values = await checkpoint.readRange("w", 0, 4000);
      await checkpoint.close();
      return values;
    };
    for (const fault of [{ cut: { after: 100, times: 2 } }, { silent: 2 }]) {
      server.faults["model.safetensors"] = fault;
      assert.equal(await look(), values(50_000).slice(0, 4000));
    }
    for (const fault of [{ cut: { after: 100, times: 99 } }, { silent: 99 }]) {
      server.faults["model.safetensors"] = fault;
      assert.match(await messageOf(look()), /^model\.safetensors: the connection to 127\.0\.0\.1:\d+ keeps breaking \(.*\); try again$/);
    }
  }));

test("an interrupted download stops with the reason and keeps what it has", () =>
  withHub(async ({ server, repo, get }) => {
    server.faults["model.safetensors"] = { cut: { after: 70_000, times: 99, kept: kept(repo) } };
    const controller = new AbortController();
    const reason = new Error("enough");
    const done = get("org/name", {
      signal: controller.signal,
      retryDelay: 60_000,
      onProgress: (n) => n >= 70_000 && controller.abort(reason),
    });
    assert.is(await done.catch((e: unknown) => e), reason);
    assert.equal(
      unfinished(repo).map((n) => n.replace(/^\w+/, "")),
      [".incomplete"],
    );
  }));

test("paths stay paths; names without weights are refused", async () => {
  assert.is(await modelFolder(scratch), scratch);
  assert.is(await modelFolder("nowhere"), "nowhere");
  await withHub(async ({ get }) => assert.match(await messageOf(get()), /^org\/name: the repository holds no safetensors weights/), {
    "config.json": text(config),
    "pytorch_model.bin": weights,
  });
});

test.run();
