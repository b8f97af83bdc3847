// The stages of group norm and its gradient against plain f64 loops.
import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { groupNorm, groupNormDw, groupNormDx, groupNormMeans, groupNormMerge, groupNormStats, groupNormSums } from "./group_norm.ts";

type Floats = ArrayLike<number>;
const sigmoid = (u: number) => 1 / (1 + Math.exp(-u));

/** Mean and 1 / sqrt(var + eps) of the group of every channel, (B, C) each, in f64. */
export function statisticsLoops({ B, P, C }: Numbers, x: Floats, eps: number): { mean: Float64Array; rstd: Float64Array } {
  const [mean, rstd, width] = [new Float64Array(B * C), new Float64Array(B * C), C / 32];
  for (let b = 0; b < B; b++)
    for (let g = 0; g < 32; g++) {
      const values: number[] = [];
      for (let q = 0; q < P; q++) for (let c = 0; c < width; c++) values.push(x[(b * P + q) * C + g * width + c]);
      const m = values.reduce((a, v) => a + v, 0) / values.length;
      const variance = values.reduce((a, v) => a + (v - m) ** 2, 0) / values.length;
      mean.fill(m, b * C + g * width, b * C + (g + 1) * width);
      rstd.fill(1 / Math.sqrt(variance + eps), b * C + g * width, b * C + (g + 1) * width);
    }
  return { mean, rstd };
}

/** y of x (B, P, C) under given statistics, in f64. */
export function applyLoops({ B, P, C, swish }: Numbers, x: Floats, mean: Floats, rstd: Floats, w: Floats, b: Floats): Float64Array {
  return Float64Array.from({ length: B * P * C }, (_, n) => {
    const [c, at] = [n % C, Math.floor(n / (P * C)) * C + (n % C)];
    const u = (x[n] - mean[at]) * rstd[at] * w[c] + b[c];
    return swish ? u * sigmoid(u) : u;
  });
}

/** The normed values n and du = dy f'(u), (B, P, C) each, in f64. */
function inner({ B, P, C, swish }: Numbers, x: Floats, dy: Floats, mean: Floats, rstd: Floats, w: Floats, b: Floats) {
  const [normal, du] = [new Float64Array(B * P * C), new Float64Array(B * P * C)];
  for (let n = 0; n < normal.length; n++) {
    const [c, at] = [n % C, Math.floor(n / (P * C)) * C + (n % C)];
    normal[n] = (x[n] - mean[at]) * rstd[at];
    const u = normal[n] * w[c] + b[c];
    du[n] = dy[n] * (swish ? sigmoid(u) * (1 + u * (1 - sigmoid(u))) : 1);
  }
  return { normal, du };
}

/** Gradients of sum(y dy) with respect to x, w and b in f64. */
export function groupNormGradients(c: Numbers, x: Floats, dy: Floats, w: Floats, b: Floats, eps: number) {
  const { P, C } = c;
  const { mean, rstd } = statisticsLoops(c, x, eps);
  const { normal, du } = inner(c, x, dy, mean, rstd, w, b);
  const [dw, db] = [new Float64Array(C), new Float64Array(C)];
  for (let n = 0; n < du.length; n++) {
    dw[n % C] += du[n] * normal[n];
    db[n % C] += du[n];
  }
  const means = groupMeans(c, runSums({ ...c, span: P }, normal, du), w);
  return { dx: dxLoops(c, normal, du, rstd, w, means), dw, db };
}

function dxLoops({ B, P, C }: Numbers, normal: Floats, du: Floats, rstd: Floats, w: Floats, means: Floats): Float64Array {
  return Float64Array.from({ length: B * P * C }, (_, n) => {
    const [c, b] = [n % C, Math.floor(n / (P * C))];
    return rstd[b * C + c] * (w[c] * du[n] - means[2 * b * C + c] - normal[n] * means[(2 * b + 1) * C + c]);
  });
}

function runSums({ B, P, C, span }: Numbers, normal: Floats, du: Floats): Float64Array {
  const runs = Math.ceil(P / span);
  const part = new Float64Array(B * runs * 2 * C);
  for (let n = 0; n < B * P * C; n++) {
    const [c, q, b] = [n % C, Math.floor(n / C) % P, Math.floor(n / (P * C))];
    const row = (b * runs + Math.floor(q / span)) * 2;
    part[row * C + c] += du[n];
    part[(row + 1) * C + c] += du[n] * normal[n];
  }
  return part;
}

