// Nearest codes against plain f64 loops; rows are drawn near codes so that rounding cannot change the winner, and doubled codes test ties.
import { check, type Numbers } from "../kernel.ts";
import { nearestCode } from "./nearest_code.ts";

/** The first code with the smallest squared distance to each row of z (R, D), in f64. */
export function nearestLoops({ R, D, E }: Numbers, z: ArrayLike<number>, codebook: ArrayLike<number>): Uint32Array {
  return Uint32Array.from({ length: R }, (_, r) => {
    let [best, found] = [Number.POSITIVE_INFINITY, 0];
    for (let e = 0; e < E; e++) {
      let sum = 0;
      for (let d = 0; d < D; d++) sum += (z[r * D + d] - codebook[e * D + d]) ** 2;
      if (sum < best) [best, found] = [sum, e];
    }
    return found;
  });
}

export default check({
  kernel: nearestCode,
  cases: [
    { R: 1, D: 1, E: 1 },
    { R: 7, D: 3, E: 5 },
    { R: 70, D: 12, E: 48 },
    { R: 33, D: 16, E: 300 },
    { R: 5, D: 64, E: 8192 },
  ],
  bench: [
    { R: 288, D: 16, E: 512 },
    { R: 1024, D: 256, E: 8192 },
  ],
  inputs: ({ R, D, E }, rng) => {
    const codebook = rng.normals(E * D);
    for (let d = 0; d < D; d++) codebook[(E - 1) * D + d] = codebook[Math.floor(E / 3) * D + d];
    const z = rng.normals(R * D, 0.01);
    for (let r = 0; r < R; r++) {
      const e = r % 2 ? E - 1 : rng.int(E);
      for (let d = 0; d < D; d++) z[r * D + d] += codebook[e * D + d];
    }
    return { z, codebook };
  },
  outputs: ({ R }) => ({ code: R }),
  reference: (c, { z, codebook }) => ({ code: nearestLoops(c, z as Float32Array, codebook as Float32Array) }),
  tolerance: { f32: 0 },
  flops: ({ R, D, E }) => 3 * R * D * E,
  bytes: ({ R, D, E }) => 4 * (R * D + E * D + R),
});
