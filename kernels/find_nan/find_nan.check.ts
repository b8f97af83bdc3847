import { check } from "../kernel.ts";
import { findNan } from "./find_nan.ts";

// `bad` is the index of a poisoned element, -1 for none; `first` starts at 1000.
export default check({
  kernel: findNan,
  cases: [
    { n: 7, launch: 3, bad: 6 },
    { n: 70000, launch: 5, bad: 69999 },
    { n: 500, launch: 5, bad: -1 },
  ],
  inputs: ({ n, bad }, rng) => {
    const x = rng.normals(n);
    if (bad >= 0) x[bad] = bad % 2 ? Number.NaN : Number.POSITIVE_INFINITY;
    return { x, first: new Uint32Array([1000]) };
  },
  outputs: () => ({ first: 1 }),
  reference: ({ launch, bad }) => ({ first: new Uint32Array([bad >= 0 ? launch : 1000]) }),
  tolerance: { f32: 0 },
});