/** Means over groups, (B, 2, C), of sums (B, 2, C). */
function groupMeans({ B, P, C }: Numbers, sums: Floats, w: Floats): Float64Array {
  const width = C / 32;
  return Float64Array.from({ length: B * 2 * C }, (_, n) => {
    const [row, first] = [Math.floor(n / C), Math.floor((n % C) / width) * width];
    let total = 0;
    for (let c = first; c < first + width; c++) total += w[c] * sums[row * C + c];
    return total / (width * P);
  });
}

const sizes: Numbers[] = [
  { B: 1, P: 1, C: 32, span: 64 },
  { B: 2, P: 9, C: 64, span: 64 },
  { B: 3, P: 150, C: 32, span: 64 },
  { B: 1, P: 70, C: 96, span: 32 },
];
const large: Numbers = { B: 32, P: 2304, C: 32, span: 64 };
const both = (list: Numbers[], name: string) => list.flatMap((c) => [0, 1].map((v) => ({ ...c, [name]: v })));
const size = ({ B, P, C }: Numbers) => B * P * C;
const parts = ({ B, P, C, span }: Numbers) => B * Math.ceil(P / span) * 2 * C;

/** Values far from zero in the mean, so that a careless variance shows. */
function pictures(c: Numbers, rng: CheckRng): Float32Array {
  return rng.normals(size(c)).map((v, n) => v + 30 * ((n % c.C) % 3));
}

function gradientInputs(c: Numbers, rng: CheckRng): Values {
  const x = rng.normals(size(c));
  const { mean, rstd } = statisticsLoops(c, x, 1e-6);
  const affine = { w: rng.normals(c.C), b: rng.normals(c.C) };
  return { x, dy: rng.normals(size(c)), mean: Float32Array.from(mean), rstd: Float32Array.from(rstd), ...affine };
}

const f = (v: Values[string]) => v as Float32Array;
const innerOf = (c: Numbers, v: Values) => inner(c, f(v.x), f(v.dy), f(v.mean), f(v.rstd), f(v.w), f(v.b));

