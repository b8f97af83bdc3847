// The stages of optical flow against plain f64 loops.
import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { cellPlanes, cellSide, flowCells, flowGrow, flowLevel, flowLight, flowSolve, flowSpeed, speedParts } from "./flow.ts";

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

/** b and its slopes (value, d/dx, d/dy) at a place between its pixels, the edge repeated. */
function sampled({ H, W }: Numbers, b: Float32Array, whole: [number, number], part: [number, number]): [number, number, number] {
  const [wx, wy, sx, sy] = [cubic(part[0]), cubic(part[1]), slope(part[0]), slope(part[1])];
  let [value, gx, gy] = [0, 0, 0];
  for (let i = 0; i < 4; i++)
    for (let j = 0; j < 4; j++) {
      const at = b[clamp(whole[1] + i - 1, H) * W + clamp(whole[0] + j - 1, W)];
      value += wy[i] * wx[j] * at;
      gx += wy[i] * sx[j] * at;
      gy += sy[i] * wx[j] * at;
    }
  return [value, gx, gy];
}

function cellsLoops(c: Numbers, a: Float32Array, b: Float32Array, flow: Float32Array, light: number): Float64Array {
  const { H, W, scale } = c;
  const across = Math.ceil(W / cellSide);
  const count = Math.ceil(H / cellSide) * across;
  const cells = new Float64Array(cellPlanes * count);
  const at = (y: number, x: number) => a[clamp(y, H) * W + clamp(x, W)];
  for (let y = 0; y < H; y++)
    for (let x = 0; x < W; x++) {
      const n = Math.floor(y / cellSide) * across + Math.floor(x / cellSide);
      const [u, v] = [flow[2 * n], flow[2 * n + 1]];
      // In f32, as the kernel: a place rounded elsewhere may lie on the other side of the edge.
      const [px, py] = [Math.fround(x + u), Math.fround(y + v)];
      if (px < 0 || py < 0 || px > W - 1 || py > H - 1) continue;
      const part: [number, number] = [Math.fround(u - Math.floor(u)), Math.fround(v - Math.floor(v))];
      const [value, slopeX, slopeY] = sampled(c, b, [x + Math.floor(u), y + Math.floor(v)], part);
      const gx = (slopeX + (at(y, x + 1) - at(y, x - 1)) / 2) / 2;
      const gy = (slopeY + (at(y + 1, x) - at(y - 1, x)) / 2) / 2;
      const r = value - at(y, x) - light;
      const w = scale / Math.sqrt(scale ** 2 + r ** 2) / cellSide ** 2;
      const t = gx * u + gy * v - r;
      [gx * gx, gx * gy, gy * gy, gx * t, gy * t, r, 1].forEach((value, plane) => {
        cells[plane * count + n] += w * value;
      });
    }
  return cells;
}

function solveLoops({ H, W, centre, near, far, prior }: Numbers, cells: Float32Array, flow: Float32Array): Float64Array {
  const window = [far, near, centre, near, far];
  const next = new Float64Array(2 * H * W);
  for (let y = 0; y < H; y++)
    for (let x = 0; x < W; x++) {
      const n = y * W + x;
      const s = [prior, 0, prior, prior * flow[2 * n], prior * flow[2 * n + 1]];
      for (let i = 0; i < 5; i++)
        for (let j = 0; j < 5; j++) {
          const [row, column] = [y + i - 2, x + j - 2];
          if (row < 0 || column < 0 || row >= H || column >= W) continue;
          for (let plane = 0; plane < 5; plane++) s[plane] += window[i] * window[j] * cells[(plane * H + row) * W + column];
        }
      const [xx, xy, yy, xt, yt] = s;
      const det = xx * yy - xy * xy;
      next[2 * n] = (yy * xt - xy * yt) / det;
      next[2 * n + 1] = (xx * yt - xy * xt) / det;
    }
  return next;
}

/** Between the two nearest cells, or in line with the two outermost: place X of the output lies at (X - N / 2) / N + first in cells. */
function growLoops({ H, W, OH, OW, N, first, gain }: Numbers, x: ArrayLike<number>): Float64Array {
  const y = new Float64Array(2 * OH * OW);
  const along = (place: number, length: number): [number, number, number] => {
    const low = Math.min(Math.max(Math.floor(place), 0), Math.max(length - 2, 0));
    return [low, Math.min(low + 1, length - 1), place - low];
  };
  for (let n = 0; n < OH * OW; n++) {
    const [top, bottom, down] = along((Math.floor(n / OW) - N / 2) / N + first, H);
    const [left, right, across] = along(((n % OW) - N / 2) / N + first, W);
    for (let c = 0; c < 2; c++) {
      const at = (row: number, column: number) => x[2 * (row * W + column) + c];
      const above = (1 - across) * at(top, left) + across * at(top, right);
      const below = (1 - across) * at(bottom, left) + across * at(bottom, right);
      y[2 * n + c] = gain * ((1 - down) * above + down * below);
    }
  }
  return y;
}

