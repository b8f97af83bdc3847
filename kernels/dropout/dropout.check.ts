import { check, type Numbers, type Values } from "../kernel.ts";
import { dropout } from "./dropout.ts";

/** pcg4d once more, in integers of 64 bits, so that the check shares no code with what it judges. */
function words(quad: number, stream: number, step: number, seed: number): bigint[] {
  const mask = 0xffffffffn;
  const v = [quad, stream, step, seed].map((w) => (BigInt(w >>> 0) * 1664525n + 1013904223n) & mask);
  const stir = () => {
    for (const [to, a, b] of [
      [0, 1, 3],
      [1, 2, 0],
      [2, 0, 1],
      [3, 1, 2],
    ])
      v[to] = (v[to] + v[a] * v[b]) & mask;
  };
  stir();
  for (let i = 0; i < 4; i++) v[i] ^= v[i] >> 16n;
  stir();
  return v;
}

/** Factors of the n elements from `first` on: scale where kept, else 0. */
export function dropoutFactors({ n, scale, below, seed, stream, step, first }: Numbers): Float64Array {
  return Float64Array.from({ length: n }, (_, i) => {
    const at = first + i;
    return words(Math.floor(at / 4), stream, step, seed)[at % 4] >= BigInt(below) ? scale : 0;
  });
}

const numbers = { scale: 1.25, below: 0x33333333, seed: 0xfedcba98, stream: 77, step: 3 };

export default check({
  kernel: dropout,
  cases: [1, 7, 256, 1001, 4096].flatMap((n, i) => [0, 1].map((acc) => ({ n, first: ((i * 3) % 4) * n + ((i + acc) % 4), acc }))),
  bench: [{ n: 1 << 22, first: 0, acc: 0 }],
  inputs: ({ n, acc }, rng) => ({ x: rng.normals(n), ...numbers, ...(acc ? { y: rng.normals(n) } : {}) }),
  outputs: ({ n }) => ({ y: n }),
  reference: (c, v: Values) => {
    const [x, old] = [v.x, v.y] as Float32Array[];
    return { y: dropoutFactors({ ...numbers, ...c }).map((f, i) => f * x[i] + (c.acc ? old[i] : 0)) };
  },
  tolerance: { f32: 2e-6 },
  bytes: ({ n }) => 8 * n,
});
