import { check } from "../kernel.ts";
import { recordIds } from "./record_ids.ts";

const history = (R: number, steps: number) => Uint32Array.from({ length: R * steps }, (_, i) => 7 * i);

export default check({
  kernel: recordIds,
  cases: [
    { R: 1, step: 0, steps: 1 },
    { R: 70, step: 2, steps: 4 },
  ],
  inputs: ({ R, steps }, rng) => ({
    id: Uint32Array.from({ length: R }, () => rng.int(1000)),
    logprob: rng.normals(R),
    ids: history(R, steps),
    logprobs: rng.normals(R * steps),
  }),
  outputs: ({ R, steps }) => ({ current: R, ids: R * steps, logprobs: R * steps }),
  reference: ({ R, step }, { id, logprob, ids, logprobs }) => {
    const all = (ids as Uint32Array).slice();
    all.set(id as Uint32Array, step * R);
    const scores = Float64Array.from(logprobs as Float32Array);
    scores.set(logprob as Float32Array, step * R);
    return { current: (id as Uint32Array).slice(), ids: all, logprobs: scores };
  },
  tolerance: { f32: 0 },
});
