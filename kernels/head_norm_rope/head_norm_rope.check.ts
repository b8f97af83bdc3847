import { check, type Numbers, type Values } from "../kernel.ts";
import { headNormRope } from "./head_norm_rope.ts";

const positionsIn = 40;

export function headNormRopeLoops({ R, T, H, D, cap, base }: Numbers, inputs: Values) {
  const [x, w, b, cos, sin] = ["x", "w", "b", "cos", "sin"].map((name) => inputs[name] as Float32Array);
  const [positions, eps] = [inputs.positions as Uint32Array, inputs.eps as number];
  const y = inputs.y ? Float64Array.from(inputs.y as Float32Array) : new Float64Array(R * cap * H * D);
  for (let i = 0; i < R * T * H; i++) {
    const [row, t, h] = [Math.floor(i / (T * H)), Math.floor(i / H) % T, i % H];
    if (base + t >= cap) continue;
    const head = Array.from(x.subarray(i * D, (i + 1) * D));
    const mean = head.reduce((s, v) => s + v, 0) / D;
    const deviation = Math.sqrt(head.reduce((s, v) => s + (v - mean) ** 2, 0) / D + eps);
    const z = head.map((v, c) => ((v - mean) / deviation) * w[h * D + c] + b[h * D + c]);
    const to = ((row * cap + base + t) * H + h) * D;
    for (let j = 0; j < D / 2; j++) {
      const turn = (positions[row * T + t] * D) / 2 + j;
      y[to + j] = z[j] * cos[turn] - z[j + D / 2] * sin[turn];
      y[to + j + D / 2] = z[j + D / 2] * cos[turn] + z[j] * sin[turn];
    }
  }
  return { y };
}

export default check({
  kernel: headNormRope,
  cases: [
    { R: 1, T: 1, H: 1, D: 2, cap: 1, base: 0 },
    { R: 3, T: 2, H: 3, D: 6, cap: 5, base: 3 },
    { R: 2, T: 5, H: 3, D: 8, cap: 5, base: 0 },
    { R: 5, T: 1, H: 2, D: 32, cap: 7, base: 6 },
    // Two of four tokens are past the end.
    { R: 3, T: 4, H: 1, D: 16, cap: 6, base: 4 },
    { R: 2, T: 3, H: 2, D: 40, cap: 4, base: 2 },
    { R: 1, T: 2, H: 2, D: 36, cap: 9, base: 1 },
    { R: 3, T: 3, H: 5, D: 128, cap: 8, base: 2 },
    { R: 1, T: 3, H: 1, D: 200, cap: 3, base: 0 },
    { R: 1, T: 1, H: 2, D: 1032, cap: 2, base: 1 },
  ],
  bench: [
    // Decoding: the tabletop base, one row and eight, and eight rows of a model of the 7B's width; then prompts.
    { R: 1, T: 1, H: 2, D: 32, cap: 64, base: 40 },
    { R: 8, T: 1, H: 2, D: 32, cap: 64, base: 40 },
    { R: 8, T: 1, H: 32, D: 128, cap: 64, base: 40 },
    { R: 1, T: 127, H: 8, D: 32, cap: 127, base: 0 },
    { R: 1, T: 512, H: 32, D: 128, cap: 512, base: 0 },
  ],
  inputs: ({ R, T, H, D, cap }, rng) => {
    const x = rng.normals(R * T * H * D);
    for (let c = 0; c < D; c++) x[c] *= 1e-3;
    return {
      x,
      w: rng.normals(H * D),
      b: rng.normals(H * D),
      cos: rng.normals((positionsIn * D) / 2),
      sin: rng.normals((positionsIn * D) / 2),
      positions: Uint32Array.from({ length: R * T }, () => rng.int(positionsIn)),
      eps: 1e-5,
      ...(cap > T ? { y: rng.normals(R * cap * H * D) } : {}),
    };
  },
  outputs: ({ R, H, D, cap }) => ({ y: R * cap * H * D }),
  reference: headNormRopeLoops,
  tolerance: { f32: 2e-6, f16: 1e-3 },
  dtypes: [{ y: "f16" }],
  bytes: ({ R, T, H, D }, size) => R * T * H * D * (4 + size("y")),
});