export default [
  check({
    kernel: groupNormStats,
    cases: sizes,
    bench: [large],
    inputs: (c, rng) => ({ x: pictures(c, rng) }),
    outputs: (c) => ({ part: parts(c) }),
    reference: (c, { x }) => {
      const runs = Math.ceil(c.P / c.span);
      const part = new Float64Array(parts(c));
      for (let n = 0; n < c.B * runs * c.C; n++) {
        const [channel, run, b] = [n % c.C, Math.floor(n / c.C) % runs, Math.floor(n / (c.C * runs))];
        const values: number[] = [];
        for (let q = run * c.span; q < Math.min(c.P, (run + 1) * c.span); q++) values.push(f(x)[(b * c.P + q) * c.C + channel]);
        const m = values.reduce((a, v) => a + v, 0) / values.length;
        part[(b * runs + run) * 2 * c.C + channel] = m;
        part[((b * runs + run) * 2 + 1) * c.C + channel] = values.reduce((a, v) => a + (v - m) ** 2, 0);
      }
      return { part };
    },
    tolerance: { f32: 1e-5 },
    bytes: (c) => 4 * size(c),
  }),
  check({
    kernel: groupNormMerge,
    cases: sizes,
    bench: [large],
    inputs: (c, rng) => ({ part: rng.normals(parts(c)).map((v, n) => (Math.floor(n / c.C) % 2 ? v * v : v)), eps: 1e-6 }),
    outputs: (c) => ({ mean: c.B * c.C, rstd: c.B * c.C }),
    reference: (c, { part, eps }) => {
      const [runs, width] = [Math.ceil(c.P / c.span), c.C / 32];
      const [mean, rstd] = [new Float64Array(c.B * c.C), new Float64Array(c.B * c.C)];
      for (let n = 0; n < c.B * c.C; n++) {
        const [b, first] = [Math.floor(n / c.C), Math.floor((n % c.C) / width) * width];
        const items: [count: number, mean: number, squares: number][] = [];
        for (let run = 0; run < runs; run++)
          for (let channel = first; channel < first + width; channel++) {
            const row = (b * runs + run) * 2 * c.C + channel;
            items.push([Math.min(c.span, c.P - run * c.span), f(part)[row], f(part)[row + c.C]]);
          }
        const count = items.reduce((a, [m]) => a + m, 0);
        mean[n] = items.reduce((a, [m, v]) => a + m * v, 0) / count;
        const squares = items.reduce((a, [m, v, s]) => a + s + m * (v - mean[n]) ** 2, 0);
        rstd[n] = 1 / Math.sqrt(squares / count + (eps as number));
      }
      return { mean, rstd };
    },
    tolerance: { f32: 1e-5 },
    bytes: (c) => 4 * parts(c),
  }),
  check({
    kernel: groupNorm,
    cases: both(sizes, "swish"),
    bench: [{ ...large, swish: 1 }],
    inputs: gradientInputs,
    outputs: (c) => ({ y: size(c) }),
    reference: (c, v) => ({ y: applyLoops(c, f(v.x), f(v.mean), f(v.rstd), f(v.w), f(v.b)) }),
    tolerance: { f32: 2e-6 },
    bytes: (c) => 8 * size(c),
  }),
  check({
    kernel: groupNormSums,
    cases: both(sizes, "swish"),
    bench: [{ ...large, swish: 1 }],
    inputs: gradientInputs,
    outputs: (c) => ({ part: parts(c) }),
    reference: (c, v) => {
      const { normal, du } = innerOf(c, v);
      return { part: runSums(c, normal, du) };
    },
    tolerance: { f32: 1e-5 },
    bytes: (c) => 8 * size(c),
  }),
  check({
    kernel: groupNormMeans,
    cases: sizes,
    bench: [large],
    inputs: (c, rng) => ({ part: rng.normals(parts(c)), w: rng.normals(c.C) }),
    outputs: (c) => ({ sums: c.B * 2 * c.C, means: c.B * 2 * c.C }),
    reference: (c, { part, w }) => {
      const runs = Math.ceil(c.P / c.span);
      const sums = new Float64Array(c.B * 2 * c.C);
      for (let b = 0; b < c.B; b++)
        for (let run = 0; run < runs; run++)
          for (let n = 0; n < 2 * c.C; n++) sums[b * 2 * c.C + n] += f(part)[(b * runs + run) * 2 * c.C + n];
      return { sums, means: groupMeans(c, sums, f(w)) };
    },
    tolerance: { f32: 5e-6 },
    bytes: (c) => 4 * parts(c),
  }),
  check({
    kernel: groupNormDw,
    cases: [0, 1].flatMap((acc) => [0, 1].map((accBias) => ({ B: 3, C: 96, acc, accBias }))),
    bench: [{ B: 32, C: 512, acc: 0, accBias: 0 }],
    inputs: (c, rng): Values => ({
      sums: rng.normals(c.B * 2 * c.C),
      ...(c.acc ? { dw: rng.normals(c.C) } : {}),
      ...(c.accBias ? { db: rng.normals(c.C) } : {}),
    }),
    outputs: (c) => ({ dw: c.C, db: c.C }),
    reference: (c, v) => {
      const total = (which: number, old?: Floats) =>
        Float64Array.from({ length: c.C }, (_, channel) => {
          let sum = old?.[channel] ?? 0;
          for (let b = 0; b < c.B; b++) sum += f(v.sums)[(2 * b + which) * c.C + channel];
          return sum;
        });
      return { dw: total(1, v.dw as Float32Array | undefined), db: total(0, v.db as Float32Array | undefined) };
    },
    tolerance: { f32: 2e-6 },
    bytes: (c) => 8 * c.B * c.C,
  }),
  check({
    kernel: groupNormDx,
    cases: both(both(sizes, "swish"), "acc"),
    bench: [{ ...large, swish: 1, acc: 0 }],
    inputs: (c, rng): Values => ({
      ...gradientInputs(c, rng),
      means: rng.normals(c.B * 2 * c.C),
      ...(c.acc ? { dx: rng.normals(size(c)) } : {}),
    }),
    outputs: (c) => ({ dx: size(c) }),
    reference: (c, v) => {
      const { normal, du } = innerOf(c, v);
      const dx = dxLoops(c, normal, du, f(v.rstd), f(v.w), f(v.means));
      return { dx: v.dx ? dx.map((value, n) => value + f(v.dx)[n]) : dx };
    },
    tolerance: { f32: 5e-6 },
    bytes: (c) => 12 * size(c),
  }),
];
