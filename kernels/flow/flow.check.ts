// The stages of optical flow against plain f64 loops.
import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { flowGrow, flowLevel, flowLight, flowRows, flowSolve, flowSpeed, flowTerms, speedParts } from "./flow.ts";

const f = (v: Values[string]) => v as Float32Array;
const clamp = (i: number, length: number) => Math.min(Math.max(i, 0), length - 1);
const blur = [1, 4, 6, 4, 1].map((k) => k / 16);

function levelLoops({ H, W, OH, OW, step }: Numbers, x: ArrayLike<number>): Float64Array {
  const y = new Float64Array(OH * OW);
  for (let n = 0; n < y.length; n++)
    for (let i = 0; i < 5; i++)
      for (let j = 0; j < 5; j++) {
        const row = clamp(step * Math.floor(n / OW) + i - 2, H);
        y[n] += blur[i] * blur[j] * x[row * W + clamp(step * (n % OW) + j - 2, W)];
      }
  return y;
}

/** Catmull-Rom's four weights at t and their derivatives. */
const cubic = (t: number) => [
  -0.5 * t ** 3 + t ** 2 - 0.5 * t,
  1.5 * t ** 3 - 2.5 * t ** 2 + 1,
  -1.5 * t ** 3 + 2 * t ** 2 + 0.5 * t,
  0.5 * t ** 3 - 0.5 * t ** 2,
];
const slope = (t: number) => [-1.5 * t ** 2 + 2 * t - 0.5, 4.5 * t ** 2 - 5 * t, -4.5 * t ** 2 + 4 * t + 0.5, 1.5 * t ** 2 - t];

function termsLoops({ H, W, scale }: Numbers, a: Float32Array, b: Float32Array, flow: Float32Array): Float64Array {
  const terms = new Float64Array(5 * H * W);
  for (let y = 0; y < H; y++)
    for (let x = 0; x < W; x++) {
      const n = y * W + x;
      const [u, v] = [flow[2 * n], flow[2 * n + 1]];
      // In f32, as the kernel: a place rounded elsewhere has other values of a steep picture.
      const [px, py] = [Math.fround(x + u), Math.fround(y + v)];
      if (px < 0 || py < 0 || px > W - 1 || py > H - 1) continue;
      const [left, top] = [Math.floor(px), Math.floor(py)];
      const [wx, wy, sx, sy] = [cubic(px - left), cubic(py - top), slope(px - left), slope(py - top)];
      let [value, gx, gy] = [0, 0, 0];
      for (let i = 0; i < 4; i++)
        for (let j = 0; j < 4; j++) {
          const at = b[clamp(top + i - 1, H) * W + clamp(left + j - 1, W)];
          value += wy[i] * wx[j] * at;
          gx += wy[i] * sx[j] * at;
          gy += sy[i] * wx[j] * at;
        }
      gx = (gx + (a[y * W + clamp(x + 1, W)] - a[y * W + clamp(x - 1, W)]) / 2) / 2;
      gy = (gy + (a[clamp(y + 1, H) * W + x] - a[clamp(y - 1, H) * W + x]) / 2) / 2;
      const r = value - a[n];
      const w = scale / Math.sqrt(scale ** 2 + r ** 2);
      const t = gx * u + gy * v - r;
      [gx * gx, gx * gy, gy * gy, gx * t, gy * t].forEach((value, plane) => {
        terms[plane * H * W + n] = w * value;
      });
    }
  return terms;
}

/** Sums of five planes under the window, along rows or columns. */
function windowLoops({ H, W, R }: Numbers, planes: ArrayLike<number>, window: Float32Array, alongRows: boolean): Float64Array {
  const out = new Float64Array(5 * H * W);
  for (let f = 0; f < 5; f++)
    for (let y = 0; y < H; y++)
      for (let x = 0; x < W; x++)
        for (let i = -R; i <= R; i++) {
          const [row, column] = alongRows ? [y, x + i] : [y + i, x];
          if (row < 0 || column < 0 || row >= H || column >= W) continue;
          out[(f * H + y) * W + x] += window[i + R] * planes[(f * H + row) * W + column];
        }
  return out;
}

function solveLoops(c: Numbers, sums: Float32Array, window: Float32Array, flow: Float32Array): Float64Array {
  const count = c.H * c.W;
  const s = windowLoops(c, sums, window, false);
  const next = new Float64Array(2 * count);
  for (let n = 0; n < count; n++) {
    const [xx, xy, yy] = [s[n] + c.prior, s[count + n], s[2 * count + n] + c.prior];
    const [xt, yt] = [s[3 * count + n] + c.prior * flow[2 * n], s[4 * count + n] + c.prior * flow[2 * n + 1]];
    const det = xx * yy - xy * xy;
    next[2 * n] = (yy * xt - xy * yt) / det;
    next[2 * n + 1] = (xx * yt - xy * xt) / det;
  }
  return next;
}

function growLoops({ H, W, OH, OW }: Numbers, x: ArrayLike<number>): Float64Array {
  const y = new Float64Array(2 * OH * OW);
  for (let n = 0; n < OH * OW; n++) {
    const [row, column] = [Math.floor(n / OW) / 2, (n % OW) / 2];
    for (let c = 0; c < 2; c++)
      for (const i of [Math.floor(row), Math.ceil(row)])
        for (const j of [Math.floor(column), Math.ceil(column)]) y[2 * n + c] += 0.5 * x[2 * (clamp(i, H) * W + clamp(j, W)) + c];
  }
  return y;
}

