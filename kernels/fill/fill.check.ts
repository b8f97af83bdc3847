import { check } from "../kernel.ts";
import { fill, fillColumns } from "./fill.ts";

const whole = check({
  kernel: fill,
  cases: [{ n: 1 }, { n: 100 }, { n: 4_300_000 }],
  bench: [{ n: 1 << 22 }],
  inputs: () => ({ value: 1.25 }),
  outputs: ({ n }) => ({ y: n }),
  reference: ({ n }) => ({ y: new Float64Array(n).fill(1.25) }),
  tolerance: { f32: 0 },
  bytes: ({ n }) => 4 * n,
});

const columns = check({
  kernel: fillColumns,
  cases: [
    { rows: 1, columns: 1, stride: 1, first: 0 },
    { rows: 7, columns: 5, stride: 11, first: 4 },
    { rows: 300, columns: 64, stride: 100, first: 36 },
  ],
  inputs: ({ rows, stride }, rng) => ({ y: rng.normals(rows * stride), value: 0.5 }),
  outputs: ({ rows, stride }) => ({ y: rows * stride }),
  reference: ({ rows, columns, stride, first }, { y }) => {
    const out = Float64Array.from(y as Float32Array);
    for (let r = 0; r < rows; r++) out.fill(0.5, r * stride + first, r * stride + first + columns);
    return { y: out };
  },
  tolerance: { f32: 0 },
});

export default [whole, columns];
