// Evaluation: AURORA's files with gaps, tables by hand, a judge on the way, and kill -9 at random moments.
// Run: node --import tsx test/evaluation.test.ts
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { corpusBleu, measureActions } from "../world/action_bench.ts";
import { readAurora, subsample } from "../world/aurora.ts";
import { copySystem, folderSystem, measureSystems, type PictureMetric, pixelMetrics, type Sample } from "../world/bench.ts";
import { benchHtml, paperRows } from "../world/bench_report.ts";
import { aligned, rowsOfMetric, summarise } from "../world/bench_results.ts";
import { defaultJudge, Judge } from "../world/judge.ts";
import { encodePng } from "../world/pictures.ts";
import type { TripletRecord } from "../world/records.ts";
import { killedRun, kills, runOnce } from "./kill_runs.ts";

const folder = mkdtempSync(join(tmpdir(), "worldline-bench-"));
const shared = fileURLToPath(new URL("../../shared/data/aurora-bench", import.meta.url));
const png = (grey: number, side = 16) => encodePng({ width: side, height: side, data: new Uint8Array(3 * side * side).fill(grey) });

test("AURORA's files: missing pictures and entries without targets are left out and counted; ids stay", async () => {
  const root = join(folder, "aurora");
  for (const part of ["ag", "kubric"]) mkdirSync(join(root, "data", part, "images"), { recursive: true });
  for (const name of ["ag/images/a.png", "ag/images/b.png", "kubric/images/k.png"]) writeFileSync(join(root, "data", name), png(1));
  const entry = (task: string, input: string, output?: unknown) => ({
    task,
    input: `data/${task}/images/${input}`,
    output,
    instruction: `do ${input}`,
  });
  writeFileSync(
    join(root, "test.json"),
    JSON.stringify([
      entry("ag", "a.png", "data/ag/images/b.png"),
      entry("ag", "gone.png", "data/ag/images/b.png"),
      entry("ag", "b.png", ["data/ag/images/a.png"]),
      entry("ag", "b.png", "data/ag/images/gone.png"),
      entry("kubric", "k.png", "data/kubric/images/k.png"),
      entry("clevr", "c.png"),
    ]),
  );
  const set = await readAurora(root);
  assert.equal(
    set.records.map((r) => [r.id, r.family, r.action]),
    [
      ["ag-000", "ag", "do a.png"],
      ["ag-002", "ag", "do b.png"],
      ["kubric-000", "kubric", "do k.png"],
    ],
  );
  assert.equal([set.missing, set.untargeted], [{ ag: 2 }, { clevr: 1 }]);
  writeFileSync(
    join(root, "data", "ag", "train.json"),
    JSON.stringify([{ instruction: "go", input: "images/a.png", output: "data/ag/images/b.png" }]),
  );
  const train = await readAurora(join(root, "data", "ag", "train.json"));
  assert.equal([train.records[0].family, existsSync(train.records[0].source), existsSync(train.records[0].target)], ["ag", true, true]);
  const message = (path: string) => readAurora(path).then(String, (e: Error) => e.message);
  assert.match(await message(join(folder, "nowhere")), /nowhere cannot be read; give the folder of AURORA-Bench/);
  writeFileSync(join(folder, "odd.json"), '[{"input": "a"}]');
  assert.match(await message(join(folder, "odd.json")), /entry 1 has no input or no instruction/);
  const many = Array.from({ length: 30 }, (_, i) => ({ ...set.records[0], id: `r${i}`, family: i % 3 ? "kubric" : "ag" }));
  const drawn = subsample(many, 7, 3);
  assert.equal([drawn.length, drawn.filter((r) => r.family === "ag").length], [14, 7]);
  assert.equal(subsample(many, 7, 3), drawn);
  assert.not.equal(subsample(many, 7, 4), drawn);
});

