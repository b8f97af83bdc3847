// The convolution and its gradient kernels against plain f64 loops.
import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { channels, conv2d, conv2dDw, conv2dFlip, conv2dSum } from "./conv2d.ts";

type Floats = ArrayLike<number>;

/** y (B, OH, OW, O) of x (B, H, W, I) and w (O, KH, KW, I) in f64; `up` spreads x before it is padded, `old` is added. */
export function conv2dLoops(c: Numbers, x: Floats, w: Floats, b?: Floats, old?: Floats): Float64Array {
  const y = new Float64Array(c.B * c.OH * c.OW * c.O);
  let n = 0;
  for (let picture = 0; picture < c.B; picture++)
    for (let oy = 0; oy < c.OH; oy++)
      for (let ox = 0; ox < c.OW; ox++)
        for (let o = 0; o < c.O; o++, n++) {
          y[n] = (b?.[o] ?? 0) + (old?.[n] ?? 0);
          for (let ky = 0; ky < c.KH; ky++)
            for (let kx = 0; kx < c.KW; kx++) {
              const iy = (oy * c.stride + ky - c.pad) / c.up;
              const ix = (ox * c.stride + kx - c.pad) / c.up;
              if (!Number.isInteger(iy) || !Number.isInteger(ix) || iy < 0 || ix < 0 || iy >= c.H || ix >= c.W) continue;
              const from = ((picture * c.H + iy) * c.W + ix) * c.I;
              const tap = ((o * c.KH + ky) * c.KW + kx) * c.I;
              for (let i = 0; i < c.I; i++) y[n] += x[from + i] * w[tap + i];
            }
        }
  return y;
}

/** v[i, KH-1-ky, KW-1-kx, o] = w[o, ky, kx, i]. */
export function flipLoops({ O, KH, KW, I }: Numbers, w: Floats): Float64Array {
  const v = new Float64Array(O * KH * KW * I);
  for (let o = 0; o < O; o++)
    for (let tap = 0; tap < KH * KW; tap++)
      for (let i = 0; i < I; i++) v[(i * KH * KW + KH * KW - 1 - tap) * O + o] = w[(o * KH * KW + tap) * I + i];
  return v;
}

/** Gradient of sum(y dy) with respect to x, in f64. */
export function conv2dDxLoops(c: Numbers, w: Floats, dy: Floats): Float64Array {
  const back = { ...c, H: c.OH, W: c.OW, I: c.O, OH: c.H, OW: c.W, O: c.I, stride: 1, pad: c.KH - 1 - c.pad, up: c.stride };
  return conv2dLoops(back, dy, flipLoops(c, w));
}

/** Gradients of sum(y dy) with respect to w and b over pixels first ... last - 1 (of all pictures together), in f64: weights, then biases. */
export function conv2dDwLoops(c: Numbers, x: Floats, dy: Floats, first = 0, last = c.B * c.OH * c.OW): Float64Array {
  const weights = c.O * c.KH * c.KW * c.I;
  const out = new Float64Array(weights + c.O);
  for (let q = first; q < last; q++) {
    const [ox, oy, picture] = [q % c.OW, Math.floor(q / c.OW) % c.OH, Math.floor(q / (c.OW * c.OH))];
    for (let o = 0; o < c.O; o++) {
      const d = dy[q * c.O + o];
      out[weights + o] += d;
      for (let ky = 0; ky < c.KH; ky++)
        for (let kx = 0; kx < c.KW; kx++) {
          const [iy, ix] = [oy * c.stride + ky - c.pad, ox * c.stride + kx - c.pad];
          if (iy < 0 || ix < 0 || iy >= c.H || ix >= c.W) continue;
          const from = ((picture * c.H + iy) * c.W + ix) * c.I;
          const tap = ((o * c.KH + ky) * c.KW + kx) * c.I;
          for (let i = 0; i < c.I; i++) out[tap + i] += d * x[from + i];
        }
    }
  }
  return out;
}

