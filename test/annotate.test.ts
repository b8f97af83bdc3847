// Annotation that is killed, probing with every kind of manipulation, and candidates from one shared prefix, on the shipped tabletop base.
// Run: node --import tsx test/annotate.test.ts
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { AnswerStore, modelKey } from "../world/answers.ts";
import { type Answer, annotate } from "../world/cdm.ts";
import { CodeStore } from "../world/codes.ts";
import { loadModel } from "../world/model.ts";
import { checkPictureIds, predict, predictChain } from "../world/predictions.ts";
import { anotherObject, changedPicture, manipulations, negatives, oppositeAction, probe } from "../world/probe.ts";
import { preferenceLines, preferences, probeHtml, probeRows } from "../world/probe_report.ts";
import { readRecords, type TripletRecord } from "../world/records.ts";
import { writeTriplets } from "../world/tabletop/dataset.ts";
import { defaultWorld } from "../world/tabletop/index.ts";
import { killedRun, runOnce } from "./kill_runs.ts";

const folder = mkdtempSync(join(tmpdir(), "worldline-annotate-"));
const device = await openDevice();
const model = await loadModel(device, fileURLToPath(new URL("../world/tabletop/base", import.meta.url)));
await writeTriplets(defaultWorld, folder, { name: "pairs", count: 16, seed: 9 });
const file = join(folder, "pairs.jsonl");
const records = await readRecords<TripletRecord>(file, ["action"]);
const codes = await CodeStore.open(device, model);
await codes.add(records.flatMap((r) => [r.source, r.target]));
const options = { sampling: { temperature: 0.8, seed: 3 }, maxTokens: 12, batch: 4 };

test("answers are kept by content: a stopped run goes on, equal pairs are asked once, and the results are those of an undisturbed run", async () => {
  const calm = await annotate(device, model, codes, records, options);
  const path = join(folder, "stopped.answers");
  const stop = new AbortController();
  const onProgress = (done: number) => {
    if (done === 8) stop.abort(new Error("stopped"));
  };
  const stopped = { ...options, answers: await AnswerStore.open<Answer>(path), signal: stop.signal, onProgress };
  assert.is(await annotate(device, model, codes, records, stopped).then(String, (e: Error) => e.message), "stopped");
  appendFileSync(path, '{"key": "cut off');
  const answers = await AnswerStore.open<Answer>(path);
  assert.is(answers.before, 8);
  assert.equal(await annotate(device, model, codes, records, { ...options, answers }), calm);
  assert.is(
    readFileSync(path, "utf8")
      .split("\n")
      .filter((l) => l.startsWith('{"key":"')).length,
    16,
    "every pair once",
  );
  const asked: number[] = [];
  const again = await AnswerStore.open<Answer>(path);
  const shuffled = [...records].reverse();
  const twice = await annotate(device, model, codes, [...shuffled, { ...records[0], id: "twin" }], {
    ...options,
    answers: again,
    onProgress: (d) => asked.push(d),
  });
  assert.equal([asked, again.size], [[17], 16], "all was known");
  assert.equal(twice.slice(0, 16).reverse(), calm);
  assert.equal(twice[16], { ...calm[0], id: "twin" });
  const other = await AnswerStore.open<Answer>(path);
  await annotate(device, model, codes, records.slice(0, 1), { ...options, sampling: { temperature: 0, seed: 3 }, answers: other });
  assert.is(other.size, 17, "another way of asking is another question");
});

test("a model is told apart by all of its weights", async () => {
  const keys = [];
  for (const at of [-1, 0, 2 ** 21, 2 ** 22 - 1]) {
    const bytes = new Uint8Array(2 ** 22);
    if (at >= 0) bytes[at] = 1;
    writeFileSync(join(folder, "model.safetensors"), bytes);
    keys.push(await modelKey(folder));
  }
  rmSync(join(folder, "model.safetensors"));
  assert.is(new Set(keys).size, 4);
});

