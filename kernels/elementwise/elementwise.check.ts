import { check, type Numbers, type Values } from "../kernel.ts";
import { add, cast, permute } from "./elementwise.ts";

/** A permute case: sizes of x and the order in which y takes its axes. */
function ordered(sizes: number[], order: number[], acc: number): Numbers {
  const strides = sizes.map((_, i) => sizes.slice(i + 1).reduce((a, b) => a * b, 1));
  const [s0, s1, s2, s3] = order.map((i) => sizes[i]);
  const [t0, t1, t2, t3] = order.map((i) => strides[i]);
  return { n: s0 * s1 * s2 * s3, s0, s1, s2, s3, t0, t1, t2, t3, acc };
}

function permuteLoops({ n, s0, s1, s2, s3, t0, t1, t2, t3, acc }: Numbers, inputs: Values) {
  const x = inputs.x as Float32Array;
  const y = acc ? Float64Array.from(inputs.y as Float32Array) : new Float64Array(n);
  let i = 0;
  for (let a = 0; a < s0; a++)
    for (let b = 0; b < s1; b++) for (let c = 0; c < s2; c++) for (let d = 0; d < s3; d++) y[i++] += x[a * t0 + b * t1 + c * t2 + d * t3];
  return { y };
}

export default [
  check({
    kernel: add,
    cases: [{ n: 1 }, { n: 77 }, { n: 1000 }, { n: 65536 }],
    bench: [{ n: 1024 * 64 }, { n: 1024 * 160 }],
    inputs: ({ n }, rng) => ({ a: rng.normals(n), b: rng.normals(n) }),
    outputs: ({ n }) => ({ y: n }),
    reference: ({ n }, { a, b }) => ({ y: Float64Array.from({ length: n }, (_, i) => (a as Float32Array)[i] + (b as Float32Array)[i]) }),
    tolerance: { f32: 2e-7, f16: 1e-3 },
    dtypes: [{ a: "f16" }, { a: "f16", b: "f16", y: "f16" }],
    bytes: ({ n }) => 12 * n,
  }),
  check({
    kernel: cast,
    cases: [
      { n: 1, acc: 0 },
      { n: 77, acc: 1 },
      { n: 1000, acc: 0 },
      { n: 500, acc: 1 },
    ],
    bench: [{ n: 1 << 20, acc: 0 }],
    inputs: ({ n, acc }, rng) => ({ x: rng.normals(n), ...(acc ? { y: rng.normals(n) } : {}) }),
    outputs: ({ n }) => ({ y: n }),
    reference: ({ n, acc }, { x, y }) => ({
      y: Float64Array.from({ length: n }, (_, i) => (x as Float32Array)[i] + (acc ? (y as Float32Array)[i] : 0)),
    }),
    tolerance: { f32: 2e-7, f16: 1e-3 },
    dtypes: [{ x: "f16" }, { y: "f16" }],
    bytes: ({ n }) => 8 * n,
  }),
  check({
    kernel: permute,
    cases: [
      ordered([1, 1, 1, 1], [0, 1, 2, 3], 0),
      ordered([2, 3, 5, 7], [3, 1, 0, 2], 1),
      ordered([2, 3, 5, 8], [0, 2, 1, 3], 0),
      ordered([2, 4, 6, 12], [2, 0, 1, 3], 1),
      ordered([1, 2, 9, 16], [0, 1, 3, 2], 0),
    ],
    bench: [ordered([1, 1024, 4, 40], [0, 2, 1, 3], 0), ordered([1, 1, 1024, 160], [0, 1, 3, 2], 0)],
    inputs: ({ n, acc }, rng) => ({ x: rng.normals(n), ...(acc ? { y: rng.normals(n) } : {}) }),
    outputs: ({ n }) => ({ y: n }),
    reference: permuteLoops,
    tolerance: { f32: 2e-7, f16: 1e-3 },
    dtypes: [{ x: "f16" }, { x: "f16", y: "f16" }],
    bytes: ({ n }) => 8 * n,
  }),
];
