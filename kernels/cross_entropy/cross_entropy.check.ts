import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { crossEntropy, crossEntropyDlogits, weightedMean } from "./cross_entropy.ts";

const drawTargets = ({ rows, V }: Numbers, rng: CheckRng) => Uint32Array.from({ length: rows }, () => rng.int(V));
const drawWeights = (rows: number, rng: CheckRng) => Float32Array.from({ length: rows }, (_, r) => (r % 3 === 1 ? 0 : rng.uniform(0, 2)));

/** Logits with large values, ties for the first place, and rows that are right. */
function drawLogits({ rows, V }: Numbers, rng: CheckRng, targets: Uint32Array): Float32Array {
  const x = rng.normals(rows * V, 3);
  for (let r = 0; r < rows; r++) {
    if (r % 4 === 0) x[r * V + targets[r]] = 60;
    if (r % 8 === 0) x[r * V + rng.int(V)] = 60;
  }
  return x;
}

function forwardLoops({ rows, V, smoothing, z }: Numbers, inputs: Values) {
  const x = inputs.logits as Float32Array;
  const targets = inputs.targets as Uint32Array;
  const [ce, lse, cost] = [0, 1, 2].map(() => new Float64Array(rows));
  const correct = new Uint32Array(rows);
  for (let r = 0; r < rows; r++) {
    const row = x.subarray(r * V, r * V + V);
    const top = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    lse[r] = top + Math.log(row.reduce((a, v) => a + Math.exp(v - top), 0));
    ce[r] = lse[r] - row[targets[r]];
    cost[r] = (1 - smoothing) * ce[r] + smoothing * (lse[r] - row.reduce((a, v) => a + v, 0) / V) + z * lse[r] ** 2;
    correct[r] = row.indexOf(top) === targets[r] ? 1 : 0;
  }
  return { ce, lse, cost, correct };
}

function dlogitsLoops({ rows, V, smoothing, z, acc }: Numbers, inputs: Values) {
  const [x, weights, lse, scale, dloss] = [inputs.logits, inputs.weights, inputs.lse, inputs.scale, inputs.dloss] as Float32Array[];
  const targets = inputs.targets as Uint32Array;
  const dlogits = acc ? Float64Array.from(inputs.dlogits as Float32Array) : new Float64Array(rows * V);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < V; c++) {
      const p = Math.exp(x[r * V + c] - lse[r]) * (1 + 2 * z * lse[r]);
      dlogits[r * V + c] += dloss[0] * scale[0] * weights[r] * (p - (c === targets[r] ? 1 - smoothing : 0) - smoothing / V);
    }
  }
  return { dlogits };
}

const sizes = [
  { rows: 1, V: 1, smoothing: 0, z: 0 },
  { rows: 9, V: 37, smoothing: 0, z: 0 },
  { rows: 70, V: 64, smoothing: 0.1, z: 0 },
  { rows: 17, V: 300, smoothing: 0.05, z: 1e-2 },
];
const benchCases = [
  { rows: 1024, V: 448, smoothing: 0, z: 0, acc: 0 },
  { rows: 300, V: 448, smoothing: 0, z: 0, acc: 0 },
];

export default [
  check({
    kernel: crossEntropy,
    cases: [...sizes, { rows: 2, V: 65536, smoothing: 0, z: 1e-4 }],
    bench: benchCases,
    inputs: (c, rng) => {
      const targets = drawTargets(c, rng);
      return { logits: drawLogits(c, rng, targets), targets };
    },
    outputs: ({ rows }) => ({ ce: rows, lse: rows, cost: rows, correct: rows }),
    reference: forwardLoops,
    tolerance: { f32: 5e-6 },
    bytes: ({ rows, V }) => 4 * rows * V,
  }),
  check({
    kernel: crossEntropyDlogits,
    cases: sizes.map((s, i) => ({ ...s, acc: i % 2 })),
    bench: benchCases,
    inputs: (c, rng) => {
      const targets = drawTargets(c, rng);
      const logits = drawLogits(c, rng, targets);
      const lse = Float32Array.from(forwardLoops(c, { logits, targets }).lse);
      const [scale, dloss] = [new Float32Array([0.3]), new Float32Array([1.7])];
      const weights = drawWeights(c.rows, rng);
      return { logits, targets, weights, lse, scale, dloss, ...(c.acc ? { dlogits: rng.normals(c.rows * c.V) } : {}) };
    },
    outputs: ({ rows, V }) => ({ dlogits: rows * V }),
    reference: dlogitsLoops,
    tolerance: { f32: 8e-6 },
    bytes: ({ rows, V }) => 8 * rows * V,
  }),
  check({
    kernel: weightedMean,
    cases: [
      { rows: 1, denominator: 0 },
      { rows: 100, denominator: 0 },
      { rows: 1001, denominator: 37 },
      { rows: 5, denominator: 0, empty: 1 },
    ],
    bench: [{ rows: 1024, denominator: 0 }],
    inputs: ({ rows, empty }, rng) => ({ cost: rng.normals(rows), weights: empty ? new Float32Array(rows) : drawWeights(rows, rng) }),
    outputs: () => ({ loss: 1, scale: 1 }),
    reference: ({ rows, denominator }, inputs) => {
      const [cost, weights] = [inputs.cost, inputs.weights] as Float32Array[];
      const by = denominator || weights.reduce((a, w) => a + w, 0);
      let s = 0;
      for (let r = 0; r < rows; r++) s += weights[r] * cost[r];
      return { loss: Float64Array.of(by ? s / by : 0), scale: Float64Array.of(by ? 1 / by : 0) };
    },
    tolerance: { f32: 2e-6 },
    bytes: ({ rows }) => 8 * rows,
  }),
];
