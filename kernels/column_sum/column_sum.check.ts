import { check } from "../kernel.ts";
import { columnSum } from "./column_sum.ts";

const shapes = [
  { rows: 1, C: 1 },
  { rows: 9, C: 36 },
  { rows: 1000, C: 65 },
  { rows: 257, C: 160 },
];

export default check({
  kernel: columnSum,
  cases: shapes.flatMap((s) => [0, 1].map((acc) => ({ ...s, acc }))),
  bench: [
    { rows: 1024, C: 64, acc: 0 },
    { rows: 1024, C: 1024, acc: 1 },
  ],
  inputs: ({ rows, C, acc }, rng) => ({ x: rng.normals(rows * C), ...(acc ? { y: rng.normals(C) } : {}) }),
  outputs: ({ C }) => ({ y: C }),
  reference: ({ rows, C, acc }, v) => {
    const x = v.x as Float32Array;
    const y = Float64Array.from({ length: C }, (_, c) => (acc ? (v.y as Float32Array)[c] : 0));
    for (let r = 0; r < rows; r++) for (let c = 0; c < C; c++) y[c] += x[r * C + c];
    return { y };
  },
  tolerance: { f32: 2e-6 },
  bytes: ({ rows, C }) => 4 * C * (rows + 1),
});
