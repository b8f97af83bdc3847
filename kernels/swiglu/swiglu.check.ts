import { check, type Numbers, type Values } from "../kernel.ts";
import { gatedProduct, swiglu, swigluBackward } from "./swiglu.ts";

const sigmoid = (a: number) => 1 / (1 + Math.exp(-a));
/** Normal values, and some far enough out for exp to overflow. */
const wide = (x: Float32Array) => x.map((v, i) => (i % 50 === 3 ? v * 100 : v * 2));

export function swigluLoops({ n }: Numbers, { g, u }: Values) {
  const [a, b] = [g as Float32Array, u as Float32Array];
  return { h: Float64Array.from({ length: n }, (_, i) => a[i] * sigmoid(a[i]) * b[i]) };
}

export function swigluBackwardLoops({ n, accg, accu }: Numbers, inputs: Values) {
  const [g, u, dh] = [inputs.g, inputs.u, inputs.dh] as Float32Array[];
  const dg = accg ? Float64Array.from(inputs.dg as Float32Array) : new Float64Array(n);
  const du = accu ? Float64Array.from(inputs.du as Float32Array) : new Float64Array(n);
  for (let i = 0; i < n; i++) {
    const s = sigmoid(g[i]);
    dg[i] += dh[i] * u[i] * s * (1 + g[i] * (1 - s));
    du[i] += dh[i] * g[i] * s;
  }
  return { dg, du };
}

export function gatedProductLoops({ N, K }: Numbers, inputs: Values) {
  const [x, gate, up] = [inputs.x, inputs.gate, inputs.up] as Float32Array[];
  const dot = (w: Float32Array, n: number) => w.subarray(n * K, (n + 1) * K).reduce((sum, v, k) => sum + v * x[k], 0);
  return { h: Float64Array.from({ length: N }, (_, n) => dot(gate, n) * sigmoid(dot(gate, n)) * dot(up, n)) };
}

export default [
  check({
    kernel: swiglu,
    cases: [{ n: 1 }, { n: 77 }, { n: 1000 }],
    bench: [{ n: 1024 * 176 }, { n: 1024 * 432 }],
    inputs: ({ n }, rng) => ({ g: wide(rng.normals(n)), u: rng.normals(n) }),
    outputs: ({ n }) => ({ h: n }),
    reference: swigluLoops,
    tolerance: { f32: 2e-6, f16: 2e-3 },
    dtypes: [
      { g: "f16", u: "f16" },
      { g: "f16", u: "f16", h: "f16" },
    ],
    bytes: ({ n }) => 12 * n,
  }),
  check({
    kernel: swigluBackward,
    cases: [
      { n: 1, accg: 0, accu: 0 },
      { n: 77, accg: 1, accu: 0 },
      { n: 1000, accg: 0, accu: 1 },
      { n: 504, accg: 1, accu: 1 },
    ],
    bench: [
      { n: 1024 * 176, accg: 0, accu: 0 },
      { n: 1024 * 432, accg: 0, accu: 0 },
    ],
    inputs: ({ n, accg, accu }, rng) => ({
      g: wide(rng.normals(n)),
      u: rng.normals(n),
      dh: rng.normals(n),
      ...(accg ? { dg: rng.normals(n) } : {}),
      ...(accu ? { du: rng.normals(n) } : {}),
    }),
    outputs: ({ n }) => ({ dg: n, du: n }),
    reference: swigluBackwardLoops,
    tolerance: { f32: 4e-6, f16: 2e-3 },
    dtypes: [{ g: "f16", u: "f16" }],
    bytes: ({ n }) => 20 * n,
  }),
  check({
    kernel: gatedProduct,
    cases: [
      { N: 1, K: 1 },
      { N: 7, K: 5 },
      { N: 70, K: 12 },
      { N: 160, K: 64 },
      { N: 36, K: 300 },
    ],
    bench: [
      { N: 160, K: 64 },
      { N: 688, K: 256 },
      { N: 5504, K: 4096 },
    ],
    inputs: ({ N, K }, rng) => ({
      x: rng.normals(K),
      gate: rng.normals(N * K, 1 / Math.sqrt(K)),
      up: rng.normals(N * K, 1 / Math.sqrt(K)),
    }),
    outputs: ({ N }) => ({ h: N }),
    reference: gatedProductLoops,
    tolerance: { f32: 2e-6 },
    terms: ({ K }) => K,
    dtypes: [
      { gate: "f16", up: "f16" },
      { gate: "bf16", up: "bf16" },
    ],
    flops: ({ N, K }) => 4 * N * K,
    bytes: ({ N, K }, size) => N * K * (size("gate") + size("up")),
  }),
];
