import { check, type Numbers, type Values } from "../kernel.ts";
import { crossEntropy, crossEntropyDx, weightedMean } from "./cross_entropy.ts";

const sizes = [
  { R: 1, V: 1, row: 0 },
  { R: 5, V: 7, row: 3 },
  { R: 40, V: 480, row: 0 },
  { R: 3, V: 65536, row: 2 },
  { R: 300, V: 100, row: 64 },
];
const extras = [
  { smoothing: 0, z: 0 },
  { smoothing: 0.1, z: 1e-2 },
];
/** Rows of the batch before and behind those of the logits. */
const batch = ({ R, row }: Numbers) => row + R + 2;
const ids = (n: number, V: number, int: (n: number) => number) => Uint32Array.from({ length: n }, () => int(V));

/** log sum exp of V logits from `base` on, in f64. */
export function rowLse(logits: ArrayLike<number>, base: number, V: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let v = 0; v < V; v++) most = Math.max(most, logits[base + v]);
  let s = 0;
  for (let v = 0; v < V; v++) s += Math.exp(logits[base + v] - most);
  return most + Math.log(s);
}

/** What a row is trained on, in f64: ce + smoothing (logit of the target - mean) + z lse^2. */
export function rowCost(logits: ArrayLike<number>, base: number, V: number, target: number, smoothing: number, z: number): number {
  const lse = rowLse(logits, base, V);
  let mean = 0;
  for (let v = 0; v < V; v++) mean += logits[base + v] / V;
  const hit = logits[base + target];
  return lse - hit + smoothing * (hit - mean) + z * lse * lse;
}

/** The f64 gradient of weights[r] * factor * cost by logit. */
export function crossEntropyGradient(
  { R, V, smoothing = 0, z = 0 }: Numbers,
  logits: ArrayLike<number>,
  targets: ArrayLike<number>,
  weights: ArrayLike<number>,
  factor: number,
): Float64Array {
  const d = new Float64Array(R * V);
  for (let r = 0; r < R; r++) {
    const lse = rowLse(logits, r * V, V);
    for (let v = 0; v < V; v++) {
      const hot = (v === targets[r] ? 1 - smoothing : 0) + smoothing / V;
      d[r * V + v] = weights[r] * factor * (Math.exp(logits[r * V + v] - lse) * (1 + 2 * z * lse) - hot);
    }
  }
  return d;
}

const forward = check({
  kernel: crossEntropy,
  cases: sizes.flatMap((s) => extras.map((e) => ({ ...s, ...e }))),
  bench: [
    { R: 288, V: 480, row: 0, smoothing: 0, z: 0 },
    { R: 1024, V: 448, row: 0, smoothing: 0, z: 0 },
    { R: 256, V: 65536, row: 0, smoothing: 0, z: 0 },
  ],
  inputs: (c, rng) => {
    const { R, V, row } = c;
    const logits = rng.normals(R * V, 3);
    const targets = ids(batch(c), V, (n) => rng.int(n));
    for (let r = 0; r < R; r += 4) logits[r * V + targets[row + r]] = 60;
    for (let r = 0; r < R; r += 8) logits[r * V + rng.int(V)] = 60;
    const kept = () => rng.normals(batch(c));
    return { logits, targets, ce: kept(), lse: kept(), cost: kept(), correct: new Uint32Array(batch(c)).fill(7) };
  },
  outputs: (c) => ({ ce: batch(c), lse: batch(c), correct: batch(c), cost: batch(c) }),
  reference: ({ R, V, row, smoothing, z }, inputs) => {
    const logits = inputs.logits as Float32Array;
    const targets = inputs.targets as Uint32Array;
    const [ce, lse, cost] = ["ce", "lse", "cost"].map((name) => Float64Array.from(inputs[name] as Float32Array));
    const correct = (inputs.correct as Uint32Array).slice();
    for (let r = 0; r < R; r++) {
      const of = logits.subarray(r * V, (r + 1) * V);
      const target = targets[row + r];
      lse[row + r] = rowLse(logits, r * V, V);
      ce[row + r] = lse[row + r] - of[target];
      cost[row + r] = rowCost(logits, r * V, V, target, smoothing, z);
      correct[row + r] = of.indexOf(of.reduce((a, x) => Math.max(a, x))) === target ? 1 : 0;
    }
    return { ce, lse, correct, cost };
  },
  tolerance: { f32: 4e-6 },
  bytes: ({ R, V }) => 4 * R * V,
});

const gradient = check({
  kernel: crossEntropyDx,
  cases: sizes.flatMap((s) => [
    { ...s, ...extras[0], acc: 0 },
    { ...s, ...extras[1], acc: 1 },
  ]),
  bench: [
    { R: 288, V: 480, row: 0, smoothing: 0, z: 0, acc: 0 },
    { R: 1024, V: 448, row: 0, smoothing: 0, z: 0, acc: 0 },
  ],
  inputs: (c, rng) => {
    const { R, V, row, acc } = c;
    const logits = rng.normals(R * V, 3);
    const weights = rng.normals(batch(c)).map((w, r) => (r % 3 === 1 ? 0 : w));
    const lse = Float32Array.from({ length: batch(c) }, (_, r) => (r < row || r >= row + R ? 0 : rowLse(logits, (r - row) * V, V)));
    const targets = ids(batch(c), V, (n) => rng.int(n));
    const base = { logits, targets, weights, lse, inverse: new Float32Array([0.25]), dloss: new Float32Array([2]) };
    return acc ? { ...base, dlogits: rng.normals(R * V) } : base;
  },
  outputs: ({ R, V }) => ({ dlogits: R * V }),
  reference: (c, inputs: Values) => {
    const [logits, weights] = [inputs.logits, inputs.weights] as Float32Array[];
    const d = crossEntropyGradient(c, logits, (inputs.targets as Uint32Array).subarray(c.row), weights.subarray(c.row), 0.5);
    return { dlogits: c.acc ? d.map((v, i) => v + (inputs.dlogits as Float32Array)[i]) : d };
  },
  tolerance: { f32: 4e-6 },
  bytes: ({ R, V }) => 8 * R * V,
});

const mean = check({
  kernel: weightedMean,
  cases: [
    { R: 1, byWeights: 1 },
    { R: 500, byWeights: 1 },
    { R: 70, byWeights: 0 },
    { R: 6, byWeights: 1, empty: 1 },
  ],
  bench: [{ R: 1024, byWeights: 1 }],
  inputs: ({ R, empty }, rng) => ({
    cost: rng.normals(R).map(Math.abs),
    weights: rng.normals(R).map((w, r) => (empty || r % 4 === 1 ? 0 : Math.abs(w))),
    correct: Uint32Array.from({ length: R }, () => rng.int(2)),
    denominator: 9,
  }),
  outputs: () => ({ loss: 1, inverse: 1, totals: 4 }),
  reference: ({ byWeights }, inputs) => {
    const [cost, weights] = [inputs.cost, inputs.weights] as Float32Array[];
    const sum = cost.reduce((a, v, i) => a + v * weights[i], 0);
    const weight = weights.reduce((a, w) => a + w, 0);
    const d = byWeights ? weight : 9;
    const scored = Array.from(weights.keys()).filter((i) => weights[i] !== 0);
    const hits = scored.filter((i) => (inputs.correct as Uint32Array)[i] === 1).length;
    return {
      loss: Float64Array.of(d ? sum / d : 0),
      inverse: Float64Array.of(d ? 1 / d : 0),
      totals: Float64Array.of(sum, weight, scored.length, hits),
    };
  },
  tolerance: { f32: 2e-6 },
});

export default [forward, gradient, mean];
