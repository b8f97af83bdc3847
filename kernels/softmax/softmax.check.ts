// Softmax of rows and its gradient against plain f64 loops.
import { check, type Numbers, type Values } from "../kernel.ts";
import { softmax, softmaxDx } from "./softmax.ts";

type Floats = ArrayLike<number>;
const f = (v: Values[string]) => v as Float32Array;

export function softmaxLoops(x: Floats, C: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let r = 0; r < x.length; r += C) {
    let top = x[r];
    for (let c = 1; c < C; c++) top = Math.max(top, x[r + c]);
    let s = 0;
    for (let c = 0; c < C; c++) s += y[r + c] = Math.exp(x[r + c] - top);
    for (let c = 0; c < C; c++) y[r + c] /= s;
  }
  return y;
}

export function softmaxDxLoops(y: Floats, dy: Floats, C: number): Float64Array {
  const dx = new Float64Array(y.length);
  for (let r = 0; r < y.length; r += C) {
    let s = 0;
    for (let c = 0; c < C; c++) s += dy[r + c] * y[r + c];
    for (let c = 0; c < C; c++) dx[r + c] = y[r + c] * (dy[r + c] - s);
  }
  return dx;
}

const sizes = [
  { rows: 1, C: 1 },
  { rows: 3, C: 100 },
  { rows: 130, C: 36 },
  { rows: 5, C: 1030 },
  { rows: 2, C: 32768 },
  { rows: 66000, C: 3 },
];
const bench = [
  { rows: 1024, C: 64, acc: 0 },
  { rows: 2048, C: 1024, acc: 0 },
];
const large = ({ rows, C }: Numbers) => rows * C;
const lowest = -3.4028234663852886e38;

/** The first row, and the first half of every other, at the lowest f32, as masks leave them. */
function masked(x: Float32Array, C: number): Float32Array {
  return x.map((v, i) => (i < C || i % C < C / 2 ? lowest : v));
}

export default [
  check({
    kernel: softmax,
    cases: [
      ...sizes,
      { rows: 7, C: 64, shift: 1e4 },
      { rows: 7, C: 37, shift: -1e4 },
      ...[37, 60, 512].map((C) => ({ rows: 3, C, mask: 1 })),
    ],
    bench,
    inputs: (c, rng) => {
      const x = rng.normals(large(c), 3).map((v) => v + (c.shift ?? 0));
      return { x: c.mask ? masked(x, c.C) : x };
    },
    outputs: (c) => ({ y: large(c) }),
    reference: ({ C }, { x }) => ({ y: softmaxLoops(f(x), C) }),
    tolerance: { f32: 4e-6 },
    bytes: (c) => 8 * large(c),
  }),
  check({
    kernel: softmaxDx,
    cases: sizes.flatMap((s) => [
      { ...s, acc: 0 },
      { ...s, acc: 1 },
    ]),
    bench,
    inputs: (c, rng): Values => ({
      y: Float32Array.from(softmaxLoops(rng.normals(large(c)), c.C)),
      dy: rng.normals(large(c)),
      ...(c.acc ? { dx: rng.normals(large(c)) } : {}),
    }),
    outputs: (c) => ({ dx: large(c) }),
    reference: ({ C }, { y, dy, dx }) => {
      const d = softmaxDxLoops(f(y), f(dy), C);
      return { dx: dx ? d.map((v, i) => v + f(dx)[i]) : d };
    },
    tolerance: { f32: 4e-6 },
    bytes: (c) => 12 * large(c),
  }),
];
