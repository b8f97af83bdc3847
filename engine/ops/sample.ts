// Choosing the next ids from logits: masks, temperature, top-k, top-p and the draw in one launch. No gradient flows through it.
import { sample as sampleKernel } from "../../kernels/sample/sample.ts";
import { ShapeError, WorldlineError } from "../errors.ts";
import { Scalar } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

export interface SampleOptions {
  /** u32 (M, ceil(V / 32)): masks over the ids; bit c % 32 of word floor(c / 32) says whether id c may be chosen. */
  readonly allowed: Tensor;
  /** u32 (R): the mask each row uses. A row whose mask is empty, or past M, gets id 0 with log probability -1e38. */
  readonly mode: Tensor;
  /** u32 (R): the random stream of each row. */
  readonly streams: Tensor;
  /** The number of the draw within its stream: count it up by 1 for each token. */
  readonly counter: Scalar | number;
  /** Divides the logits; 0 takes the largest allowed logit, the first on a tie. */
  readonly temperature: Scalar | number;
  /** Keeps the ids of the topK largest logits; 0 keeps all. */
  readonly topK: Scalar | number;
  /** Keeps the fewest likeliest ids whose probability, of those that top-k left, reaches topP, at least one; 1 keeps all. */
  readonly topP: Scalar | number;
  readonly seed: Scalar | number;
}

export interface Sampled {
  /** u32 (R). */
  readonly ids: Tensor;
  /** f32 (R): the log probability of each id among the allowed ones, at temperature 1 and before top-k and top-p. */
  readonly logprobs: Tensor;
}

/**
 * Chooses one allowed id for each row of logits (R, V), V up to 2^24: the argmax of logit / temperature plus Gumbel noise, which draws from the softmax
 * (Gumbel 1954; Maddison et al., arXiv 1411.0030). The noise of an id depends on (seed, stream, counter, id) alone, so a row's draw does not
 * depend on its place or its neighbours. Top-k comes first, then top-p, as in transformers; ids tied with the last one kept stay too.
 * Infinite logits count as +-1e38.
 */
export function sample(logits: Tensor, options: SampleOptions): Sampled {
  const { allowed, mode, streams, counter, temperature, topK, topP, seed } = options;
  const [R, V] = logits.shape;
  if (logits.shape.length !== 2 || V > 2 ** 24)
    throw new ShapeError("sample", { logits }, "logits must be (rows, ids) with at most 2^24 ids");
  const [masks, words] = allowed.shape;
  const need = Math.ceil(V / 32);
  if (allowed.shape.length !== 2 || words !== need) {
    throw new ShapeError("sample", { logits, allowed }, `allowed must be (masks, ${need}), one bit for each of the ${V} ids`);
  }
  if (mode.size !== R || streams.size !== R)
    throw new ShapeError("sample", { logits, mode, streams }, `mode and streams need ${R} values, one for each row`);
  inRange("temperature", temperature, 0, Number.MAX_VALUE);
  inRange("topK", topK, 0, 2 ** 32 - 1);
  inRange("topP", topP, 0, 1);
  const { tape } = logits;
  const ids = tape.empty([R], "u32", "sampled ids");
  const logprobs = tape.empty([R], "f32", "sampled logprobs");
  const numbers = { counter, temperature, topK, topP, seed };
  tape.launch(sampleKernel, { logits, allowed, mode, streams, ids, logprobs }, { rows: R, V, masks, ...numbers });
  return { ids, logprobs };
}

function inRange(name: string, given: Scalar | number, low: number, high: number): void {
  const value = given instanceof Scalar ? given.value : given;
  if (value >= low && value <= high) return;
  throw new WorldlineError(
    `sample: ${name} is ${value} but must be ${high < 2 ? `${low} to ${high}` : `at least ${low}`}; give another ${name}`,
  );
}