const same = { KH: 3, KW: 3, stride: 1, pad: 1, up: 1 };
const square = (B: number, H: number, W: number, I: number, O: number) => ({ B, H, W, I, OH: H, OW: W, O, ...same });
const halved = (B: number, H: number, W: number, I: number, O: number) => ({
  ...square(B, H, W, I, O),
  OH: H / 2,
  OW: W / 2,
  stride: 2,
  pad: 0,
});
const doubled = (B: number, H: number, W: number, I: number, O: number) => ({
  ...square(B, H, W, I, O),
  OH: 2 * H,
  OW: 2 * W,
  pad: 2,
  up: 2,
});
const point = (B: number, H: number, W: number, I: number, O: number) => ({ ...square(B, H, W, I, O), KH: 1, KW: 1, pad: 0 });

const forward = [
  square(1, 1, 1, 1, 1),
  square(2, 5, 7, 3, 5),
  square(1, 3, 3, 4, 36),
  square(2, 9, 7, 8, 4),
  square(3, 12, 10, 32, 32),
  square(1, 16, 24, 36, 40),
  square(2, 8, 16, 12, 8),
  point(2, 5, 3, 20, 12),
  halved(2, 6, 10, 8, 32),
  halved(1, 4, 4, 3, 2),
  doubled(2, 3, 5, 8, 32),
  doubled(1, 4, 4, 3, 2),
];
const flags = [
  { bias: 0, residual: 0, acc: 0 },
  { bias: 1, residual: 1, acc: 0 },
  { bias: 1, residual: 0, acc: 1 },
];
const taps = (c: Numbers) => c.KH * c.KW * c.I;
const inputSize = (c: Numbers) => c.B * c.H * c.W * c.I;
const outputSize = (c: Numbers) => c.B * c.OH * c.OW * c.O;
const large = [
  square(32, 48, 48, 32, 32),
  square(32, 24, 24, 32, 32),
  square(32, 12, 12, 32, 32),
  square(32, 3, 3, 64, 64),
  square(32, 48, 48, 4, 32),
  square(32, 48, 48, 32, 4),
  halved(32, 48, 48, 32, 32),
  doubled(32, 24, 24, 32, 32),
  point(32, 24, 24, 32, 32),
  square(1, 64, 64, 128, 128),
];
const flopsOf = (c: Numbers) => (2 * outputSize(c) * taps(c)) / (c.up ?? 1) ** 2;

const weightCases = [
  { ...square(1, 1, 1, 1, 1), span: 8 },
  { ...square(2, 5, 7, 3, 5), span: 24 },
  { ...square(3, 12, 10, 32, 32), span: 64 },
  { ...square(1, 8, 8, 4, 36), span: 64 },
  { ...square(1, 9, 9, 36, 4), span: 40 },
  { ...square(2, 6, 8, 36, 8), span: 40 },
  { ...point(2, 5, 3, 20, 12), span: 16 },
  { ...halved(2, 6, 10, 8, 32), span: 16 },
];

function dwInputs(c: Numbers, rng: CheckRng): Values {
  return { x: rng.normals(inputSize(c)), dy: rng.normals(outputSize(c)) };
}

const partsOf = (c: Numbers) => Math.ceil((c.B * c.OH * c.OW) / c.span);

