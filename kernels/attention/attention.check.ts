import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { attention, attentionDelta, attentionDkv, attentionDq } from "./attention.ts";
import { type AttentionData, attentionGradientLoops, attentionLoops, deltaLoops } from "./attention_loops.ts";

const sizes: Numbers[] = [
  { B: 1, T: 1, S: 1, N: 1, K: 1, D: 1, causal: 1, padded: 0 },
  { B: 2, T: 5, S: 5, N: 2, K: 1, D: 6, causal: 1, padded: 1 },
  { B: 3, T: 32, S: 32, N: 2, K: 2, D: 32, causal: 1, padded: 1 },
  { B: 1, T: 37, S: 70, N: 4, K: 2, D: 16, causal: 1, padded: 0 },
  { B: 1, T: 70, S: 37, N: 2, K: 1, D: 36, causal: 1, padded: 1 },
  { B: 1, T: 33, S: 33, N: 3, K: 1, D: 128, causal: 1, padded: 0 },
  { B: 2, T: 45, S: 45, N: 4, K: 2, D: 128, causal: 1, padded: 1 },
  { B: 1, T: 17, S: 40, N: 1, K: 1, D: 512, causal: 0, padded: 0 },
];
const timed: Numbers[] = [
  { B: 32, T: 32, S: 32, N: 2, K: 2, D: 32, causal: 1, padded: 0 },
  { B: 1, T: 512, S: 512, N: 8, K: 8, D: 64, causal: 1, padded: 0 },
  { B: 1, T: 256, S: 256, N: 1, K: 1, D: 512, causal: 0, padded: 0 },
];

const scaled = (c: Numbers): Numbers => ({ ...c, scale: Math.fround(1 / Math.sqrt(c.D)) });

/** q, k, v, start and the scale of a case. Padding hides up to all keys of a row. */
function data({ B, T, S, N, K, D, padded }: Numbers, rng: CheckRng): Values {
  const start = Uint32Array.from({ length: B }, (_, b) => (padded ? (b === 0 ? Math.min(3, S) : rng.int(S + 1)) : 7));
  return { q: rng.normals(B * T * N * D), k: rng.normals(B * S * K * D), v: rng.normals(B * S * K * D), start, scale: 1 / Math.sqrt(D) };
}

const known = (c: Numbers, v: Values): AttentionData => {
  const { q, k, v: values, start } = v as unknown as AttentionData;
  return { q, k, v: values, start: c.padded ? start : undefined };
};

/** The data of a gradient: as `data`, with the gradient of o, the true lse, and any delta (the true one cancels where few keys are seen). */
function gradientData(c: Numbers, rng: CheckRng): Values {
  const v = data(c, rng);
  const dout = rng.normals(c.B * c.T * c.N * c.D);
  const { lse } = attentionLoops(scaled(c), known(c, v));
  const delta = rng.normals(lse.length);
  const stat = Float32Array.from({ length: 2 * lse.length }, (_, i) => (i % 2 ? delta[i >> 1] : lse[i >> 1]));
  return { ...v, dout, stat };
}

function gradients(c: Numbers, v: Values): Record<"dq" | "dk" | "dv", Float64Array> {
  const stat = v.stat as Float32Array;
  const [lse, delta] = [stat.filter((_, i) => i % 2 === 0), stat.filter((_, i) => i % 2 === 1)];
  const found = attentionGradientLoops(scaled(c), known(c, v), v.dout as Float32Array, lse, delta);
  for (const name of ["dq", "dk", "dv"] as const) {
    const old = v[name] as Float32Array | undefined;
    if (old) found[name] = found[name].map((x, i) => x + old[i]);
  }
  return found;
}

/** Pairs (query, key) that meet. */
const pairs = ({ B, T, S, N, causal }: Numbers) => B * N * T * (causal ? (S + S - T + 1) / 2 : S);

export default [
  check({
    kernel: attention,
    cases: sizes,
    bench: timed,
    inputs: data,
    outputs: ({ B, T, N, D }) => ({ o: B * T * N * D, lse: B * N * T }),
    reference: (c, v) => ({ ...attentionLoops(scaled(c), known(c, v)) }),
    tolerance: { f32: 4e-6, f16: 2e-3 },
    terms: ({ D }) => D,
    dtypes: [{ q: "f16", k: "f16", v: "f16" }],
    flops: (c) => 4 * pairs(c) * c.D,
  }),
  check({
    kernel: attentionDelta,
    cases: sizes.map(({ B, T, N, D }) => ({ B, T, N, D })),
    bench: timed.map(({ B, T, N, D }) => ({ B, T, N, D })),
    inputs: ({ B, T, N, D }, rng) => ({ o: rng.normals(B * T * N * D), dout: rng.normals(B * T * N * D), lse: rng.normals(B * N * T) }),
    outputs: ({ B, T, N }) => ({ stat: 2 * B * N * T }),
    reference: (c, v) => {
      const delta = deltaLoops(c, v.o as Float32Array, v.dout as Float32Array);
      return { stat: Float64Array.from({ length: 2 * delta.length }, (_, i) => (i % 2 ? delta[i >> 1] : (v.lse as Float32Array)[i >> 1])) };
    },
    tolerance: { f32: 2e-6 },
    bytes: ({ B, T, N, D }) => 8 * B * T * N * D,
  }),
  check({
    kernel: attentionDq,
    cases: sizes.flatMap((c) => [0, 1].map((acc) => ({ ...c, acc }))),
    bench: timed.map((c) => ({ ...c, acc: 0 })),
    inputs: (c, rng) => ({ ...gradientData(c, rng), ...(c.acc ? { dq: rng.normals(c.B * c.T * c.N * c.D) } : {}) }),
    outputs: ({ B, T, N, D }) => ({ dq: B * T * N * D }),
    reference: (c, v) => ({ dq: gradients(c, v).dq }),
    tolerance: { f32: 1e-5 },
    flops: (c) => 6 * pairs(c) * c.D,
  }),
  check({
    kernel: attentionDkv,
    cases: sizes.flatMap((c) =>
      [
        { accK: 0, accV: 0 },
        { accK: 1, accV: 0 },
        { accK: 0, accV: 1 },
      ].map((acc) => ({ ...c, ...acc })),
    ),
    bench: timed.map((c) => ({ ...c, accK: 0, accV: 0 })),
    inputs: (c, rng) => {
      const size = c.B * c.S * c.K * c.D;
      return { ...gradientData(c, rng), ...(c.accK ? { dk: rng.normals(size) } : {}), ...(c.accV ? { dv: rng.normals(size) } : {}) };
    },
    outputs: ({ B, S, K, D }) => ({ dk: B * S * K * D, dv: B * S * K * D }),
    reference: (c, v) => {
      const { dk, dv } = gradients(c, v);
      return { dk, dv };
    },
    tolerance: { f32: 1e-5 },
    flops: (c) => 8 * pairs(c) * c.D,
  }),
];
