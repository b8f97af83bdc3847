import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { attentionCached, cacheWrite } from "./attention_cached.ts";
import { attentionLoops } from "./attention_loops.ts";

const sizes: Numbers[] = [
  { R: 1, T: 1, S: 0, cap: 4, N: 1, K: 1, D: 1, branches: 1, base: 0, padded: 0 },
  { R: 3, T: 1, S: 0, cap: 10, N: 2, K: 1, D: 6, branches: 1, base: 7, padded: 0 },
  { R: 6, T: 1, S: 37, cap: 9, N: 2, K: 2, D: 32, branches: 3, base: 5, padded: 1 },
  { R: 4, T: 1, S: 70, cap: 40, N: 4, K: 2, D: 32, branches: 4, base: 39, padded: 1 },
  { R: 2, T: 20, S: 0, cap: 64, N: 2, K: 2, D: 32, branches: 1, base: 0, padded: 0 },
  { R: 6, T: 5, S: 33, cap: 40, N: 4, K: 1, D: 36, branches: 2, base: 17, padded: 1 },
  { R: 2, T: 3, S: 20, cap: 16, N: 2, K: 1, D: 128, branches: 1, base: 12, padded: 1 },
  // Padding alone: rows of a batch that is prefilled in parts, some of whose queries see no key.
  { R: 3, T: 8, S: 0, cap: 40, N: 4, K: 2, D: 32, branches: 1, base: 0, padded: 1 },
  { R: 3, T: 20, S: 0, cap: 64, N: 2, K: 1, D: 16, branches: 1, base: 20, padded: 1 },
  { R: 3, T: 1, S: 0, cap: 30, N: 4, K: 1, D: 32, branches: 1, base: 12, padded: 1 },
];
const timed: Numbers[] = [
  { R: 8, T: 1, S: 128, cap: 64, N: 2, K: 2, D: 32, branches: 8, base: 40, padded: 1 },
  { R: 256, T: 1, S: 64, cap: 64, N: 2, K: 2, D: 32, branches: 8, base: 40, padded: 1 },
  { R: 8, T: 32, S: 0, cap: 64, N: 2, K: 2, D: 32, branches: 1, base: 0, padded: 0 },
  { R: 1, T: 1, S: 512, cap: 512, N: 8, K: 8, D: 64, branches: 1, base: 500, padded: 1 },
];

/** Rows start at different keys: within the prefix, or within their own keys where there is none. */
function data({ R, T, S, cap, N, K, D, branches, base }: Numbers, rng: CheckRng): Values {
  const P = Math.ceil(R / branches);
  const prefix = Math.max(1, P * S * K * D);
  return {
    q: rng.normals(R * T * N * D),
    kp: rng.normals(prefix),
    vp: rng.normals(prefix),
    start: Uint32Array.from({ length: P }, (_, i) => (i % 2 ? rng.int(S + 1) : Math.min(2, S)) + (S ? 0 : [0, base + 5, 3][i % 3])),
    ks: rng.normals(R * cap * K * D),
    vs: rng.normals(R * cap * K * D),
    scale: 1 / Math.sqrt(D),
  };
}

/** Joins prefix and suffix into one row of keys, and asks the loops for causal attention over it. */
function cachedLoops({ R, T, S, cap, N, K, D, branches, base, padded }: Numbers, v: Values): Float64Array {
  const [q, kp, vp, ks, vs] = ["q", "kp", "vp", "ks", "vs"].map((name) => v[name] as Float32Array);
  const o = new Float64Array(R * T * N * D);
  const own = base + T;
  for (let r = 0; r < R; r++) {
    const i = Math.floor(r / branches);
    const join = (prefix: Float32Array, suffix: Float32Array) =>
      Float32Array.from([
        ...prefix.subarray(i * S * K * D, (i + 1) * S * K * D),
        ...suffix.subarray(r * cap * K * D, (r * cap + own) * K * D),
      ]);
    const c = { B: 1, T, S: S + own, N, K, D, causal: 1, scale: Math.fround(1 / Math.sqrt(D)) };
    const start = Uint32Array.of(padded ? (v.start as Uint32Array)[i] : 0);
    const query = q.subarray(r * T * N * D, (r + 1) * T * N * D);
    o.set(attentionLoops(c, { q: query, k: join(kp, ks), v: join(vp, vs), start }).o, r * T * N * D);
  }
  return o;
}

export default [
  check({
    kernel: attentionCached,
    cases: sizes,
    bench: timed,
    inputs: data,
    outputs: ({ R, T, N, D }) => ({ o: R * T * N * D }),
    reference: (c, v) => ({ o: cachedLoops(c, v) }),
    tolerance: { f32: 4e-6, f16: 2e-3 },
    dtypes: [
      { kp: "f16", vp: "f16", ks: "f16", vs: "f16" },
      { q: "f16", kp: "f16", vp: "f16", ks: "f16", vs: "f16" },
    ],
    flops: ({ R, T, S, N, D, base }) => 4 * R * T * N * D * (S + base + (T + 1) / 2),
  }),
  check({
    kernel: cacheWrite,
    cases: [
      { R: 1, T: 1, C: 1, cap: 1, base: 0 },
      { R: 3, T: 2, C: 6, cap: 5, base: 3 },
      { R: 3, T: 4, C: 64, cap: 6, base: 4 },
    ],
    bench: [{ R: 256, T: 1, C: 64, cap: 64, base: 40 }],
    inputs: ({ R, T, C, cap }, rng) => ({ x: rng.normals(R * T * C), cache: rng.normals(R * cap * C) }),
    outputs: ({ R, C, cap }) => ({ cache: R * cap * C }),
    reference: ({ R, T, C, cap, base }, v) => {
      const cache = Float64Array.from(v.cache as Float32Array);
      const x = v.x as Float32Array;
      for (let r = 0; r < R; r++) {
        for (let t = 0; t < T && base + t < cap; t++) cache.set(x.subarray((r * T + t) * C, (r * T + t + 1) * C), (r * cap + base + t) * C);
      }
      return { cache };
    },
    tolerance: { f32: 0, f16: 1e-3 },
    dtypes: [{ cache: "f16" }, { x: "f16", cache: "f16" }],
    bytes: ({ R, T, C }, size) => R * T * C * (size("x") + size("cache")),
  }),
];
