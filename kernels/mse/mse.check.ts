// Mean squared difference, its stages and its gradient against plain f64 loops.
import { check, type Values } from "../kernel.ts";
import { mse, mseDx, msePart, mseParts } from "./mse.ts";

const f = (v: Values[string]) => v as Float32Array;

export default [
  check({
    kernel: msePart,
    cases: [{ n: 1 }, { n: 5000 }, { n: 100_003 }],
    bench: [{ n: 1 << 22 }],
    inputs: ({ n }, rng) => ({ x: rng.normals(n), t: rng.normals(n) }),
    outputs: () => ({ part: mseParts }),
    reference: ({ n }, { x, t }) => {
      const part = new Float64Array(mseParts);
      for (let i = 0; i < n; i++) part[i % mseParts] += (f(x)[i] - f(t)[i]) ** 2;
      return { part };
    },
    tolerance: { f32: 2e-6 },
    bytes: ({ n }) => 8 * n,
  }),
  check({
    kernel: mse,
    cases: [{ n: 1 }, { n: 100_003 }],
    bench: [{ n: 1 << 22 }],
    inputs: (_, rng) => ({ part: rng.normals(mseParts).map((v) => v * v) }),
    outputs: () => ({ loss: 1 }),
    reference: ({ n }, { part }) => ({ loss: Float64Array.of(f(part).reduce((a, v) => a + v, 0) / n) }),
    tolerance: { f32: 2e-6 },
    bytes: () => 4 * mseParts,
  }),
  check({
    kernel: mseDx,
    cases: [1, -1].flatMap((sign) => [0, 1].map((acc) => ({ n: 1003, sign, acc }))),
    bench: [{ n: 1 << 22, sign: 1, acc: 0 }],
    inputs: ({ n, acc }, rng): Values => ({
      x: rng.normals(n),
      t: rng.normals(n),
      dloss: rng.normals(1),
      ...(acc ? { dx: rng.normals(n) } : {}),
    }),
    outputs: ({ n }) => ({ dx: n }),
    reference: ({ n, sign }, { x, t, dloss, dx }) => ({
      dx: Float64Array.from({ length: n }, (_, i) => (dx ? f(dx)[i] : 0) + (sign * 2 * (f(x)[i] - f(t)[i]) * f(dloss)[0]) / n),
    }),
    tolerance: { f32: 2e-6 },
    bytes: ({ n }) => 12 * n,
  }),
];
