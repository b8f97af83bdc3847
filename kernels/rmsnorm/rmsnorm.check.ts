import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { rmsnorm, rmsnormDw, rmsnormDx } from "./rmsnorm.ts";

export function rmsnormLoops({ rows, C, eps }: Numbers, { x, w }: Values) {
  const [a, b] = [x as Float32Array, w as Float32Array];
  const y = new Float64Array(rows * C);
  const rstd = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    let s = 0;
    for (let c = 0; c < C; c++) s += a[r * C + c] ** 2;
    rstd[r] = 1 / Math.sqrt(s / C + eps);
    for (let c = 0; c < C; c++) y[r * C + c] = b[c] * a[r * C + c] * rstd[r];
  }
  return { y, rstd };
}

export function rmsnormDxLoops({ rows, C, acc }: Numbers, inputs: Values) {
  const [x, w, rstd, dy] = [inputs.x, inputs.w, inputs.rstd, inputs.dy] as Float32Array[];
  const dx = acc ? Float64Array.from(inputs.dx as Float32Array) : new Float64Array(rows * C);
  for (let r = 0; r < rows; r++) {
    let mean = 0;
    for (let c = 0; c < C; c++) mean += (w[c] * dy[r * C + c] * x[r * C + c]) / C;
    for (let c = 0; c < C; c++) dx[r * C + c] += rstd[r] * (w[c] * dy[r * C + c] - x[r * C + c] * rstd[r] ** 2 * mean);
  }
  return { dx };
}

export function rmsnormDwLoops({ rows, C, acc }: Numbers, inputs: Values) {
  const [x, rstd, dy] = [inputs.x, inputs.rstd, inputs.dy] as Float32Array[];
  const dw = acc ? Float64Array.from(inputs.dw as Float32Array) : new Float64Array(C);
  for (let r = 0; r < rows; r++) for (let c = 0; c < C; c++) dw[c] += dy[r * C + c] * x[r * C + c] * rstd[r];
  return { dw };
}

const gradientInputs = ({ rows, C }: Numbers, rng: CheckRng) => ({
  x: rng.normals(rows * C),
  w: rng.normals(C),
  rstd: Float32Array.from({ length: rows }, () => rng.uniform(0.5, 2)),
  dy: rng.normals(rows * C),
});

const gradientCases = [
  { rows: 1, C: 1, acc: 0 },
  { rows: 3, C: 100, acc: 1 },
  { rows: 37, C: 64, acc: 0 },
  { rows: 130, C: 36, acc: 1 },
  { rows: 5, C: 1030, acc: 0 },
];
const benchCases = [
  { rows: 1024, C: 64, acc: 0, eps: 1e-5 },
  { rows: 1024, C: 160, acc: 0, eps: 1e-5 },
];

export default [
  check({
    kernel: rmsnorm,
    cases: [
      { rows: 1, C: 1, eps: 1e-5 },
      { rows: 3, C: 100, eps: 1e-5 },
      { rows: 1, C: 4096, eps: 1e-6 },
      { rows: 67, C: 64, eps: 1e-5 },
      { rows: 5, C: 37, eps: 1e-5 },
    ],
    bench: benchCases,
    inputs: ({ rows, C }, rng) => {
      const x = rng.normals(rows * C);
      x.fill(1e-4, 0, C);
      return { x, w: rng.normals(C) };
    },
    outputs: ({ rows, C }) => ({ y: rows * C, rstd: rows }),
    reference: rmsnormLoops,
    tolerance: { f32: 2e-6, f16: 2e-3 },
    dtypes: [{ w: "f16" }, { x: "f16", w: "f16", y: "f16" }],
    flops: ({ rows, C }) => 4 * rows * C,
    bytes: ({ rows, C }) => 4 * (2 * rows * C + C + rows),
  }),
  check({
    kernel: rmsnormDx,
    cases: gradientCases,
    bench: benchCases,
    inputs: ({ rows, C, acc }, rng) => ({ ...gradientInputs({ rows, C }, rng), ...(acc ? { dx: rng.normals(rows * C) } : {}) }),
    outputs: ({ rows, C }) => ({ dx: rows * C }),
    reference: rmsnormDxLoops,
    tolerance: { f32: 4e-6, f16: 2e-3 },
    dtypes: [{ x: "f16", w: "f16" }],
    bytes: ({ rows, C }) => 4 * (3 * rows * C + C + rows),
  }),
  check({
    kernel: rmsnormDw,
    cases: gradientCases,
    bench: benchCases,
    inputs: ({ rows, C, acc }, rng) => {
      const { x, rstd, dy } = gradientInputs({ rows, C }, rng);
      return { x, rstd, dy, ...(acc ? { dw: rng.normals(C) } : {}) };
    },
    outputs: ({ C }) => ({ dw: C }),
    reference: rmsnormDwLoops,
    tolerance: { f32: 4e-6, f16: 2e-3 },
    dtypes: [{ x: "f16" }],
    bytes: ({ rows, C }) => 4 * (2 * rows * C + C + rows),
  }),
];
