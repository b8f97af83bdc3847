// Jobs: two workers on a Redis of their own, one killed and Redis too, leave the file of a single process without Redis, and so do workers that are
// interrupted; what is said when things are missing; half-written files of killed processes go.
// Run: node --import tsx test/jobs.test.ts
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import { place, writeFileAtomic } from "../weights/file_source.ts";
import { copySystem, folderSystem, measureSystems } from "../world/bench.ts";
import { CodeStore } from "../world/codes.ts";
import { cut, finals, joinShards, missingShards, readManifest, readWork, writeManifest } from "../world/job_manifest.ts";
import { ShardRunner } from "../world/job_stages.ts";
import { loadModel } from "../world/model.ts";
import { pictureMetrics } from "../world/model_metrics.ts";
import { encodePng } from "../world/pictures.ts";
import { predict, readPredictions } from "../world/predictions.ts";
import { readRecords, type TripletRecord } from "../world/records.ts";
import { base, hasRedis, jobs, jobsWith, OwnRedis, writeWork } from "./job_runs.ts";

const folder = mkdtempSync(join(tmpdir(), "worldline-jobs-"));
const file = await writeWork(folder, "annotate", 24, 2);

/** The work of a file done in this process; the folder it went to. */
async function alone(toml: string, name: string): Promise<string> {
  const out = join(folder, name);
  await writeManifest(out, await cut(await readWork(toml)));
  const manifest = await readManifest(out);
  const runner = new ShardRunner(out, manifest);
  for (const shard of await missingShards(out, manifest)) assert.ok(await runner.run(shard));
  assert.ok(await joinShards(out, manifest));
  return out;
}

const calm = await alone(file, "calm");

