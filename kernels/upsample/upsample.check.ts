// upsample and its gradient against plain loops.
import { check, type Numbers, type Values } from "../kernel.ts";
import { upsample, upsampleDx } from "./upsample.ts";

/** y (B, 2H, 2W, C) of x (B, H, W, C) in f64. */
export function upsampleLoops({ B, H, W, C }: Numbers, x: ArrayLike<number>): Float64Array {
  const y = new Float64Array(4 * B * H * W * C);
  for (let n = 0; n < y.length; n++) {
    const [c, ox, row] = [n % C, Math.floor(n / C) % (2 * W), Math.floor(n / (C * 2 * W))];
    const [b, oy] = [Math.floor(row / (2 * H)), row % (2 * H)];
    y[n] = x[((b * H + (oy >> 1)) * W + (ox >> 1)) * C + c];
  }
  return y;
}

/** dx of dy (B, 2H, 2W, C) in f64, added to `old` where given. */
export function upsampleDxLoops({ B, H, W, C }: Numbers, dy: ArrayLike<number>, old?: ArrayLike<number>): Float64Array {
  const dx = Float64Array.from({ length: B * H * W * C }, (_, n) => old?.[n] ?? 0);
  for (let n = 0; n < 4 * B * H * W * C; n++) {
    const [c, ox, row] = [n % C, Math.floor(n / C) % (2 * W), Math.floor(n / (C * 2 * W))];
    const [b, oy] = [Math.floor(row / (2 * H)), row % (2 * H)];
    dx[((b * H + (oy >> 1)) * W + (ox >> 1)) * C + c] += dy[n];
  }
  return dx;
}

const sizes = [
  { B: 1, H: 1, W: 1, C: 1 },
  { B: 2, H: 3, W: 5, C: 3 },
  { B: 2, H: 3, W: 5, C: 32 },
];
const large = { B: 32, H: 24, W: 24, C: 32 };
const size = ({ B, H, W, C }: Numbers) => B * H * W * C;

export default [
  check({
    kernel: upsample,
    cases: sizes,
    bench: [large],
    inputs: (c, rng) => ({ x: rng.normals(size(c)) }),
    outputs: (c) => ({ y: 4 * size(c) }),
    reference: (c, { x }) => ({ y: upsampleLoops(c, x as Float32Array) }),
    tolerance: { f32: 0 },
    bytes: (c) => 20 * size(c),
  }),
  check({
    kernel: upsampleDx,
    cases: sizes.flatMap((c) => [
      { ...c, acc: 0 },
      { ...c, acc: 1 },
    ]),
    bench: [{ ...large, acc: 0 }],
    inputs: (c, rng): Values => ({ dy: rng.normals(4 * size(c)), ...(c.acc ? { dx: rng.normals(size(c)) } : {}) }),
    outputs: (c) => ({ dx: size(c) }),
    reference: (c, { dy, dx }) => ({ dx: upsampleDxLoops(c, dy as Float32Array, dx as Float32Array | undefined) }),
    tolerance: { f32: 2e-6 },
    bytes: (c) => 20 * size(c),
  }),
];
