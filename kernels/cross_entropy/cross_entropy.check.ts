import { check, type Numbers } from "../kernel.ts";
import { crossEntropy, crossEntropyDx, weightedMean } from "./cross_entropy.ts";

const sizes = [
  { R: 1, V: 1 },
  { R: 5, V: 7 },
  { R: 40, V: 480 },
  { R: 3, V: 65536 },
  { R: 300, V: 100 },
];
const ids = (R: number, V: number, int: (n: number) => number) => Uint32Array.from({ length: R }, () => int(V));

/** log sum exp of row `base / V`, in f64. */
export function rowLse(logits: Float32Array, base: number, V: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (let v = 0; v < V; v++) most = Math.max(most, logits[base + v]);
  let s = 0;
  for (let v = 0; v < V; v++) s += Math.exp(logits[base + v] - most);
  return most + Math.log(s);
}

/** The f64 gradient: weights[r] * factor * (softmax - onehot). */
export function crossEntropyGradient(
  { R, V }: Numbers,
  logits: Float32Array,
  targets: Uint32Array,
  weights: Float32Array,
  factor: number,
): Float64Array {
  const d = new Float64Array(R * V);
  for (let r = 0; r < R; r++) {
    const lse = rowLse(logits, r * V, V);
    for (let v = 0; v < V; v++) d[r * V + v] = weights[r] * factor * (Math.exp(logits[r * V + v] - lse) - (v === targets[r] ? 1 : 0));
  }
  return d;
}

const forward = check({
  kernel: crossEntropy,
  cases: sizes,
  bench: [
    { R: 288, V: 480 },
    { R: 1024, V: 448 },
    { R: 256, V: 65536 },
  ],
  inputs: ({ R, V }, rng) => {
    const logits = rng.normals(R * V, 3);
    const targets = ids(R, V, (n) => rng.int(n));
    for (let r = 0; r < R; r += 4) logits[r * V + targets[r]] = 60;
    for (let r = 0; r < R; r += 8) logits[r * V + rng.int(V)] = 60;
    return { logits, targets };
  },
  outputs: ({ R }) => ({ ce: R, lse: R, correct: R }),
  reference: ({ R, V }, inputs) => {
    const logits = inputs.logits as Float32Array;
    const targets = inputs.targets as Uint32Array;
    const ce = new Float64Array(R);
    const lse = new Float64Array(R);
    const correct = new Uint32Array(R);
    for (let r = 0; r < R; r++) {
      const row = logits.subarray(r * V, (r + 1) * V);
      lse[r] = rowLse(logits, r * V, V);
      ce[r] = lse[r] - row[targets[r]];
      correct[r] = row.indexOf(row.reduce((a, x) => Math.max(a, x))) === targets[r] ? 1 : 0;
    }
    return { ce, lse, correct };
  },
  tolerance: { f32: 4e-6 },
  bytes: ({ R, V }) => 4 * R * V,
});

const gradient = check({
  kernel: crossEntropyDx,
  cases: sizes.flatMap((s) => [
    { ...s, acc: 0 },
    { ...s, acc: 1 },
  ]),
  bench: [
    { R: 288, V: 480, acc: 0 },
    { R: 1024, V: 448, acc: 0 },
  ],
  inputs: ({ R, V, acc }, rng) => {
    const logits = rng.normals(R * V, 3);
    const weights = rng.normals(R).map((w, r) => (r % 3 === 1 ? 0 : w));
    const lse = Float32Array.from({ length: R }, (_, r) => rowLse(logits, r * V, V));
    const targets = ids(R, V, (n) => rng.int(n));
    const base = { logits, targets, weights, lse, inverse: new Float32Array([0.25]), dloss: new Float32Array([2]) };
    return acc ? { ...base, dlogits: rng.normals(R * V) } : base;
  },
  outputs: ({ R, V }) => ({ dlogits: R * V }),
  reference: (c, inputs) => {
    const d = crossEntropyGradient(c, inputs.logits as Float32Array, inputs.targets as Uint32Array, inputs.weights as Float32Array, 0.5);
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
    ce: rng.normals(R).map(Math.abs),
    weights: rng.normals(R).map((w, r) => (empty || r % 4 === 1 ? 0 : Math.abs(w))),
    denominator: 9,
  }),
  outputs: () => ({ loss: 1, inverse: 1 }),
  reference: ({ byWeights }, inputs) => {
    const [ce, weights] = [inputs.ce, inputs.weights] as Float32Array[];
    const sum = ce.reduce((a, v, i) => a + v * weights[i], 0);
    const d = byWeights ? weights.reduce((a, w) => a + w, 0) : 9;
    return { loss: Float64Array.of(d ? sum / d : 0), inverse: Float64Array.of(d ? 1 / d : 0) };
  },
  tolerance: { f32: 2e-6 },
});

export default [forward, gradient, mean];