/** Planes of cells as flow_cells makes them of gradients, right-hand sides, residuals and weights, so that their sums are a solvable system. */
function planes({ H, W }: Numbers, rng: CheckRng): Float32Array {
  const [gx, gy, t, r, w] = [0, 1, 2, 3, 4].map(() => rng.normals(H * W, 4));
  const one = (of: (n: number) => number) => Array.from({ length: H * W }, (_, n) => of(n));
  return Float32Array.from([
    ...one((n) => gx[n] * gx[n]),
    ...one((n) => gx[n] * gy[n]),
    ...one((n) => gy[n] * gy[n]),
    ...one((n) => gx[n] * t[n]),
    ...one((n) => gy[n] * t[n]),
    ...one((n) => r[n]),
    ...one((n) => Math.abs(w[n])),
  ]);
}

const window = { centre: 0.4, near: 0.2, far: 0.1 };
const grids = [
  { H: 1, W: 1 },
  { H: 5, W: 4 },
  { H: 2, W: 3 },
  { H: 3, W: 30 },
  { H: 30, W: 3 },
  { H: 33, W: 41 },
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
    kernel: flowCells,
    cases: [
      { H: 1, W: 1, scale: 1 },
      { H: 9, W: 6, scale: 3 },
      { H: 40, W: 35, scale: 10 },
    ],
    bench: [{ ...large, scale: 20 }],
    inputs: ({ H, W }, rng) => ({
      a: rng.normals(H * W, 4),
      b: rng.normals(H * W, 4),
      flow: rng.normals(2 * Math.ceil(H / cellSide) * Math.ceil(W / cellSide), 3),
      light: rng.normals(1, 2),
    }),
    outputs: ({ H, W }) => ({ cells: cellPlanes * Math.ceil(H / cellSide) * Math.ceil(W / cellSide) }),
    reference: (c, { a, b, flow, light }) => ({ cells: cellsLoops(c, f(a), f(b), f(flow), f(light)[0]) }),
    tolerance: { f32: 5e-6 },
    bytes: ({ H, W }) => (8 + (4 * (cellPlanes + 2)) / cellSide ** 2) * H * W,
    // A pixel: 24.5 for its share of the seven rows, 21 down the columns, 34 for its equation.
    flops: ({ H, W }) => 79.5 * H * W,
  }),
  check({
    kernel: flowLight,
    cases: [{ n: 1 }, { n: 1003 }],
    bench: [{ n: 4096 }],
    inputs: ({ n }, rng) => ({ cells: planes({ H: 1, W: n }, rng), light: rng.normals(1) }),
    outputs: () => ({ next: 1 }),
    reference: ({ n }, { cells, light }) => {
      const sum = (plane: number) =>
        f(cells)
          .subarray(plane * n, (plane + 1) * n)
          .reduce((s, v) => s + v, 0);
      return { next: Float64Array.of(f(light)[0] + sum(5) / sum(6)) };
    },
    tolerance: { f32: 2e-6 },
    bytes: ({ n }) => 8 * n,
  }),
  check({
    kernel: flowSolve,
    cases: grids.map((c) => ({ ...c, ...window, prior: 2 })),
    bench: [{ H: 128, W: 128, ...window, prior: 2 }],
    inputs: (c, rng) => ({ cells: planes(c, rng), flow: rng.normals(2 * c.H * c.W) }),
    outputs: ({ H, W }) => ({ next: 2 * H * W }),
    reference: (c, { cells, flow }) => ({ next: solveLoops(c, f(cells), f(flow)) }),
    // A determinant is a difference: nearly parallel gradients cost digits.
    tolerance: { f32: 2e-5 },
    bytes: ({ H, W }) => 36 * H * W,
  }),
  check({
    kernel: flowGrow,
    cases: [
      ...grids.map(({ H, W }) => ({ H, W, OH: 2 * H, OW: 2 * W - 1, N: 2, first: 5 / 16, gain: 2 })),
      ...grids.map(({ H, W }) => ({ H, W, OH: 4 * H - 3, OW: 4 * W, N: 4, first: 1 / 8, gain: 1 })),
    ],
    bench: [{ H: 128, W: 128, OH: 512, OW: 512, N: 4, first: 1 / 8, gain: 1 }],
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