const records: TripletRecord[] = Array.from({ length: 12 }, (_, i) => ({
  id: `r${String(i).padStart(2, "0")}`,
  source: join(folder, `s${i}.png`),
  target: join(folder, `t${i}.png`),
  action: `make it ${i}`,
  family: i < 6 ? "light" : "dark",
}));
const ours = join(folder, "ours");
mkdirSync(ours);
for (const [i, r] of records.entries()) {
  writeFileSync(r.source, png(100));
  writeFileSync(r.target, png(100 + 4 * i));
  if (i !== 5) writeFileSync(join(ours, `${r.id}.png`), png(98 + 4 * i, 8));
}
const systems = [copySystem, folderSystem("ours", ours)];

test("tables: means by part, the copy baseline, paired differences over common records, and what is absent", async () => {
  const out = join(folder, "tables");
  const samples = await measureSystems(records, systems, out, { metrics: pixelMetrics });
  const results = summarise(samples, ["copy", "ours"], records.length);
  const copy = results.values.l1.copy;
  assert.ok(Math.abs(copy.light.mean - (4 * 2.5) / 255) < 1e-12 && Math.abs(copy.all.mean - (4 * 5.5) / 255) < 1e-12);
  assert.ok(Math.abs(results.values.l1.ours.all.mean - 2 / 255) < 1e-12 && results.values.l1.ours.all.se < 1e-12);
  assert.equal([results.values.l1.ours.all.n, results.absent], [11, { copy: 0, ours: 1 }]);
  const [test_] = results.comparisons.filter((c) => c.metric === "l1");
  assert.equal([test_.first, test_.second, test_.difference.n], ["copy", "ours", 11]);
  assert.ok(Math.abs(test_.difference.mean - ((4 * 61) / 11 - 2) / 255) < 1e-12 && test_.p < 0.01);
  assert.match(aligned(["L1", "light", "dark", "all"], rowsOfMetric(results, "l1", paperRows("l1")))[1], /^copy +0\.039 ± 0\.012/);
  const grey = { width: 1, height: 1, data: new Uint8Array(3) };
  const html = benchHtml("t", results, [{ heading: "<b>", list: [{ name: "n", picture: grey }] }], {
    command: "worldline eval",
  });
  assert.ok(
    html.includes("&#60;b&#62;") && !/https?:\/\//.test(html) && html.includes("12 records, pictures of copy, ours; ours lacks 1."),
  );
  const again = await measureSystems(records, systems, out, {
    metrics: [{ ...pixelMetrics[0], of: () => Number.NaN }, ...pixelMetrics.slice(1)],
  });
  assert.equal(again, samples);
  writeFileSync(join(ours, "r00.png"), png(7));
  const changed = await measureSystems(records, systems, out, { metrics: pixelMetrics });
  assert.not.equal(changed[1].metrics, samples[1].metrics, "a new picture is measured anew");
  writeFileSync(join(ours, "r00.png"), png(98, 8));
  assert.throws(() => folderSystem("x", join(folder, "none")), /none does not exist; x needs a folder with a picture per record/);
  const twins = await measureSystems(records, [copySystem, copySystem], out, { metrics: [] }).catch((e: Error) => e.message);
  assert.match(String(twins), /two systems are called copy/);
});

test("a caption or a family given later counts in a folder that has the measurements before it", async () => {
  const caption: PictureMetric = { ...pixelMetrics[0], name: "caption", of: (_, __, record) => (record.caption ? 1 : 0) };
  const measured = async (more: Partial<TripletRecord>) => {
    const [sample] = await measureSystems([{ ...records[0], ...more }], [copySystem], join(folder, "captions"), { metrics: [caption] });
    return [sample.subset, sample.metrics.caption];
  };
  assert.equal(await measured({}), ["light", 0]);
  assert.equal(await measured({ caption: "a dark picture", family: "dark" }), ["dark", 1]);
  assert.equal(await measured({ caption: "a dark picture" }), ["light", 1]);
});

