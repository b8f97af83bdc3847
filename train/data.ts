// Training examples and batches: token ids with one loss weight per token, padding on the right to one of a few shapes so that few plans are
// compiled. A weight belongs to its token as a target; the prompt has weight 0 and costs nothing in the head. The order is train/order.ts.
import { WorldlineError } from "../engine/errors.ts";

export interface Example {
  readonly ids: Uint32Array;
  /** weights[i] multiplies the loss of predicting ids[i]; weights[0] never counts. */
  readonly weights: Float32Array;
}

/** Tokens of a row, and how many of them can be scored. */
export interface Shape {
  readonly T: number;
  readonly scored: number;
}

/** One padded batch: rows name the positions (b*T + t) whose next token is scored. */
export interface Batch {
  readonly shape: Shape;
  readonly ids: Uint32Array;
  readonly rows: Uint32Array;
  readonly targets: Uint32Array;
  readonly weights: Float32Array;
  /** Tokens that are no padding, scored tokens, and the sum of the weights. */
  readonly tokens: number;
  readonly counted: number;
  readonly weight: number;
}

/** The exact shape of one example. */
export function sizeOf({ ids, weights }: Example): Shape {
  let scored = 0;
  for (let i = 1; i < weights.length; i++) if (weights[i] !== 0) scored++;
  return { T: ids.length, scored };
}

/** The shape that holds every example: tokens rounded up to `multiple`, and scored tokens per example. */
export function shapeFor(examples: readonly Example[], multiple = 4): Shape {
  return shapesFor(examples.map(sizeOf), 1, multiple)[0];
}

/**
 * At most `most` shapes, ascending, that hold examples of the given sizes with the least padding; lengths are rounded up to `multiple`. Fewer
 * where they pad to within 2% of the best.
 */
export function shapesFor(sizes: readonly Shape[], most: number, multiple = 4): Shape[] {
  if (sizes.length === 0) throw new WorldlineError("there are no training examples; give at least one");
  const round = (T: number) => Math.ceil(Math.max(1, T) / multiple) * multiple;
  const at = new Map<number, { count: number; scored: number }>();
  for (const { T, scored } of sizes) {
    const known = at.get(round(T)) ?? { count: 0, scored: 1 };
    at.set(round(T), { count: known.count + 1, scored: Math.max(known.scored, scored) });
  }
  const lengths = [...at.keys()].sort((a, b) => a - b);
  const counts = lengths.map((T) => at.get(T)!.count);
  const cuts = leastPadding(lengths, counts, most);
  let scored = 1;
  let from = 0;
  return cuts.map((last) => {
    for (; from <= last; from++) scored = Math.max(scored, at.get(lengths[from])!.scored);
    return { T: lengths[last], scored };
  });
}

/** Indices of the lengths that end a group, by dynamic programming over how many tokens the groups hold after padding. */
function leastPadding(lengths: readonly number[], counts: readonly number[], most: number): number[] {
  const n = lengths.length;
  const sums = [0];
  for (const c of counts) sums.push(sums[sums.length - 1] + c);
  let best = lengths.map((T, i) => T * sums[i + 1]);
  const totals = [best[n - 1]];
  const ends: number[][] = [lengths.map(() => -1)];
  for (let k = 1; k < Math.min(most, n); k++) {
    const next = [...best];
    const cut = [...ends[k - 1]];
    for (let i = 0; i < n; i++)
      for (let j = 0; j < i; j++) {
        const cost = best[j] + lengths[i] * (sums[i + 1] - sums[j + 1]);
        if (cost < next[i]) [next[i], cut[i]] = [cost, j];
      }
    best = next;
    ends.push(cut);
    totals.push(best[n - 1]);
  }
  const enough = totals.findIndex((t) => t <= 1.02 * totals[totals.length - 1]);
  const cuts: number[] = [];
  for (let k = enough, i = n - 1; i >= 0; k--) {
    cuts.unshift(i);
    i = ends[Math.max(k, 0)][i];
  }
  return cuts;
}

/** The smallest of the (ascending) shapes that holds all examples. */
export function fittingShape(shapes: readonly Shape[], examples: readonly Example[]): Shape {
  const sizes = examples.map(sizeOf);
  const [T, scored] = [Math.max(...sizes.map((s) => s.T)), Math.max(...sizes.map((s) => s.scored))];
  return shapes.find((s) => s.T >= T && s.scored >= scored) ?? shapes[shapes.length - 1];
}

/** Pads examples to (B, T) and lists their scored positions, padded with weight 0. */
export function collate(examples: readonly Example[], shape: Shape, padId: number): Batch {
  const B = examples.length;
  const ids = new Uint32Array(B * shape.T).fill(padId);
  const rows = new Uint32Array(B * shape.scored);
  const targets = new Uint32Array(B * shape.scored);
  const weights = new Float32Array(B * shape.scored);
  let [tokens, counted, weight] = [0, 0, 0];
  examples.forEach((e, b) => {
    if (e.ids.length > shape.T)
      throw new WorldlineError(`an example has ${e.ids.length} tokens but the batch holds ${shape.T}; raise the length or shorten it`);
    ids.set(e.ids, b * shape.T);
    tokens += e.ids.length;
    let at = b * shape.scored;
    for (let i = 1; i < e.ids.length; i++) {
      if (e.weights[i] === 0) continue;
      if (at === (b + 1) * shape.scored)
        throw new WorldlineError(`an example scores more than the ${shape.scored} tokens the batch holds; raise that number`);
      rows[at] = b * shape.T + i - 1;
      targets[at] = e.ids[i];
      weights[at] = e.weights[i];
      weight += e.weights[i];
      counted++;
      at++;
    }
  });
  return { shape, ids, rows, targets, weights, tokens, counted, weight };
}
