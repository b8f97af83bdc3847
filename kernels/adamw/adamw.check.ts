import { type Check, check } from "../kernel.ts";
import { adamw, adamwBf16, adamwF16, clipScale, sumSquares, sumSquaresShare } from "./adamw.ts";

const options = { lr: 2e-3, b1: 0.9, b2: 0.95, c1: 1 - 0.9 ** 3, c2: 1 - 0.95 ** 3, eps: 1e-5, decay: 0.1 };

const update = check({
  kernel: adamw,
  cases: [{ n: 4 }, { n: 1000 }, { n: 70_000 }],
  bench: [{ n: 200_000 }, { n: 1 << 22 }],
  inputs: ({ n }, rng) => ({
    ...options,
    grad: rng.normals(n),
    scale: new Float32Array([0.75]),
    w: rng.normals(n),
    m: rng.normals(n, 0.1),
    v: rng.normals(n, 0.1).map(Math.abs),
  }),
  outputs: ({ n }) => ({ w: n, m: n, v: n }),
  reference: ({ n }, inputs) => {
    const { lr, b1, b2, c1, c2, eps, decay } = options;
    const [w, m, v] = ["w", "m", "v"].map((name) => Float64Array.from(inputs[name] as Float32Array));
    for (let i = 0; i < n; i++) {
      const g = (inputs.grad as Float32Array)[i] * 0.75;
      m[i] = b1 * m[i] + (1 - b1) * g;
      v[i] = b2 * v[i] + (1 - b2) * g * g;
      w[i] = w[i] * (1 - lr * decay) - (lr * (m[i] / c1)) / (Math.sqrt(v[i]) / Math.sqrt(c2) + eps);
    }
    return { w, m, v };
  },
  tolerance: { f32: 2e-6 },
  bytes: ({ n }) => 28 * n,
});

/** A gradient that was not finite (scale 0) must leave everything as it is, even where the gradient is NaN. */
const skipped = check({
  kernel: adamw,
  cases: [{ n: 12 }],
  inputs: ({ n }, rng) => ({
    ...options,
    grad: new Float32Array(n).fill(Number.NaN),
    scale: new Float32Array(1),
    w: rng.normals(n),
    m: rng.normals(n),
    v: rng.normals(n),
  }),
  outputs: ({ n }) => ({ w: n, m: n, v: n }),
  reference: (_, inputs) => Object.fromEntries(["w", "m", "v"].map((name) => [name, Float64Array.from(inputs[name] as Float32Array)])),
  tolerance: { f32: 0 },
});

const scratch = new Float32Array(1);
const words = new Uint32Array(scratch.buffer);

/** Rounds to the nearest bfloat16, ties to even. */
function bfloat(value: number): number {
  scratch[0] = value;
  words[0] = (words[0] + 0x7fff + ((words[0] >>> 16) & 1)) & 0xffff0000;
  return scratch[0];
}

/** Rounds to the nearest f16, ties to even. */
function half(value: number): number {
  const size = Math.abs(value);
  if (size >= 65520) return value < 0 ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  const unit = 2 ** (Math.max(Math.floor(Math.log2(size || 1)), -14) - 10);
  const [whole, part] = [Math.floor(size / unit), (size / unit) % 1];
  const near = part > 0.5 || (part === 0.5 && whole % 2 === 1) ? whole + 1 : whole;
  return Math.sign(value) * near * unit;
}

type Given = Readonly<Record<"grad" | "w" | "master" | "m" | "v", Float32Array>>;

function updateOnMaster(round: (value: number) => number, given: Given) {
  const { lr, b1, b2, c1, c2, eps, decay } = options;
  const [w, master, m, v] = [given.w, given.master, given.m, given.v].map((a) => Float64Array.from(a));
  for (let i = 0; i < w.length; i++) {
    const g = given.grad[i] * 0.75;
    m[i] = b1 * m[i] + (1 - b1) * g;
    v[i] = b2 * v[i] + (1 - b2) * g * g;
    const old = round(master[i]) === w[i] ? master[i] : w[i];
    master[i] = old * (1 - lr * decay) - (lr * (m[i] / c1)) / (Math.sqrt(v[i]) / Math.sqrt(c2) + eps);
    w[i] = round(master[i]);
  }
  return { w, master, m, v };
}

