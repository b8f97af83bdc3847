// Sums and dot products over runs, and their gradients, against plain f64 loops.
import { check, type Numbers } from "../kernel.ts";
import { rowDot, rowSum, spread, spreadTimes } from "./reduce.ts";

type Floats = ArrayLike<number>;
type Data = Readonly<Record<string, Floats | number>>;

/** y: scale * the sums of x, or of x * z where given, over runs of C of the n values. */
export function sumLoops({ rows, C, n, scale }: Numbers, { x, z }: Data): { y: Float64Array } {
  const [a, b] = [x as Floats, z as Floats | undefined];
  const y = new Float64Array(rows);
  for (let i = 0; i < n; i++) y[Math.floor(i / C)] += scale * a[i] * (b ? b[i] : 1);
  return { y };
}

/** dx: scale * dy of each value's run, times z where given, added to dx where acc is 1. */
export function spreadLoops({ n, C, acc, scale = 1 }: Numbers, { dy, z, dx }: Data): { dx: Float64Array } {
  const [g, b] = [dy as Floats, z as Floats | undefined];
  const out = acc ? Float64Array.from(dx as Floats) : new Float64Array(n);
  for (let i = 0; i < n; i++) out[i] += scale * g[Math.floor(i / C)] * (b ? b[i] : 1);
  return { dx: out };
}

const sums = [
  { rows: 1, C: 1, n: 1, scale: 1 },
  { rows: 3, C: 37, n: 111, scale: 0.5 },
  { rows: 1, C: 8, n: 5, scale: 1 },
  { rows: 5, C: 64, n: 259, scale: 2 },
  { rows: 40, C: 16, n: 638, scale: -1 },
  { rows: 3, C: 4096, n: 9001, scale: 1 },
  { rows: 130, C: 1028, n: 133001, scale: 1 },
  { rows: 66000, C: 3, n: 198000, scale: 1 },
];
const spreads = [
  { n: 1, C: 1, acc: 0, scale: 1 },
  { n: 100, C: 7, acc: 1, scale: 0.5 },
  { n: 260, C: 260, acc: 0, scale: -2 },
  { n: 100_004, C: 1028, acc: 1, scale: 1 },
];
const bench = [{ rows: 32, C: 4096, n: 131072, scale: 1, acc: 0 }];

export default [
  check({
    kernel: rowSum,
    cases: sums,
    bench,
    inputs: ({ n }, rng) => ({ x: rng.normals(n) }),
    outputs: ({ rows }) => ({ y: rows }),
    reference: sumLoops,
    tolerance: { f32: 4e-6 },
    bytes: ({ n }) => 4 * n,
  }),
  check({
    kernel: rowDot,
    cases: sums,
    bench,
    inputs: ({ n }, rng) => ({ x: rng.normals(n), z: rng.normals(n) }),
    outputs: ({ rows }) => ({ y: rows }),
    reference: sumLoops,
    tolerance: { f32: 4e-6 },
    bytes: ({ n }) => 8 * n,
  }),
  check({
    kernel: spread,
    cases: spreads,
    inputs: ({ n, C, acc }, rng) => ({ dy: rng.normals(Math.ceil(n / C)), ...(acc ? { dx: rng.normals(n) } : {}) }),
    outputs: ({ n }) => ({ dx: n }),
    reference: spreadLoops,
    tolerance: { f32: 5e-7 },
  }),
  check({
    kernel: spreadTimes,
    cases: spreads.map(({ n, C, acc }) => ({ n, C, acc })),
    inputs: ({ n, C, acc }, rng) => ({ dy: rng.normals(Math.ceil(n / C)), z: rng.normals(n), ...(acc ? { dx: rng.normals(n) } : {}) }),
    outputs: ({ n }) => ({ dx: n }),
    reference: spreadLoops,
    tolerance: { f32: 5e-7 },
  }),
];