/** Five planes as flow_terms makes them of gradients and right-hand sides, so that the sums are a solvable system. */
function planes({ H, W }: Numbers, rng: CheckRng): Float32Array {
  const [gx, gy, t] = [0, 1, 2].map(() => rng.normals(H * W, 4));
  const one = (of: (n: number) => number) => Array.from({ length: H * W }, (_, n) => of(n));
  return Float32Array.from([
    ...one((n) => gx[n] * gx[n]),
    ...one((n) => gx[n] * gy[n]),
    ...one((n) => gy[n] * gy[n]),
    ...one((n) => gx[n] * t[n]),
    ...one((n) => gy[n] * t[n]),
  ]);
}

const window = ({ R }: Numbers) => Float32Array.from({ length: 2 * R + 1 }, (_, i) => 1 / (R + 1 + Math.abs(i - R)));
const windows = [
  { H: 1, W: 1, R: 0 },
  { H: 5, W: 4, R: 2 },
  { H: 3, W: 30, R: 7 },
  { H: 30, W: 3, R: 7 },
  { H: 33, W: 41, R: 5 },
  { H: 9, W: 4, R: 3 },
  { H: 21, W: 48, R: 9 },
];
const levels = [
  { H: 1, W: 1, OH: 1, OW: 1 },
  { H: 7, W: 10, OH: 4, OW: 5 },
  { H: 32, W: 17, OH: 16, OW: 9 },
];
const large = { H: 512, W: 512 };

export default [
  check({
    kernel: flowLevel,
    cases: [...levels.map((c) => ({ ...c, step: 2 })), ...levels.map(({ H, W }) => ({ H, W, OH: H, OW: W, step: 1 }))],
    bench: [{ ...large, OH: 512, OW: 512, step: 1 }],
    inputs: ({ H, W }, rng) => ({ x: rng.normals(H * W) }),
    outputs: ({ OH, OW }) => ({ y: OH * OW }),
    reference: (c, { x }) => ({ y: levelLoops(c, f(x)) }),
    tolerance: { f32: 2e-6 },
    bytes: ({ H, W, OH, OW }) => 4 * (H * W + OH * OW),
  }),
  check({
    kernel: flowLight,
    cases: [{ n: 1 }, { n: 1003 }],
    bench: [{ n: 512 * 512 }],
    inputs: ({ n }, rng) => ({ x: rng.normals(n), sx: rng.normals(1, n), sa: rng.normals(1, n) }),
    outputs: ({ n }) => ({ y: n }),
    reference: ({ n }, { x, sx, sa }) => ({ y: Float64Array.from(f(x), (v) => v + (f(sa)[0] - f(sx)[0]) / n) }),
    tolerance: { f32: 2e-6 },
    bytes: ({ n }) => 8 * n,
  }),
  check({
    kernel: flowTerms,
    cases: [
      { H: 1, W: 1, scale: 1 },
      { H: 9, W: 6, scale: 3 },
      { H: 40, W: 35, scale: 10 },
    ],
    bench: [{ ...large, scale: 20 }],
    inputs: ({ H, W }, rng) => ({ a: rng.normals(H * W, 4), b: rng.normals(H * W, 4), flow: rng.normals(2 * H * W, 3) }),
    outputs: ({ H, W }) => ({ terms: 5 * H * W }),
    reference: (c, { a, b, flow }) => ({ terms: termsLoops(c, f(a), f(b), f(flow)) }),
    tolerance: { f32: 5e-6 },
    bytes: ({ H, W }) => 36 * H * W,
  }),
  check({
    kernel: flowRows,
    cases: windows,
    bench: [{ ...large, R: 7 }],
    inputs: (c, rng) => ({ terms: rng.normals(5 * c.H * c.W), window: window(c) }),
    outputs: ({ H, W }) => ({ sums: 5 * H * W }),
    reference: (c, { terms, window }) => ({ sums: windowLoops(c, f(terms), f(window), true) }),
    tolerance: { f32: 2e-6 },
    bytes: ({ H, W }) => 40 * H * W,
  }),
  check({
    kernel: flowSolve,
    cases: windows.map((c) => ({ ...c, prior: 2 })),
    bench: [{ ...large, R: 7, prior: 2 }],
    inputs: (c, rng) => ({ sums: planes(c, rng), window: window(c), flow: rng.normals(2 * c.H * c.W) }),
    outputs: ({ H, W }) => ({ next: 2 * H * W }),
    reference: (c, { sums, window, flow }) => ({ next: solveLoops(c, f(sums), f(window), f(flow)) }),
    // A determinant is a difference: nearly parallel gradients cost digits.
    tolerance: { f32: 2e-5 },
    bytes: ({ H, W }) => 36 * H * W,
  }),
  check({
    kernel: flowGrow,
    cases: levels.map(({ H, W, OH, OW }) => ({ H: OH, W: OW, OH: H, OW: W })),
    bench: [{ H: 256, W: 256, OH: 512, OW: 512 }],
    inputs: ({ H, W }, rng) => ({ x: rng.normals(2 * H * W) }),
    outputs: ({ OH, OW }) => ({ y: 2 * OH * OW }),
    reference: (c, { x }) => ({ y: growLoops(c, f(x)) }),
    tolerance: { f32: 2e-6 },
    bytes: ({ H, W, OH, OW }) => 8 * (H * W + OH * OW),
  }),
  check({
    kernel: flowSpeed,
    cases: [{ n: 1 }, { n: 5003 }],
    bench: [{ n: 512 * 512 }],
    inputs: ({ n }, rng) => ({ flow: rng.normals(2 * n) }),
    outputs: () => ({ part: speedParts }),
    reference: ({ n }, { flow }) => {
      const part = new Float64Array(speedParts);
      for (let i = 0; i < n; i++) part[i % speedParts] += Math.hypot(f(flow)[2 * i], f(flow)[2 * i + 1]);
      return { part };
    },
    tolerance: { f32: 2e-6 },
    bytes: ({ n }) => 8 * n,
  }),
];