(hasRedis ? test : test.skip)(
  "two workers, one of them and Redis killed with -9: the file of an undisturbed process, and status says what is where",
  async () => {
    const data = join(folder, "redis");
    mkdirSync(data);
    const redis = await OwnRedis.start(data);
    const out = join(folder, "wild");
    const shards = () =>
      existsSync(join(out, "shards")) ? readdirSync(join(out, "shards")).filter((n) => n.endsWith(".jsonl")).length : 0;
    const submitted = await jobs("submit", file, "--out", out, "--redis", redis.url.replace("//", "//:s3cret@")).end;
    assert.not.match(submitted.output, /s3cret/);
    assert.is(submitted.code, 0, submitted.output);
    assert.match((await jobs("status", out, "--redis", redis.url).end).output, /0 of 12 shards done, 0 at work, 12 waiting, 0 failed/);
    const start = () => jobs("work", out, "--redis", redis.url, "--lock", "3");
    const [one, two] = [start(), start()];
    while (shards() < 1) await new Promise((done) => setTimeout(done, 5));
    one.child.kill("SIGKILL");
    await redis.kill();
    await redis.start();
    const [end] = await Promise.all([two.end, one.end]);
    assert.is(end.code, 0, end.output);
    assert.match(end.output, /is gone; trying again for 60 s/);
    assert.is(readFileSync(join(out, "annotated.jsonl"), "utf8"), readFileSync(join(calm, "annotated.jsonl"), "utf8"));
    // One that was killed while it wrote leaves its half behind.
    const whole = (at: string) =>
      readdirSync(join(at, "shards"))
        .filter((n) => !n.endsWith(".tmp"))
        .sort();
    assert.equal(whole(out), whole(calm));
    assert.match((await jobs("status", out).end).output, /12 of 12 shards done, 0 missing/);
    await redis.kill();
    const lonely = await jobs("status", out, "--redis", redis.url).end;
    assert.is(lonely.code, 1);
    assert.match(lonely.output, /^no Redis answers at redis:.*start one with `redis-server --appendonly yes/);
  },
);
(hasRedis ? test : test.skip)(
  "Ctrl-C hands the shard at work back, a Redis that is away for longer than patience ends a worker, and the next one goes on from there",
  async () => {
    const place = join(folder, "slow");
    const data = join(folder, "redis-slow");
    for (const path of [place, data]) mkdirSync(path);
    const noise = (seed: number) => {
      const rng = new Rng(seed, "noise");
      return encodePng({ width: 400, height: 400, data: Uint8Array.from({ length: 480_000 }, () => rng.int(256)) });
    };
    for (const [i, name] of ["s.png", "t.png"].entries()) writeFileSync(join(place, name), noise(i));
    const records = Array.from({ length: 32 }, (_, i) => ({ id: `r${i}`, source: "s.png", target: "t.png", action: `go ${i}` }));
    writeFileSync(join(place, "records.jsonl"), records.map((r) => `${JSON.stringify(r)}\n`).join(""));
    const toml = join(place, "work.toml");
    writeFileSync(toml, 'stage = "eval"\ndata = "records.jsonl"\nshard = 8\n');
    const redis = await OwnRedis.start(data);
    const out = join(folder, "stopped");
    assert.is((await jobs("submit", toml, "--out", out, "--redis", redis.url).end).code, 0);
    const files = () => (existsSync(out) ? readdirSync(out, { recursive: true }).map(String) : []);
    const kept = () =>
      files()
        .filter((n) => n.endsWith(".jsonl"))
        .map((n) => [n, statSync(join(out, n)).size].join(" "))
        .join();
    const start = async (...more: string[]) => {
      const before = kept();
      const worker = jobs("work", out, "--redis", redis.url, ...more);
      while (kept() === before) await new Promise((done) => setTimeout(done, 5));
      return worker;
    };
    const one = await start();
    one.child.kill("SIGINT");
    const stopped = await one.end;
    assert.is(stopped.code, 130, stopped.output);
    assert.match(stopped.output, /stopping; what is done is kept/);
    assert.match((await jobs("status", out, "--redis", redis.url).end).output, /0 at work, [1-4] waiting, 0 failed/);
    const two = await start("--patience", "1");
    await redis.kill();
    const lost = await two.end;
    assert.is(lost.code, 1, lost.output);
    assert.match(lost.output, /was away for 1 s; what is done is kept; start Redis and run the same command again\n$/);
    assert.equal(
      files().filter((n) => n.endsWith(".tmp")),
      [],
    );
    await redis.start();
    const three = await jobs("work", out, "--redis", redis.url, "--lock", "2").end;
    assert.is(three.code, 0, three.output);
    assert.not.match(three.output, /is gone/);
    await redis.kill();
    const calmly = await alone(toml, "unstopped");
    assert.is(readFileSync(join(out, "samples.jsonl"), "utf8"), readFileSync(join(calmly, "samples.jsonl"), "utf8"));
  },
);

test("without bullmq --redis is refused in a sentence", async () => {
  const hook = `export const resolve = (name, context, next) => {
    if (name === "bullmq") throw Object.assign(new Error("not installed"), { code: "ERR_MODULE_NOT_FOUND" });
    return next(name, context);
  };`;
  const url = (source: string) => `data:text/javascript,${encodeURIComponent(source)}`;
  const hide = url(`import { register } from "node:module"; register(${JSON.stringify(url(hook))});`);
  const { code, output } = await jobsWith(["--import", hide], "status", calm, "--redis", "redis://127.0.0.1:1").end;
  assert.is(code, 1, output);
  assert.match(
    output,
    /^--redis needs the packages bullmq and ioredis: `npm install .*`, or leave out --redis to work on this machine alone\n$/,
  );
});
if (!hasRedis) console.log("skipped: workers on Redis, as redis-server is not installed");

test("shards that are there are not done again; changed inputs and other work are refused", async () => {
  const manifest = await readManifest(calm);
  assert.is(await new ShardRunner(calm, manifest).run(manifest.shards[0]), false);
  assert.equal((await cut(await readWork(file))).shards, manifest.shards);
  const records = await readRecords(join(folder, "pairs.jsonl"));
  const before = readFileSync(records[0].source);
  writeFileSync(records[0].source, readFileSync(records[1].source));
  const changed = await cut(await readWork(file));
  assert.equal(
    changed.shards.map((s, i) => s.id === manifest.shards[i].id),
    manifest.shards.map((_, i) => i > 0),
    "only the shard with the changed picture has another name",
  );
  const runner = new ShardRunner(join(folder, "other"), manifest);
  const refused = await runner.run(manifest.shards[0]).catch((e: Error) => e.message);
  writeFileSync(records[0].source, before);
  assert.match(String(refused), /inputs of the shard \w{8} changed since it was submitted; submit the work again/);
  const other = await cut(await readWork(await writeWork(folder, "edit", 24, 12)));
  assert.match(
    (await writeManifest(calm, other).catch((e: Error) => e.message)) as string,
    /holds jobs of the stage annotate; choose another folder/,
  );
});

test("drawings in shards are those of the whole list; evaluation in shards are its samples", async () => {
  const edit = await writeWork(folder, "edit", 6, 2);
  const out = await alone(edit, "edited");
  const records = await readRecords<TripletRecord>(join(folder, "pairs.jsonl"), ["action"]);
  const device = await openDevice();
  const model = await loadModel(device, base);
  const codes = await CodeStore.open(device, model);
  await codes.add(records.map((r) => r.source));
  const whole = await predict(device, model, undefined, codes, records, { candidates: 3, temperature: 0.8, seed: 3, batch: 2 });
  const drawn = await readPredictions(join(out, "predictions.jsonl"));
  assert.equal(
    drawn.map((p) => p.candidates),
    whole.map((p) => p.candidates),
  );
  const pictures = join(out, "pictures");
  assert.equal(readdirSync(pictures).sort(), records.map((r) => `${r.id}.png`).sort());
  const toml = join(folder, "eval.toml");
  writeFileSync(
    toml,
    `stage = "eval"\ndata = "pairs.jsonl"\nshard = 4\nsystems = { ours = "edited/pictures" }\nmodel = ${JSON.stringify(base)}\n`,
  );
  const measured = await alone(toml, "measured");
  const straight = join(folder, "straight");
  await measureSystems(records, [copySystem, folderSystem("ours", pictures)], straight, {
    metrics: await pictureMetrics({ tokens: model }),
  });
  assert.match(readFileSync(join(measured, "samples.jsonl"), "utf8"), /"ssim":[^}]*"tokens":/);
  assert.is(readFileSync(join(measured, "samples.jsonl"), "utf8"), readFileSync(join(straight, "samples.jsonl"), "utf8"));
  assert.not.ok(existsSync(join(measured, "partial")));
  const page = async (done: string) => {
    const end = await jobs("status", done).end;
    assert.is(end.code, 0, end.output);
    assert.match(end.output, /report\.html beside it/);
    return readFileSync(join(done, "report.html"), "utf8");
  };
  const drawings = await page(out);
  assert.match(drawings, /<h1>Jobs: edit<\/h1>[\s\S]*candidates<\/th><td>3<[\s\S]*<h2>Examples/);
  assert.is(drawings.match(/src="data:image\/png/g)?.length, 12, "six sources, six drawings");
  assert.match(await page(measured), /SSIM[\s\S]*Token agreement[\s\S]*each worker/);
  assert.is((await page(calm)).match(/mean log p/g)?.length, 12);
});

test("a shard that was interrupted goes on with the batches that are left, and its file is that of an undisturbed one", async () => {
  for (const [stage, batch] of [
    ["annotate", 64],
    ["edit", 16],
  ] as const) {
    const count = batch + 8;
    const place = join(folder, `halves-${stage}`);
    const toml = await writeWork(place, stage, count, count);
    const whole = await alone(toml, `whole-${stage}`);
    const out = join(folder, `half-${stage}`);
    await writeManifest(out, await cut(await readWork(toml)));
    const manifest = await readManifest(out);
    const [shard] = manifest.shards;
    const stop = new AbortController();
    const onProgress = (done: number) => done >= batch && stop.abort(new Error("enough"));
    const end = await new ShardRunner(out, manifest).run(shard, { signal: stop.signal, onProgress }).catch((e: Error) => e.message);
    assert.is(end, "enough", stage);
    assert.equal(await missingShards(out, manifest), [shard]);
    const partial = join(out, "partial", shard.id);
    const seen: number[] = [];
    assert.ok(await new ShardRunner(out, manifest).run(shard, { onProgress: (done) => void seen.push(done) }));
    assert.equal([seen[0], seen[seen.length - 1], seen.length], [batch, count, 2], `${stage}: what was done before is not done again`);
    assert.not.ok(existsSync(partial));
    const file = finals[manifest.work.stage];
    assert.ok(await joinShards(out, manifest));
    assert.is(readFileSync(join(out, file), "utf8"), readFileSync(join(whole, file), "utf8"));
  }
});

test("the first write into a folder clears what a killed process left, and nothing that a living one writes", async () => {
  const at = join(folder, "left");
  mkdirSync(at);
  const dead = spawnSync(process.execPath, ["-e", ""]).pid;
  const name = (machine: string, pid: number) => `.a.json.${machine}.${pid}.0123abcd.tmp`;
  const stays = [name(place, process.ppid), name("elsewhere", dead), name(`${place}0`, dead), ".mine.tmp"];
  for (const n of [...stays, name(place, dead), name(place, process.pid)]) writeFileSync(join(at, n), "half");
  mkdirSync(join(at, `.f.${place}.${dead}.0123abcd.tmp`));
  await writeFileAtomic(join(at, "b.json"), [new Uint8Array(1)]);
  assert.equal(readdirSync(at).sort(), [...stays, "b.json"].sort());
});

test("what is wrong is said in a sentence", async () => {
  const toml = join(folder, "wrong.toml");
  const said = async (text: string) => {
    writeFileSync(toml, text);
    return readWork(toml).catch((e: Error) => e.message);
  };
  assert.match(String(await said('stage = "dance"')), /wrong\.toml: stage: /);
  assert.match(String(await said('stage = "annotate"\ndata = "x"')), /wrong\.toml: cdm: /);
  assert.match(String(await said('stage = "eval"\ndata = "x"\nspeed = 3')), /speed/);
  assert.match(
    String(await readManifest(folder).catch((e: Error) => e.message)),
    /is no list of jobs; make one with `worldline jobs submit/,
  );
});

test.after(async () => {
  await OwnRedis.killAll();
  rmSync(folder, { recursive: true, force: true });
});
test.run();
