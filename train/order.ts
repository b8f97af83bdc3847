// Which example comes when. The order depends on seed and epoch alone, any step can be asked for, so a run resumes anywhere; batches run on
// across epochs. Where there are several shapes, examples of like length share a batch (as group_by_length in transformers).
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { type Batch, collate, type Example, fittingShape, type Shape, shapesFor, sizeOf } from "./data.ts";

/** Examples that are made when they are needed: text with a phrase drawn for this epoch, codes from a cache. */
export interface ExampleSet {
  /** Which examples an epoch holds, by number; always equally many. */
  entries(epoch: number): readonly number[];
  /** Every example that some epoch may hold, where those of the first two are not all. */
  readonly all?: readonly number[];
  /** An upper bound of the size of example i in any epoch. */
  size(i: number): Shape;
  make(i: number, epoch: number): Example;
}

/** Where a training run takes its examples from: those of any step can be asked for. */
export interface ExampleSource {
  readonly shapes: readonly Shape[];
  /** Examples in one epoch. */
  readonly count: number;
  batch(step: number, size: number): readonly Example[];
}

export interface OrderOptions {
  /** Examples that are padded together; needed with several shapes. */
  readonly batch?: number;
  /** At most so many shapes. Default 1. */
  readonly shapes?: number;
  /** Lengths are rounded up to a multiple of this. Default 4. */
  readonly multiple?: number;
}

/** Examples of equal standing that lie in memory. */
export function exampleSet(examples: readonly Example[]): ExampleSet {
  const all = examples.map((_, i) => i);
  const sizes = examples.map(sizeOf);
  return { entries: () => all, size: (i) => sizes[i], make: (i) => examples[i] };
}

/** Examples in a fresh permutation each epoch; the permutation depends on seed and epoch alone. */
export function shuffled(examples: readonly Example[] | ExampleSet, seed: number, o: OrderOptions = {}): ExampleSource {
  const set = "make" in examples ? examples : exampleSet(examples);
  const count = set.entries(0).length;
  if (count === 0) throw new WorldlineError("there are no training examples; give at least one");
  const used = set.all ?? [...new Set([...set.entries(0), ...set.entries(1)])];
  const shapes = shapesFor(
    used.map((i) => set.size(i)),
    o.shapes ?? 1,
    o.multiple,
  );
  let epoch = -1;
  let order: number[] = [];
  const at = (position: number) => {
    const wanted = Math.floor(position / count);
    if (wanted !== epoch) {
      epoch = wanted;
      order = epochOrder(set, seed, epoch, shapes.length > 1 ? (o.batch ?? 1) : 1);
    }
    return set.make(order[position % count], epoch);
  };
  return { shapes, count, batch: (step, size) => Array.from({ length: size }, (_, i) => at(step * size + i)) };
}

/**
 * The order of one epoch: a permutation; with batches of more than one, stretches of 50 batches are sorted by length, cut into batches and the
 * batches shuffled. Cuts fall where batches that run on from the epoch before end.
 */
function epochOrder(set: ExampleSet, seed: number, epoch: number, batch: number): number[] {
  const rng = new Rng(seed, `epoch ${epoch}`);
  const order = rng.shuffle([...set.entries(epoch)]);
  if (batch === 1) return order;
  const lead = (batch - ((epoch * order.length) % batch)) % batch;
  const out = order.slice(0, lead);
  for (let i = lead; i < order.length; i += 50 * batch) {
    const stretch = order.slice(i, i + 50 * batch).sort((a, b) => set.size(a).T - set.size(b).T);
    const whole = Math.floor(stretch.length / batch);
    // The batch that is not full runs on into the next epoch and stays last.
    const cuts = rng.shuffle(Array.from({ length: whole }, (_, k) => k));
    for (const k of cuts) out.push(...stretch.slice(k * batch, (k + 1) * batch));
    out.push(...stretch.slice(whole * batch));
  }
  return out;
}

/** Batches of `first` for a number of steps, then of `second`. */
export function inTurn(first: ExampleSource, steps: number, second: ExampleSource): ExampleSource {
  const [a, b] = [first.shapes[first.shapes.length - 1], second.shapes[second.shapes.length - 1]];
  const shapes = [{ T: Math.max(a.T, b.T), scored: Math.max(a.scored, b.scored) }];
  return {
    shapes,
    count: second.count,
    batch: (step, size) => (step < steps ? first.batch(step, size) : second.batch(step - steps, size)),
  };
}

/** Batches of a run, one list of micro-batches per optimizer step; asked for in order. */
export interface Feed {
  readonly shapes: readonly Shape[];
  readonly count: number;
  next(step: number): Promise<readonly Batch[]> | readonly Batch[];
  close?(): void;
}

export interface FeedOptions {
  /** Examples of a micro-batch, and micro-batches of a step. */
  readonly batch: number;
  readonly accumulate: number;
  readonly padId: number;
}

/** The micro-batches of a step. */
export function batchesOf(source: ExampleSource, step: number, o: FeedOptions): Batch[] {
  const examples = source.batch(step, o.batch * o.accumulate);
  return Array.from({ length: o.accumulate }, (_, k) => {
    const part = examples.slice(k * o.batch, (k + 1) * o.batch);
    return collate(part, fittingShape(source.shapes, part), o.padId);
  });
}

/** A feed that makes its batches where it is asked. */
export function feedOf(source: ExampleSource, o: FeedOptions): Feed {
  return { shapes: source.shapes, count: source.count, next: (step) => batchesOf(source, step, o) };
}
