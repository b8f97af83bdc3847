import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { layerNorm, layerNormDw, layerNormDx } from "./layer_norm.ts";

export function layerNormLoops({ rows, D, heads, eps }: Numbers, inputs: Values) {
  const [x, w, b] = [inputs.x, inputs.w, inputs.b] as Float32Array[];
  const y = new Float64Array(rows * D);
  const mean = new Float64Array(rows);
  const rstd = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    const head = (r % heads) * D;
    for (let c = 0; c < D; c++) mean[r] += x[r * D + c] / D;
    let v = 0;
    for (let c = 0; c < D; c++) v += (x[r * D + c] - mean[r]) ** 2 / D;
    rstd[r] = 1 / Math.sqrt(v + eps);
    for (let c = 0; c < D; c++) y[r * D + c] = (x[r * D + c] - mean[r]) * rstd[r] * w[head + c] + b[head + c];
  }
  return { y, mean, rstd };
}

export function layerNormDxLoops({ rows, D, heads, acc }: Numbers, inputs: Values) {
  const [x, w, mean, rstd, dy] = [inputs.x, inputs.w, inputs.mean, inputs.rstd, inputs.dy] as Float32Array[];
  const dx = acc ? Float64Array.from(inputs.dx as Float32Array) : new Float64Array(rows * D);
  for (let r = 0; r < rows; r++) {
    const g = Array.from({ length: D }, (_, c) => dy[r * D + c] * w[(r % heads) * D + c]);
    const hat = Array.from({ length: D }, (_, c) => (x[r * D + c] - mean[r]) * rstd[r]);
    const a = g.reduce((s, v) => s + v, 0) / D;
    const b = g.reduce((s, v, c) => s + v * hat[c], 0) / D;
    for (let c = 0; c < D; c++) dx[r * D + c] += rstd[r] * (g[c] - a - hat[c] * b);
  }
  return { dx };
}

export function layerNormDwLoops({ rows, D, heads, accw, accb }: Numbers, inputs: Values) {
  const [x, mean, rstd, dy] = [inputs.x, inputs.mean, inputs.rstd, inputs.dy] as Float32Array[];
  const dw = accw ? Float64Array.from(inputs.dw as Float32Array) : new Float64Array(heads * D);
  const db = accb ? Float64Array.from(inputs.db as Float32Array) : new Float64Array(heads * D);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < D; c++) {
      const at = (r % heads) * D + c;
      dw[at] += dy[r * D + c] * (x[r * D + c] - mean[r]) * rstd[r];
      db[at] += dy[r * D + c];
    }
  }
  return { dw, db };
}

const gradientInputs = ({ rows, D }: Numbers, rng: CheckRng) => ({
  x: rng.normals(rows * D),
  mean: rng.normals(rows, 0.2),
  rstd: Float32Array.from({ length: rows }, () => rng.uniform(0.5, 2)),
  dy: rng.normals(rows * D),
});

const sizes = [
  { rows: 1, D: 1, heads: 1 },
  { rows: 9, D: 7, heads: 3 },
  { rows: 200, D: 16, heads: 4 },
  { rows: 66, D: 32, heads: 2 },
  { rows: 50, D: 40, heads: 1 },
  { rows: 6, D: 516, heads: 2 },
];
const both = sizes.map((s, i) => ({ ...s, acc: i % 2, accw: i % 2, accb: i & 2 ? 1 : 0 }));
const benchCases = [
  { rows: 4096, D: 16, heads: 4, eps: 1e-5, acc: 0, accw: 0, accb: 0 },
  { rows: 4096, D: 40, heads: 4, eps: 1e-5, acc: 0, accw: 0, accb: 0 },
  { rows: 2048, D: 1024, heads: 1, eps: 1e-5, acc: 0, accw: 0, accb: 0 },
];

export default [
  check({
    kernel: layerNorm,
    cases: sizes.slice(1).map((s) => ({ ...s, eps: 1e-5 })),
    bench: benchCases,
    inputs: ({ rows, D, heads }, rng) => {
      // Every third row lies far from zero, where a variance from plain sums of squares would be off by 1e-5 and more.
      const x = rng.normals(rows * D).map((v, i) => (Math.floor(i / D) % 3 === 1 ? v + 20 : v));
      for (let c = 0; c < D; c++) x[c] *= 1e-3;
      return { x, w: rng.normals(heads * D), b: rng.normals(heads * D) };
    },
    outputs: ({ rows, D }) => ({ y: rows * D, mean: rows, rstd: rows }),
    reference: layerNormLoops,
    tolerance: { f32: 8e-6, f16: 2e-3 },
    dtypes: [
      { w: "f16", b: "f16" },
      { x: "f16", w: "f16", b: "f16", y: "f16" },
    ],
    bytes: ({ rows, D }) => 8 * rows * D,
  }),
  check({
    kernel: layerNormDx,
    cases: both,
    bench: benchCases,
    inputs: (c, rng) => ({ ...gradientInputs(c, rng), w: rng.normals(c.heads * c.D), ...(c.acc ? { dx: rng.normals(c.rows * c.D) } : {}) }),
    outputs: ({ rows, D }) => ({ dx: rows * D }),
    reference: layerNormDxLoops,
    tolerance: { f32: 4e-6, f16: 2e-3 },
    dtypes: [{ x: "f16", w: "f16" }],
    bytes: ({ rows, D }) => 12 * rows * D,
  }),
  check({
    kernel: layerNormDw,
    cases: both,
    bench: benchCases,
    inputs: (c, rng) => ({
      ...gradientInputs(c, rng),
      ...(c.accw ? { dw: rng.normals(c.heads * c.D) } : {}),
      ...(c.accb ? { db: rng.normals(c.heads * c.D) } : {}),
    }),
    outputs: ({ D, heads }) => ({ dw: heads * D, db: heads * D }),
    reference: layerNormDwLoops,
    tolerance: { f32: 4e-6, f16: 2e-3 },
    dtypes: [{ x: "f16" }],
    bytes: ({ rows, D }) => 8 * rows * D,
  }),
];
