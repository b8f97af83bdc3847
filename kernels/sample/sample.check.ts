// Sampling against f64 loops that sort, and repeat the hash.
import { gumbelOf } from "../gumbel/gumbel.check.ts";
import { check, type Numbers, type Values } from "../kernel.ts";
import { sample } from "./sample.ts";

interface Settings {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
}

/** The ids left of `from` by top-k, then top-p, at a temperature; ties at a threshold stay. */
export function keptIds(x: ArrayLike<number>, from: readonly number[], { temperature, topK, topP }: Settings): number[] {
  let kept = [...from].sort((a, b) => x[b] - x[a]);
  const atLeast = (least: number) => kept.filter((c) => x[c] >= least);
  if (topK > 0 && topK < kept.length) kept = atLeast(x[kept[topK - 1]]);
  if (topP >= 1) return kept;
  const weights = kept.map((c) => Math.exp((x[c] - x[kept[0]]) / temperature));
  const need = topP * weights.reduce((a, v) => a + v, 0);
  let held = 0;
  const last = weights.findIndex((v) => (held += v) >= need);
  return atLeast(x[kept[last < 0 ? kept.length - 1 : last]]);
}

/** The ids whose bits are set in row `mask` of `allowed`. */
function idsOf(allowed: Uint32Array, mask: number, V: number): number[] {
  const words = Math.ceil(V / 32);
  return Array.from({ length: V }, (_, c) => c).filter((c) => (allowed[mask * words + (c >> 5)] >>> (c & 31)) & 1);
}

const argmax = (list: readonly number[], value: (c: number) => number) => list.reduce((a, c) => (value(c) > value(a) ? c : a));

function sampleLoops({ rows, V, counter, temperature, topK, topP, seed }: Numbers, { logits, allowed, mode, streams }: Values) {
  const ids = new Uint32Array(rows);
  const logprobs = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    const x = (logits as Float32Array).subarray(r * V, (r + 1) * V);
    const list = idsOf(allowed as Uint32Array, (mode as Uint32Array)[r], V);
    if (list.length === 0) {
      logprobs[r] = Math.fround(-1e38);
      continue;
    }
    const top = x[argmax(list, (c) => x[c])];
    const stream = (streams as Uint32Array)[r];
    const perturbed = (c: number) => x[c] / temperature + gumbelOf(stream, c, counter, seed);
    ids[r] =
      temperature > 0
        ? argmax(
            keptIds(x, list, { temperature, topK, topP }).sort((a, b) => a - b),
            perturbed,
          )
        : argmax(list, (c) => x[c]);
    logprobs[r] = x[ids[r]] - top - Math.log(list.reduce((a, c) => a + Math.exp(x[c] - top), 0));
  }
  return { ids, logprobs };
}

const greedy = { temperature: 0, topK: 0, topP: 1, counter: 3, seed: 1 };
const plain = { temperature: 1, topK: 0, topP: 1, counter: 5, seed: 4000000000 };

// The first mask allows every id, the second a run in the middle, others random ids; `coarse` rounds the logits, which makes many ties,
// `fine` makes them neighbouring floats; `spare` adds rows whose mask is empty or does not exist.
export default check({
  kernel: sample,
  cases: [
    { rows: 7, V: 100, masks: 3, coarse: 0, ...greedy },
    { rows: 9, V: 103, masks: 3, coarse: 1, ...greedy },
    { rows: 1, V: 1, masks: 1, coarse: 0, ...plain },
    { rows: 256, V: 100, masks: 4, coarse: 0, ...plain, temperature: 0.7 },
    { rows: 33, V: 1001, masks: 2, coarse: 0, ...plain, topK: 10 },
    { rows: 33, V: 1000, masks: 2, coarse: 0, fine: 1, ...plain, topK: 10 },
    { rows: 40, V: 512, masks: 3, coarse: 0, ...plain, topP: 0.9, counter: 77 },
    { rows: 40, V: 512, masks: 3, coarse: 1, ...plain, topK: 50, topP: 0.8, temperature: 1.3 },
    { rows: 40, V: 260, masks: 3, coarse: 0, ...plain, topK: 20, topP: 0, temperature: 0.5 },
    { rows: 40, V: 132, masks: 3, coarse: 1, ...plain, topK: 1 },
    { rows: 12, V: 64, masks: 2, coarse: 0, spare: 1, ...plain, topK: 4, topP: 0.5 },
    { rows: 12, V: 65, masks: 2, coarse: 0, spare: 1, ...greedy },
    { rows: 3, V: 65536, masks: 2, coarse: 0, ...plain, topK: 4096, topP: 0.96, temperature: 0.75 },
    { rows: 4, V: 65536, masks: 3, coarse: 0, ...plain },
  ],
  bench: [
    { rows: 64, V: 8192, masks: 1, coarse: 0, ...plain },
    { rows: 64, V: 8192, masks: 1, coarse: 0, ...plain, topK: 4096, topP: 0.96 },
    { rows: 16, V: 65536, masks: 2, coarse: 0, ...plain, topP: 0.9 },
  ],
  inputs: ({ rows, V, masks, coarse, fine = 0, spare = 0 }, rng) => {
    const words = Math.ceil(V / 32);
    const allowed = new Uint32Array(masks * words);
    const allow = (mask: number, c: number) => (allowed[mask * words + (c >> 5)] |= 1 << (c & 31));
    for (let c = 0; c < V; c++) {
      allow(0, c);
      for (let m = 1; m < masks; m++) if (m === 1 ? c >= V >> 2 && c <= V >> 1 : rng.int(3) === 0) allow(m, c);
    }
    if (spare) allowed.fill(0, words);
    const logits = rng.normals(rows * V, 3).map((v) => (coarse ? Math.round(v) : fine ? 1 + v * 1e-6 : v));
    for (let i = 5; i < V; i += 7) logits[i] = Number.NEGATIVE_INFINITY;
    return {
      logits,
      allowed,
      mode: Uint32Array.from({ length: rows }, (_, r) => r % (masks + spare)),
      streams: Uint32Array.from({ length: rows }, (_, r) => (r === 1 ? 0 : rng.int(2 ** 32))),
    };
  },
  outputs: ({ rows }) => ({ ids: rows, logprobs: rows }),
  reference: sampleLoops,
  tolerance: { f32: 2e-6 },
  bytes: ({ rows, V }) => 4 * 3 * rows * V,
});
