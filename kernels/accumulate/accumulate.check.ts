import { check } from "../kernel.ts";
import { accumulate } from "./accumulate.ts";

export default check({
  kernel: accumulate,
  cases: [1, 7, 256, 1000].flatMap((n) => [0, 1].map((acc) => ({ n, acc }))),
  bench: [
    { n: 1 << 22, acc: 0 },
    { n: 1 << 22, acc: 1 },
  ],
  inputs: ({ n, acc }, rng) => ({ x: rng.normals(n), scale: -0.75, ...(acc ? { y: rng.normals(n) } : {}) }),
  outputs: ({ n }) => ({ y: n }),
  reference: ({ n, acc }, v) => {
    const x = v.x as Float32Array;
    const old = v.y as Float32Array;
    return { y: Float64Array.from({ length: n }, (_, i) => x[i] * (v.scale as number) + (acc ? old[i] : 0)) };
  },
  tolerance: { f32: 2e-6 },
  bytes: ({ n, acc }) => 4 * n * (2 + acc),
});
