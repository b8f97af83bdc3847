// Training examples and batches: token ids with one loss weight per token, a repeatable order, and padding on the right to one shape so that
// a single plan serves every batch. A weight belongs to its token as a target; the prompt has weight 0 and costs nothing in the head.
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";

export interface Example {
  readonly ids: Uint32Array;
  /** weights[i] multiplies the loss of predicting ids[i]; weights[0] never counts. */
  readonly weights: Float32Array;
}

/** One padded batch: rows name the positions (b*T + t) whose next token is scored. */
export interface Batch {
  readonly ids: Uint32Array;
  readonly rows: Uint32Array;
  readonly targets: Uint32Array;
  readonly weights: Float32Array;
}

/** The shape that holds every example: tokens rounded up to `multiple`, and scored tokens per example. */
export function shapeFor(examples: readonly Example[], multiple = 4): { T: number; scored: number } {
  let T = 1;
  let scored = 1;
  for (const e of examples) {
    T = Math.max(T, e.ids.length);
    let n = 0;
    for (let i = 1; i < e.weights.length; i++) if (e.weights[i] !== 0) n++;
    scored = Math.max(scored, n);
  }
  return { T: Math.ceil(T / multiple) * multiple, scored };
}

/** Pads examples to (B, T) and lists their scored positions, padded with weight 0. */
export function collate(examples: readonly Example[], shape: { T: number; scored: number }, padId: number): Batch {
  const B = examples.length;
  const ids = new Uint32Array(B * shape.T).fill(padId);
  const rows = new Uint32Array(B * shape.scored);
  const targets = new Uint32Array(B * shape.scored);
  const weights = new Float32Array(B * shape.scored);
  examples.forEach((e, b) => {
    if (e.ids.length > shape.T)
      throw new WorldlineError(`an example has ${e.ids.length} tokens but the batch holds ${shape.T}; raise the length or shorten it`);
    ids.set(e.ids, b * shape.T);
    let at = b * shape.scored;
    for (let i = 1; i < e.ids.length; i++) {
      if (e.weights[i] === 0) continue;
      rows[at] = b * shape.T + i - 1;
      targets[at] = e.ids[i];
      weights[at] = e.weights[i];
      at++;
    }
  });
  return { ids, rows, targets, weights };
}

/** Where a training run takes its batches from: any batch can be asked for by step, so a run can resume anywhere. */
export interface ExampleSource {
  readonly shape: { readonly T: number; readonly scored: number };
  /** Examples in one epoch. */
  readonly count: number;
  batch(step: number, size: number): readonly Example[];
}

/** Examples in a fresh permutation each epoch; the permutation depends on seed and epoch alone. */
export function shuffled(examples: readonly Example[], seed: number): ExampleSource {
  if (examples.length === 0) throw new WorldlineError("there are no training examples; give at least one");
  let epoch = -1;
  let order: number[] = [];
  const at = (position: number) => {
    const wanted = Math.floor(position / examples.length);
    if (wanted !== epoch) {
      epoch = wanted;
      order = new Rng(seed, `epoch ${epoch}`).shuffle(examples.map((_, i) => i));
    }
    return examples[order[position % examples.length]];
  };
  return {
    shape: shapeFor(examples),
    count: examples.length,
    batch: (step, size) => Array.from({ length: size }, (_, i) => at(step * size + i)),
  };
}

/** Batches of `first` for a number of steps, then of `second`. */
export function inTurn(first: ExampleSource, steps: number, second: ExampleSource): ExampleSource {
  const shape = { T: Math.max(first.shape.T, second.shape.T), scored: Math.max(first.shape.scored, second.shape.scored) };
  return { shape, count: second.count, batch: (step, size) => (step < steps ? first.batch(step, size) : second.batch(step - steps, size)) };
}
