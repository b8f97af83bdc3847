// BERTScore (Zhang and others 2020): each token of one text is matched with the most similar one of the other by the cosine of their vectors.
// P = sum_x w(x) max_y x.y / sum_x w(x) over the prediction's tokens, R likewise over the target's, F1 = 2 P R / (P + R). Marks around a text weigh
// nothing, but may be matched, as in the authors' program. w is 1, or log((N + 1) / (n + 1)) for a token that n of N targets hold.
import { WorldlineError } from "../../engine/errors.ts";

/** A text's tokens: ids, and unit vectors row by row. */
export interface TokenVectors {
  readonly ids: readonly number[];
  readonly vectors: Float32Array;
}

/** Precision, recall and F1. */
export interface BertScore {
  readonly p: number;
  readonly r: number;
  readonly f: number;
}

/** BERTScore of a prediction and its target. `weight` gives a token's weight by its id, 0 for marks; without any word P and R are 0. */
export function bertScore(prediction: TokenVectors, target: TokenVectors, weight: (id: number) => number): BertScore {
  const size = target.vectors.length / target.ids.length;
  if (prediction.vectors.length / prediction.ids.length !== size)
    throw new WorldlineError("BERTScore: the two texts' vectors differ in size; take both from one model");
  const [best, reached] = [new Float64Array(prediction.ids.length).fill(-1), new Float64Array(target.ids.length).fill(-1)];
  for (let i = 0; i < best.length; i++) {
    for (let j = 0; j < reached.length; j++) {
      let sum = 0;
      for (let k = 0; k < size; k++) sum += prediction.vectors[i * size + k] * target.vectors[j * size + k];
      best[i] = Math.max(best[i], sum);
      reached[j] = Math.max(reached[j], sum);
    }
  }
  const mean = (ids: readonly number[], values: Float64Array) => {
    const weights = ids.map(weight);
    const sum = weights.reduce((a, b) => a + b, 0);
    return sum > 0 ? weights.reduce((total, w, i) => total + w * values[i], 0) / sum : Number.NaN;
  };
  const [p, r] = [mean(prediction.ids, best), mean(target.ids, reached)];
  if (Number.isNaN(p) || Number.isNaN(r)) return { p: 0, r: 0, f: 0 };
  return { p, r, f: p + r === 0 ? 0 : (2 * p * r) / (p + r) };
}

/** Weights by inverse document frequency among targets, given as ids. A token that none of them holds weighs log(N + 1). */
export function inverseFrequency(targets: readonly (readonly number[])[]): (id: number) => number {
  const counts = new Map<number, number>();
  for (const ids of targets) for (const id of new Set(ids)) counts.set(id, (counts.get(id) ?? 0) + 1);
  return (id) => Math.log((targets.length + 1) / ((counts.get(id) ?? 0) + 1));
}

/**
 * The row of a layer in a file of baselines in the authors' form: a head "LAYER,P,R,F" and a row for each layer, parted by commas or tabs.
 * Throws a sentence where the file has another form or lacks the layer.
 */
export function baselineOf(text: string, layer: number, where: string): BertScore {
  const rows = text
    .trim()
    .split(/\r?\n/)
    .map((line) => line.split(/[,\t]/).map((cell) => cell.trim()));
  if (rows[0].join().toUpperCase() !== "LAYER,P,R,F")
    throw new WorldlineError(`${where} does not begin with LAYER,P,R,F; a file of BERTScore baselines is needed`);
  const row = rows.slice(1).find((cells) => Number(cells[0]) === layer);
  const [p, r, f] = (row ?? []).slice(1).map(Number);
  if (![p, r, f].every((v) => v < 1))
    throw new WorldlineError(`${where} has no P, R and F below 1 for layer ${layer}; is it of another model?`);
  return { p, r, f };
}

/** (score - baseline) / (1 - baseline): 0 for two texts that have nothing to do with each other. */
export function rescaled(score: BertScore, baseline: BertScore): BertScore {
  const of = (key: keyof BertScore) => (score[key] - baseline[key]) / (1 - baseline[key]);
  return { p: of("p"), r: of("r"), f: of("f") };
}
