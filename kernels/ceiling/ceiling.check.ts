import { check, type Numbers } from "../kernel.ts";
import { copy, multiplyAdd, multiplyAddFlops } from "./ceiling.ts";

/** The mean that every invocation must write: three chains that start one apart. */
function chains({ n, steps, a, b }: Numbers): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => {
    let sum = 0;
    for (let c = 0; c < 3; c++) {
      let v = (i % 64) + c;
      for (let s = 0; s < 16 * steps; s++) v = v * a + b;
      sum += v;
    }
    return sum / 3;
  });
}

export default [
  check({
    kernel: copy,
    cases: [{ n: 4 }, { n: 1000 }, { n: 70000 }],
    bench: [{ n: 1 << 22 }],
    inputs: ({ n }, rng) => ({ x: rng.normals(n) }),
    outputs: ({ n }) => ({ y: n }),
    reference: (_, { x }) => ({ y: Float64Array.from(x as Float32Array) }),
    tolerance: { f32: 0 },
    bytes: ({ n }) => 8 * n,
  }),
  check({
    kernel: multiplyAdd,
    cases: [
      { n: 1, steps: 1, a: 0.5, b: 1 },
      { n: 100, steps: 1, a: 0.75, b: 0.25 },
      { n: 1000, steps: 2, a: 0.5, b: -1 },
    ],
    bench: [{ n: 16384, steps: 16, a: 0.5, b: 1 }],
    inputs: () => ({}),
    outputs: ({ n }) => ({ y: n }),
    reference: (c) => ({ y: chains(c) }),
    tolerance: { f32: 1e-6, f16: 2e-3 },
    dtypes: [{ y: "f16" }],
    flops: multiplyAddFlops,
  }),
];