test("the judge's verdicts come with the samples; one it will not give does not end the run, an unreachable judge does", async () => {
  let answers = 0;
  const server = createServer((request, response) => {
    let body = "";
    request.on("data", (part: Buffer) => {
      body += part;
    });
    request.on("end", () => {
      answers++;
      const content = body.includes("make it 3") ? "no idea" : '{"scores": [6, 9], "reason": "ok"}';
      response.end(JSON.stringify({ choices: [{ message: { content } }] }));
    });
  });
  await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
  // It keeps no process alive whose test has failed.
  server.unref();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const judge = new Judge({ ...defaultJudge, url, model: "m", perMinute: 1e6, backoffMs: 1, retries: 1 });
  const out = join(folder, "judged");
  const options = { metrics: pixelMetrics.slice(0, 1), judge: { judge, name: "m" }, jobs: 4 };
  const samples = await measureSystems(records, systems, out, options);
  const results = summarise(samples, ["copy", "ours"], records.length);
  assert.equal(results.values.judge.ours.all, { mean: 6, se: 0, n: 10 });
  assert.equal([results.values.judge_minimal.copy.all.mean, results.unjudged], [9, { copy: 1, ours: 1 }]);
  const before = answers;
  await measureSystems(records, systems, out, options);
  assert.is(answers - before, 4, "only what failed is asked again, with its repair");
  server.close();
  server.closeAllConnections();
  const failed = await measureSystems(records, systems, join(folder, "unreachable"), options).catch((e: Error) => e.message);
  assert.match(String(failed), /cannot be reached .* after 2 tries; is the server up\?/);
});

test("said actions: metrics by record, corpus BLEU, and a file that fits no record", async () => {
  const said = new Map(records.map((r, i) => [r.id, i % 2 ? r.action : "turn it around"]));
  const samples = await measureActions(records, [{ name: "cdm", said }]);
  const results = summarise(samples, ["cdm"], records.length);
  assert.is(results.values.exact.cdm.all.mean, 0.5);
  assert.ok(results.values.rougeL.cdm.all.mean > 0.5 && results.values.rougeL.cdm.all.mean < 1);
  assert.ok(corpusBleu(samples)[0] > 0.5);
  const none = await measureActions(records, [{ name: "cdm", said: new Map([["zz", "x"]]) }]).catch((e: Error) => e.message);
  assert.match(String(none), /cdm says nothing about any of the 12 records; do the ids of the two files agree\?/);
});

test(`killed ${kills} times and more with kill -9, an evaluation leaves the files of an undisturbed one`, async () => {
  writeFileSync(join(folder, "records.jsonl"), records.map((r) => JSON.stringify(r)).join("\n"));
  const script = fileURLToPath(new URL("./evaluation_run.ts", import.meta.url));
  const calm = join(folder, "calm");
  assert.is((await runOnce([script, folder, calm])).code, 0);
  let total = 0;
  for (let round = 0; total < kills; round++) {
    const wild = join(folder, `wild${round}`);
    total += (await killedRun([script, folder, wild], 200, round)).killed;
    assert.equal(readdirSync(wild).sort(), ["results.json", "samples.jsonl"]);
    for (const file of readdirSync(calm)) assert.is(readFileSync(join(wild, file), "utf8"), readFileSync(join(calm, file), "utf8"), file);
  }
  console.log(`killed ${total} times`);
  const samples = readFileSync(join(calm, "samples.jsonl"), "utf8")
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as Sample);
  assert.is(new Set(samples.map((s) => s.key)).size, samples.length);
});

(existsSync(shared) ? test : test.skip)("the sixty real pairs are read", async () => {
  const set = await readAurora(shared);
  assert.is(set.records.length, 60);
  assert.equal([...new Set(set.records.map((r) => r.family))], ["magicbrush", "ag", "something", "whatsup", "kubric"]);
});
if (!existsSync(shared)) console.log("skipped: the sixty real pairs, as shared/data is not here");

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
