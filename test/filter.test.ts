// Which annotations are kept, against tables made by hand, and recognition weights in every normalisation.
// Run: node --import tsx test/filter.test.ts
import { test } from "uvu";
import * as assert from "uvu/assert";
import { filterRecords, histogram, histogramLines } from "../world/filter.ts";
import { featureDistances, recognitionWeights } from "../world/recognition.ts";
import type { AnnotatedRecord } from "../world/records.ts";

const record = (id: string, family: string, mean: number, tokens = 4): AnnotatedRecord => ({
  id,
  source: "a.png",
  target: "b.png",
  action: "move",
  family,
  logprob: mean * tokens,
  mean_logprob: mean,
  tokens,
});

const table = [
  record("j1", "jump", -0.1),
  record("j2", "jump", -0.2),
  record("j3", "jump", -0.3),
  record("j4", "jump", -0.4),
  record("c1", "cook", -0.9, 1),
  record("c2", "cook", -2.5, 1),
  record("r1", "run", -1.5),
];
const ids = (list: readonly AnnotatedRecord[]) => list.map((r) => r.id);
const classOf = (r: AnnotatedRecord) => r.family!;

test("Algorithm 1 takes turns over classes, each giving its best unused record, and stops at K", () => {
  assert.equal(ids(filterRecords(table, { top: 5, classOf })), ["c1", "j1", "r1", "c2", "j2"]);
  assert.equal(ids(filterRecords(table, { top: 3, classOf })), ["c1", "j1", "r1"]);
  assert.equal(
    ids(filterRecords(table, { top: 100, classOf })),
    ["c1", "j1", "r1", "c2", "j2", "j3", "j4"],
    "classes that run dry are passed over",
  );
  assert.equal(
    ids(filterRecords([...table].reverse(), { top: 5, classOf })),
    ["c1", "j1", "r1", "c2", "j2"],
    "the order of the file does not matter",
  );
});

test("the best overall, a share, a threshold, and both together", () => {
  assert.equal(ids(filterRecords(table, { top: 5 })), ["j1", "j2", "j3", "j4", "c1"]);
  assert.equal(ids(filterRecords(table, { keep: 0.4 })), ["j1", "j2", "j3"]);
  assert.equal(ids(filterRecords(table, { threshold: -0.3 })), ["j1", "j2", "j3"], "a score at the threshold stays");
  assert.equal(ids(filterRecords(table, { threshold: -1, top: 4, classOf })), ["c1", "j1", "j2", "j3"]);
  assert.equal(ids(filterRecords(table, { by: "sum", top: 4 })), ["j1", "j2", "c1", "j3"], "by sum, short actions gain");
  assert.equal(ids(filterRecords([record("b", "x", -1), record("a", "x", -1)], { top: 1 })), ["a"], "ties fall to the lower id");
  assert.equal(filterRecords([], { top: 3, classOf }), []);
  assert.throws(() => filterRecords(table, { top: 1, keep: 0.5 }), /both a share and a number of pairs/);
  assert.throws(() => filterRecords([record("n", "x", Number.NaN)], {}), /filter: n has no finite log-probability/);
});

test("forty thousand records of one class are filtered in a moment", () => {
  const many = Array.from({ length: 40_000 }, (_, i) => record(String(i), "one", -i / 1e4));
  const begin = performance.now();
  assert.is(filterRecords(many, { top: 7000, classOf }).length, 7000);
  assert.ok(performance.now() - begin < 2000);
});

test("histograms count every score once, in bins of equal width", () => {
  const h = histogram([-4, -3.1, -3, -1, 0], [-1, 0], 4);
  assert.equal([h.low, h.high, h.before, h.after], [-4, 0, [2, 1, 0, 2], [0, 0, 0, 2]]);
  assert.equal(histogramLines(h, 4), [
    "   -4.00       2       0 ....",
    "   -3.00       1       0 ..",
    "   -2.00       0       0 ",
    "   -1.00       2       2 ####",
  ]);
  assert.equal(histogram([-2, -2], [], 3).before, [2, 0, 0], "equal scores lie in one bin");
  assert.equal(histogram([], [], 2).before, [0, 0]);
});

test("recognition weights: squared distances, normalised, mixed and sharpened as written", () => {
  const distances = featureDistances(Float32Array.of(0, 0, 1, 1, 2, 0), Float32Array.of(0, 0, 1, 3, 5, 4), 2);
  assert.equal([...distances], [0, 4, 25]);
  const weights = (o: Partial<Parameters<typeof recognitionWeights>[1]>) =>
    [...recognitionWeights(distances, { epsilon: 0, floor: 0, ...o })].map((w) => Number(w.toFixed(4)));
  assert.equal(weights({}), [0, 0.4138, 2.5862]);
  assert.equal(weights({ normalisation: "max" }), [0, 0.16, 1]);
  assert.equal(weights({ normalisation: "none" }), [0, 4, 25]);
  assert.equal(weights({ normalisation: "max", exponent: 0.5 }), [0, 0.4, 1]);
  assert.equal(weights({ normalisation: "max", epsilon: 0.25 }), [0.25, 0.37, 1]);
  assert.equal(weights({ epsilon: 1 }), [1, 1, 1]);
  assert.equal(weights({ floor: 100 }), [0, 0.04, 0.25]);
  assert.equal([...recognitionWeights(new Float32Array(2), { epsilon: 0.2, floor: 0 })], [1, 1], "nothing differs");
  assert.throws(() => recognitionWeights(distances, { epsilon: 0, floor: 0, exponent: 0 }), /the exponent is 0; give a number above 0/);
  assert.throws(() => featureDistances(new Float32Array(4), new Float32Array(6), 2), /not of one grid/);
});

test.run();
