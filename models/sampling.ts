// What generation is asked for and what it gives: shapes, sampling, continuations; and the sentences for what cannot be done.
import { WorldlineError } from "../engine/errors.ts";
import type { CacheType } from "./kvcache.ts";
import type { Rules } from "./rules.ts";

export interface GeneratorShape {
  /** Prompts per call, and continuations of each. */
  readonly prompts: number;
  readonly branches: number;
  /** Longest prompt and most new tokens. */
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly rules: Rules;
  /** Storage of keys and values; f32 unless told. */
  readonly cache?: CacheType;
  /** Most prompt tokens in one run of the prefill; 512 unless told. Bounds the activations of long prompts. */
  readonly chunk?: number;
  /** Three-way guidance of picture codes (see SamplingOptions.guidance), at three times the work. */
  readonly guided?: boolean;
  /** Allows a repetition penalty. */
  readonly penalised?: boolean;
}

export interface SamplingOptions {
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed: number;
  /** Divides positive logits of ids already in the sequence and multiplies negative ones, outside pictures; 1 changes nothing. */
  readonly repetitionPenalty?: number;
  /** Logits inside pictures: U + image (M - U) + full (F - M), F given the prompt, M its pictures alone, U nothing. Chameleon's: 1.2 and 3. */
  readonly guidance?: { readonly image: number; readonly full: number };
}

export interface Continuation {
  /** New ids, without the stop id. */
  readonly ids: Uint32Array;
  /** Log-probability of each new id (and of the stop id, last, where it was written) under the allowed ids at temperature 1. */
  readonly logprobs: Float32Array;
  readonly stopped: boolean;
}

/** Ids and log-probabilities of consecutive steps, row by row within a step; rows of a prompt's branches are neighbours. */
export interface Steps {
  readonly first: number;
  readonly ids: Uint32Array;
  readonly logprobs: Float32Array;
}

export interface RunOptions {
  /** Numbers the random stream of each row, so that a row's draws do not depend on its neighbours; 0, 1, 2 ... unless told. */
  readonly streams?: Uint32Array;
  readonly signal?: AbortSignal;
}

/** Refuses prompts and options that a generator of this shape cannot take. */
export function checkRun(prompts: readonly Uint32Array[], options: SamplingOptions, shape: GeneratorShape, vocabSize: number): void {
  if (prompts.length < 1 || prompts.length > shape.prompts)
    throw new WorldlineError(`generate: ${prompts.length} prompts were given but the generator was made for 1 to ${shape.prompts}`);
  for (const p of prompts) {
    if (p.length < 2 || p.length > shape.promptTokens)
      throw new WorldlineError(
        `generate: a prompt has ${p.length} tokens but 2 to ${shape.promptTokens} fit; shorten it or make a longer generator`,
      );
    const outside = p.find((id) => id >= vocabSize);
    if (outside !== undefined)
      throw new WorldlineError(
        `generate: a prompt has the id ${outside} but the vocabulary has ${vocabSize}; do tokenizer and model belong together?`,
      );
    if (shape.guided && p[p.length - 1] !== shape.rules.space!.boi)
      throw new WorldlineError("generate: guidance is for drawing a picture, so a prompt must end with the begin-of-image id; append it");
  }
  if ((options.repetitionPenalty ?? 1) !== 1 && !shape.penalised)
    throw new WorldlineError("generate: a repetition penalty was given to a generator made without one; make it with penalised: true");
  if (options.repetitionPenalty !== undefined && !(options.repetitionPenalty > 0))
    throw new WorldlineError(`generate: the repetition penalty is ${options.repetitionPenalty}; a number above 0 is needed`);
  if (options.guidance && !shape.guided)
    throw new WorldlineError("generate: guidance was given to a generator made without it; make it with guided: true");
}