/** Masters of the even elements round to their weights; those of the odd ones are others' and must not be taken up. Every fifth is as small as a subnormal f16. */
const onMaster = (kernel: Check["kernel"], round: (value: number) => number, bits: number) =>
  check({
    kernel,
    cases: [{ n: 4 }, { n: 1000 }, { n: 70_000 }],
    bench: [{ n: 1 << 22 }],
    inputs: ({ n }, rng) => {
      const master = rng.normals(n).map((v, i) => (i % 5 ? v : v * 1e-5));
      const w = master.map((v, i) => round(i % 2 ? v + 1 : v));
      const [grad, m, v] = [rng.normals(n), rng.normals(n, 0.1), rng.normals(n, 0.1).map(Math.abs)];
      const given = { grad, w, master, m, v };
      // Elements whose rounding hangs on the last bits of f32 are set to zero.
      updateOnMaster(round, given).master.forEach((value, i) => {
        scratch[0] = value;
        if (Math.abs((words[0] & (2 ** bits - 1)) - 2 ** (bits - 1)) < 64) for (const list of Object.values(given)) list[i] = 0;
      });
      return { ...options, scale: new Float32Array([0.75]), ...given };
    },
    outputs: ({ n }) => ({ w: n, master: n, m: n, v: n }),
    reference: (_, inputs) => updateOnMaster(round, inputs as unknown as Given),
    tolerance: { f32: 2e-6 },
    bytes: ({ n }) => 32 * n,
  });

const squares = check({
  kernel: sumSquares,
  cases: [
    { n: 4, at: 0 },
    { n: 50_000, at: 2 },
  ],
  inputs: ({ n, at }, rng) => ({ x: rng.normals(n), part: new Float32Array(at + Math.ceil(n / sumSquaresShare) + 1).fill(7) }),
  outputs: ({ n, at }) => ({ part: at + Math.ceil(n / sumSquaresShare) + 1 }),
  reference: ({ n, at }, inputs) => {
    const part = Float64Array.from(inputs.part as Float32Array);
    for (let g = 0; g < Math.ceil(n / sumSquaresShare); g++) {
      part[at + g] = 0;
      for (let i = g * sumSquaresShare; i < Math.min(n, (g + 1) * sumSquaresShare); i++) part[at + g] += (inputs.x as Float32Array)[i] ** 2;
    }
    return { part };
  },
  tolerance: { f32: 2e-6 },
});

const scaled = check({
  kernel: clipScale,
  cases: [
    { n: 1, clip: 0.5, hasLoss: 0 },
    { n: 300, clip: 1, hasLoss: 1 },
    { n: 5, clip: 0, hasLoss: 0 },
    { n: 2, clip: 1000, hasLoss: 1 },
    { n: 2, clip: 1000, hasLoss: 1, broken: 1 },
    { n: 2, clip: 1, hasLoss: 0, broken: 1 },
  ],
  inputs: ({ n, broken }, rng) => ({
    part: rng.normals(n).map(Math.abs),
    loss: new Float32Array([broken ? Number.NaN : 3]),
    skips: Uint32Array.of(4, 2),
  }),
  outputs: () => ({ norm: 1, scale: 1, skips: 2 }),
  reference: ({ clip, hasLoss, broken }, inputs) => {
    const norm = Math.sqrt((inputs.part as Float32Array).reduce((a, v) => a + v, 0));
    const skipped = hasLoss === 1 && broken === 1;
    return {
      norm: Float64Array.of(norm),
      scale: Float64Array.of(skipped ? 0 : clip > 0 ? Math.min(1, clip / (norm + 1e-6)) : 1),
      skips: skipped ? Uint32Array.of(5, 3) : Uint32Array.of(4, 0),
    };
  },
  tolerance: { f32: 2e-6 },
});

export default [update, skipped, onMaster(adamwBf16, bfloat, 16), onMaster(adamwF16, half, 13), squares, scaled];