export default [
  check({
    kernel: conv2d,
    cases: forward.flatMap((c) => flags.map((f) => ({ ...c, ...f }))),
    bench: large.map((c) => ({ ...c, bias: 1, residual: 0, acc: 0 })),
    inputs: (c, rng): Values => ({
      x: rng.normals(inputSize(c)),
      w: rng.normals(c.O * taps(c)),
      b: rng.normals(c.O),
      r: rng.normals(outputSize(c)),
      ...(c.acc ? { y: rng.normals(outputSize(c)) } : {}),
    }),
    outputs: (c) => ({ y: outputSize(c) }),
    reference: (c, { x, w, b, r, y }) => {
      const sum = conv2dLoops(
        c,
        x as Float32Array,
        w as Float32Array,
        c.bias ? (b as Float32Array) : undefined,
        y as Float32Array | undefined,
      );
      return { y: c.residual ? sum.map((v, n) => v + (r as Float32Array)[n]) : sum };
    },
    tolerance: { f32: 5e-6 },
    dtypes: [
      { x: "f16", w: "f16" },
      { w: "f16", b: "f16", r: "f16" },
    ],
    flops: flopsOf,
    bytes: (c) => 4 * (inputSize(c) + outputSize(c) + c.O * taps(c)),
  }),
  check({
    kernel: conv2dFlip,
    cases: [
      { O: 1, KH: 1, KW: 1, I: 1 },
      { O: 5, KH: 3, KW: 3, I: 7 },
      { O: 3, KH: 1, KW: 2, I: 4 },
    ],
    bench: [{ O: 128, KH: 3, KW: 3, I: 128 }],
    inputs: (c, rng) => ({ w: rng.normals(c.O * taps(c)) }),
    outputs: (c) => ({ v: c.O * taps(c) }),
    reference: (c, { w }) => ({ v: flipLoops(c, w as Float32Array) }),
    tolerance: { f32: 0 },
    bytes: (c) => 8 * c.O * taps(c),
  }),
  check({
    kernel: conv2dDw,
    cases: weightCases,
    bench: large.filter((c) => c.up === 1).map((c) => ({ ...c, span: 2304 })),
    inputs: dwInputs,
    outputs: (c) => ({ part: partsOf(c) * c.O * (taps(c) + 1) }),
    reference: (c, { x, dy }) => {
      const length = c.O * (taps(c) + 1);
      const part = new Float64Array(partsOf(c) * length);
      for (let s = 0; s < partsOf(c); s++) {
        const last = Math.min((s + 1) * c.span, c.B * c.OH * c.OW);
        part.set(conv2dDwLoops(c, x as Float32Array, dy as Float32Array, s * c.span, last), s * length);
      }
      return { part };
    },
    tolerance: { f32: 5e-6 },
    flops: flopsOf,
    bytes: (c) => 4 * (inputSize(c) + outputSize(c) + partsOf(c) * c.O * taps(c)),
  }),
  check({
    kernel: conv2dSum,
    cases: [0, 1].flatMap((acc) => [0, 1].map((accBias) => ({ N: 27, O: 3, parts: 5, acc, accBias }))),
    bench: [{ N: 9216, O: 32, parts: 32, acc: 0, accBias: 0 }],
    inputs: (c, rng): Values => ({
      part: rng.normals(c.parts * (c.N + c.O)),
      ...(c.acc ? { dw: rng.normals(c.N) } : {}),
      ...(c.accBias ? { db: rng.normals(c.O) } : {}),
    }),
    outputs: (c) => ({ dw: c.N, db: c.O }),
    reference: (c, { part, dw, db }) => {
      const sums = Float64Array.from({ length: c.N + c.O }, (_, n) => {
        let sum = 0;
        for (let s = 0; s < c.parts; s++) sum += (part as Float32Array)[s * (c.N + c.O) + n];
        return sum;
      });
      const add = (part: Float64Array, old: Values[string] | undefined) =>
        part.map((v, n) => v + ((old as Float32Array | undefined)?.[n] ?? 0));
      return { dw: add(sums.slice(0, c.N), dw), db: add(sums.slice(c.N), db) };
    },
    tolerance: { f32: 2e-6 },
    bytes: (c) => 4 * c.parts * (c.N + c.O),
  }),
  check({
    kernel: channels,
    cases: [
      { rows: 7, I: 3, O: 4, acc: 0 },
      { rows: 7, I: 4, O: 3, acc: 0 },
      { rows: 9, I: 5, O: 5, acc: 1 },
      { rows: 9, I: 3, O: 4, acc: 1 },
    ],
    bench: [{ rows: 73728, I: 3, O: 4, acc: 0 }],
    inputs: (c, rng): Values => ({ x: rng.normals(c.rows * c.I), ...(c.acc ? { y: rng.normals(c.rows * c.O) } : {}) }),
    outputs: (c) => ({ y: c.rows * c.O }),
    reference: (c, { x, y }) => ({
      y: Float64Array.from({ length: c.rows * c.O }, (_, n) => {
        const value = n % c.O < c.I ? (x as Float32Array)[Math.floor(n / c.O) * c.I + (n % c.O)] : 0;
        return value + ((y as Float32Array | undefined)?.[n] ?? 0);
      }),
    }),
    tolerance: { f32: 2e-7 },
    bytes: (c) => 4 * c.rows * (c.I + c.O),
  }),
];
