import { check } from "../kernel.ts";
import { fill } from "./fill.ts";

export default check({
  kernel: fill,
  cases: [{ n: 1 }, { n: 100 }, { n: 4_300_000 }],
  bench: [{ n: 1 << 22 }],
  inputs: () => ({ value: 1.25 }),
  outputs: ({ n }) => ({ y: n }),
  reference: ({ n }) => ({ y: new Float64Array(n).fill(1.25) }),
  tolerance: { f32: 0 },
  bytes: ({ n }) => 4 * n,
});