test("an id is a picture's path below a folder, or is refused", () => {
  checkPictureIds([{ id: "a" }, { id: "clip 1/10-20" }, { id: "caf\u00e9/cafe\u0301.x" }]);
  for (const id of ["", "../x", "a/../b", "/a", "a//b", "a\\b", "."])
    assert.throws(() => checkPictureIds([{ id: "a" }, { id }]), /cannot be a file's name; use letters/, id);
});

test("killed with kill -9 at random moments, an annotation ends with the file of an undisturbed one and no pair done twice", async () => {
  const script = fileURLToPath(new URL("./annotate_run.ts", import.meta.url));
  const [calm, wild] = ["calm.jsonl", "wild.jsonl"].map((name) => join(folder, name));
  const first = await runOnce([script, file, calm]);
  assert.is(first.code, 0, first.output);
  const kept = () => (existsSync(`${wild}.answers`) ? readFileSync(`${wild}.answers`, "utf8").split("\n").length - 1 : 0);
  // The clock alone may put every kill before the first answer or after the last.
  for (const least of [1, 5]) {
    const { ended, output } = await runOnce([script, file, wild], () => kept() >= least);
    assert.ok(!ended && kept() >= least && kept() < 16, `killed with ${kept()} answers: ${output}`);
  }
  const { killed } = await killedRun([script, file, wild], 1200, 2);
  console.log(`killed ${killed} times`);
  assert.is(readFileSync(wild, "utf8"), readFileSync(calm, "utf8"));
  const keys = readFileSync(`${wild}.answers`, "utf8")
    .split("\n")
    .flatMap((line) => (line.endsWith("}") ? [(JSON.parse(line) as { key: string }).key] : []));
  assert.equal([new Set(keys).size, keys.length], [16, 16]);
});

test("manipulations: every kind, left out where the data does not allow it", () => {
  const triplet = (id: string, action: string, more = {}): TripletRecord => ({ id, source: `${id}s`, target: `${id}t`, action, ...more });
  const list = [
    triplet("a", "move the red cup left", { video: "v", frames: [0, 20] }),
    triplet("b", "move the blue cup left", { video: "v", frames: [20, 40] }),
    triplet("c", "whisk an egg", { video: "v", frames: [60, 90] }),
  ];
  const m = manipulations(list, 0);
  assert.equal([m.action_random?.action, m.target_random?.target, m.target_copy?.target], ["move the blue cup left", "bt", "as"]);
  assert.equal([m.inverted?.source, m.inverted?.target, m.action_opposite?.action], ["at", "as", "move the red cup right"]);
  assert.equal([m.action_object?.action, m.target_distant?.target, m.target_blurred?.change], ["move the blue cup left", "ct", "blurred"]);
  assert.not.ok("action_opposite" in manipulations(list, 2));
  assert.not.ok("action_object" in manipulations(list, 2));
  assert.not.ok("action_other" in m);
  for (const [action, opposite] of [
    ["Open the drawer", "Close the drawer"],
    ["Push it in front of the box", "Pull it in front of the box"],
    ["take it out of the bag", "put it out of the bag"],
    ["walk away from the door", "walk towards the door"],
    ["whisk", undefined],
  ])
    assert.is(oppositeAction(action!), opposite);
  assert.is(anotherObject("move the cup", ["move the cup", "lift the cup"]), undefined);
  const picture = (values: number[]) => ({ width: values.length, height: 1, data: Uint8Array.from(values.flatMap((v) => [v, v, v])) });
  const reds = (p: { data: Uint8Array }) => [...p.data].filter((_, i) => i % 3 === 0);
  const [target, source] = [picture([1, 2, 3, 250]), picture([9, 9, 9, 9])];
  assert.equal(reds(changedPicture("mirrored", target, source)), [250, 3, 2, 1]);
  assert.equal(reds(changedPicture("pasted", target, source)), [9, 9, 3, 250]);
  assert.equal(reds(changedPicture("bright", target, source)), [49, 50, 51, 255]);
  assert.equal(new Set(reds(changedPicture("blurred", target, source))).size, 1);
});

test("the probe scores every kind in both directions by mean and by sum; numbers, text and page agree", async () => {
  const items = await probe(device, model, codes, records, ["image", "action"], { batch: 32, kinds: negatives });
  const kinds = new Set(items.map((i) => i.kind));
  for (const kind of [
    "image.target_mirrored",
    "action.target_pasted",
    "image.action_object",
    "action.inverted",
    "action.action_other",
  ] as const)
    assert.ok(kinds.has(kind), kind);
  assert.ok(items.every((i) => i.real < 0 && i.manipulated < 0 && i.real_sum <= i.real + 1e-6));
  const blurred = items.filter((i) => i.kind === "image.target_blurred");
  assert.is(blurred.length, 16);
  assert.ok(
    blurred.every((i) => Math.abs(i.real_sum - 9 * i.real) < 1e-3),
    "nine codes a picture",
  );
  const list = preferences([
    { id: "1", kind: "image.inverted", real: -1, manipulated: -2, real_sum: -9, manipulated_sum: -4 },
    { id: "2", kind: "image.inverted", real: -2, manipulated: -4, real_sum: -3, manipulated_sum: -4 },
    { id: "3", kind: "image.inverted", real: -3, manipulated: -3, real_sum: -3, manipulated_sum: -3 },
  ]);
  assert.equal([list[0].mean.value, list[0].sum.value, list[0].mean.n], [2 / 3, 1 / 3, 3]);
  assert.ok(Math.abs(list[0].correlation - 0.5) < 1e-12);
  assert.match(
    preferenceLines(list)[0],
    /^image\.inverted +real preferred 66\.7% \(20\.8 to 93\.9\) +by the sum +33\.3% +correlation +0\.50 +n = 3$/,
  );
  const rows = await probeRows(records, items, 2);
  assert.is(rows.length, 2);
  const shown = rows[0].list.map((s) => s.name);
  assert.equal([shown.slice(0, 2), shown.filter((name) => name === "target_mirrored").length], [["source", "target"], 1]);
  const copied = items.find((i) => i.id === records[0].id && i.kind === "image.target_copy")!;
  const difference = `${copied.manipulated < copied.real ? "\u2212" : "+"}${Math.abs(copied.manipulated - copied.real).toFixed(2)}`;
  assert.ok(rows[0].list.find((s) => s.name === "target_copy")!.note!.includes(`image ${difference}`));
  const page = probeHtml("<p>", items, rows, { command: "worldline probe" });
  assert.ok(page.includes("&#60;p&#62;") && page.split("<svg").length > kinds.size && !/https?:\/\//.test(page));
});

test("records that share an id are each probed against themselves", async () => {
  const of = async (list: TripletRecord[]) =>
    (await probe(device, model, codes, list, ["image", "action"], { batch: 32, kinds: ["target_mirrored"] })).map(
      ({ id: _, ...rest }) => rest,
    );
  const few = records.slice(0, 4);
  assert.equal(await of(few.map((r) => ({ ...r, id: "one" }))), await of(few));
});

test("candidates share one prefix: eight cost less than three times one; steps are chained on codes", async () => {
  const time = async (candidates: number) => {
    const begin = performance.now();
    await predict(device, model, model, codes, records.slice(0, 4), { candidates, temperature: 0.7, seed: 1, batch: 4 });
    return performance.now() - begin;
  };
  await time(1);
  await time(8);
  // predict hands the codes back, so that its end is the device's.
  const median = (list: number[]) => [...list].sort((a, b) => a - b)[list.length >> 1];
  const rounds: number[] = [];
  for (let i = 0; i < 9; i++) rounds.push((1 / (await time(1))) * (await time(8)));
  console.log(
    `K = 8 over K = 1, interleaved, ${rounds.length} rounds: median ${median(rounds).toFixed(2)}, least ${Math.min(...rounds).toFixed(2)}`,
  );
  assert.ok(median(rounds) < 3, `eight candidates took ${median(rounds).toFixed(2)} times as long as one`);
  const how = { candidates: 3, temperature: 0.7, seed: 5, batch: 1 };
  const [one, two] = [records[0], records[1]];
  const chain = await predictChain(device, model, model, codes, one.source, [one.action, two.action], how);
  const [alone] = await predict(device, model, model, codes, [one], how);
  assert.equal(chain[0].prediction.candidates, alone.candidates);
  assert.equal([...chain[1].before], [...alone.candidates[alone.best]]);
  assert.is(chain[1].prediction.scores.length, 3);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
