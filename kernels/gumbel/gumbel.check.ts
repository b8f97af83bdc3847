// Gumbel noise against f64 loops that repeat the hash.
import { check } from "../kernel.ts";
import { gumbel } from "./gumbel.ts";

/** First word of pcg4d (Jarzynski and Olano, JCGT 9(3), 2020). */
function pcg4dFirst(words: readonly [number, number, number, number]): number {
  let [x, y, z, w] = words.map((v) => (Math.imul(v, 1664525) + 1013904223) | 0);
  for (let round = 0; round < 2; round++) {
    x = (x + Math.imul(y, w)) | 0;
    y = (y + Math.imul(z, x)) | 0;
    z = (z + Math.imul(x, y)) | 0;
    w = (w + Math.imul(y, z)) | 0;
    if (round === 0) [x, y, z, w] = [x ^ (x >>> 16), y ^ (y >>> 16), z ^ (z >>> 16), w ^ (w >>> 16)];
  }
  return x >>> 0;
}

/** The Gumbel variate of one draw, in f64. */
export function gumbelOf(stream: number, id: number, counter: number, seed: number): number {
  const bits = pcg4dFirst([stream, id, counter, seed]);
  return -Math.log(-Math.log(((bits >>> 9) + 0.5) / 8388608));
}

export default check({
  kernel: gumbel,
  cases: [
    { n: 1, stream: 0, counter: 0, seed: 0 },
    { n: 1003, stream: 5, counter: 9, seed: 4294967295 },
    { n: 1_000_000, stream: 4000000000, counter: 3, seed: 17 },
  ],
  bench: [{ n: 1 << 22, stream: 1, counter: 1, seed: 1 }],
  inputs: () => ({}),
  outputs: ({ n }) => ({ y: n }),
  reference: ({ n, stream, counter, seed }) => ({ y: Float64Array.from({ length: n }, (_, i) => gumbelOf(stream, i, counter, seed)) }),
  tolerance: { f32: 1e-5 },
  bytes: ({ n }) => 4 * n,
});
