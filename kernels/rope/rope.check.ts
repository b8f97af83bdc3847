import { check, type Numbers, type Values } from "../kernel.ts";
import { rope } from "./rope.ts";

const positionsIn = 40;

export function ropeLoops({ rows, H, D, sign, acc }: Numbers, inputs: Values) {
  const [x, cos, sin] = [inputs.x, inputs.cos, inputs.sin] as Float32Array[];
  const positions = inputs.positions as Uint32Array;
  const y = acc ? Float64Array.from(inputs.y as Float32Array) : new Float64Array(rows * H * D);
  for (let i = 0; i < rows * H; i++) {
    for (let j = 0; j < D / 2; j++) {
      const turn = (positions[Math.floor(i / H)] * D) / 2 + j;
      const [lo, hi] = [i * D + j, i * D + j + D / 2];
      y[lo] += x[lo] * cos[turn] - sign * x[hi] * sin[turn];
      y[hi] += x[hi] * cos[turn] + sign * x[lo] * sin[turn];
    }
  }
  return { y };
}

export default check({
  kernel: rope,
  cases: [
    { rows: 1, H: 1, D: 2, sign: 1, acc: 0 },
    { rows: 5, H: 3, D: 6, sign: -1, acc: 1 },
    { rows: 13, H: 4, D: 16, sign: 1, acc: 0 },
    { rows: 33, H: 2, D: 40, sign: -1, acc: 0 },
    { rows: 20, H: 2, D: 128, sign: -1, acc: 1 },
  ],
  bench: [
    { rows: 1024, H: 4, D: 16, sign: 1, acc: 0 },
    { rows: 1024, H: 4, D: 40, sign: 1, acc: 0 },
  ],
  inputs: ({ rows, H, D, acc }, rng) => ({
    x: rng.normals(rows * H * D),
    cos: rng.normals((positionsIn * D) / 2),
    sin: rng.normals((positionsIn * D) / 2),
    positions: Uint32Array.from({ length: rows }, () => rng.int(positionsIn)),
    ...(acc ? { y: rng.normals(rows * H * D) } : {}),
  }),
  outputs: ({ rows, H, D }) => ({ y: rows * H * D }),
  reference: ropeLoops,
  tolerance: { f32: 2e-6, f16: 2e-3 },
  dtypes: [{ x: "f16" }, { x: "f16", y: "f16" }],
  bytes: ({ rows, H, D }) => 8 * rows * H * D,
});
