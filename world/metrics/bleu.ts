// BLEU-1 ... 4 (Papineni and others 2002) in the variant of pycocoevalcap, which the paper's follow-up uses: counts are summed over the corpus,
// lengths against the closest reference, BLEU-n is the geometric mean of the precisions of 1 ... n words times the brevity penalty, unsmoothed but
// for the tiny constants that keep it from dividing by zero. A segment alone is a corpus of one. pycocoevalcap's Penn Treebank tokenizer is Java;
// here words are lower case, contractions are cut as there (it 's, do n't), and marks that stand alone there are dropped as it drops them.
import { WorldlineError } from "../../engine/errors.ts";
import { ngrams } from "./rouge.ts";

const tiny = 1e-15;
const small = 1e-9;
export const largestOrder = 4;

/** Words for BLEU. */
export function bleuTokens(text: string): string[] {
  const parted = text.toLowerCase().replace(/([a-z])n't\b/g, "$1 n't");
  return parted.match(/n't|'?[\p{L}\p{N}]+(?:[-.][\p{L}\p{N}]+)*/gu) ?? [];
}

/** Counts of one segment, which may be added up. */
export interface BleuCounts {
  readonly length: number;
  readonly reference: number;
  /** Runs of 1 ... 4 words in the prediction, and those of them that a reference holds as often. */
  readonly guessed: readonly number[];
  readonly correct: readonly number[];
}

/** Counts of a prediction, as words, against its references. */
export function bleuCounts(prediction: readonly string[], references: readonly (readonly string[])[]): BleuCounts {
  if (references.length === 0) throw new WorldlineError("bleu: a segment has no reference; give at least one");
  const orders = Array.from({ length: largestOrder }, (_, k) => k + 1);
  const gap = (length: number) => Math.abs(length - prediction.length);
  const closest = references.map((r) => r.length).sort((a, b) => gap(a) - gap(b) || a - b)[0];
  return {
    length: prediction.length,
    reference: closest,
    guessed: orders.map((n) => Math.max(0, prediction.length - n + 1)),
    correct: orders.map((n) => {
      const held = references.map((r) => ngrams(r, n));
      let sum = 0;
      for (const [gram, count] of ngrams(prediction, n)) sum += Math.min(count, Math.max(...held.map((h) => h.get(gram) ?? 0)));
      return sum;
    }),
  };
}

/** BLEU-1 ... 4 of summed counts. */
export function bleu(counts: readonly BleuCounts[]): number[] {
  const total = (of: (c: BleuCounts) => number) => counts.reduce((sum, c) => sum + of(c), 0);
  const ratio = (total((c) => c.length) + tiny) / (total((c) => c.reference) + small);
  const penalty = ratio < 1 ? Math.exp(1 - 1 / ratio) : 1;
  let product = 1;
  return Array.from({ length: largestOrder }, (_, k) => {
    product *= (total((c) => c.correct[k]) + tiny) / (total((c) => c.guessed[k]) + small);
    return product ** (1 / (k + 1)) * penalty;
  });
}

/** BLEU-1 ... 4 of one prediction against one target, as text. */
export function sentenceBleu(prediction: string, target: string): number[] {
  return bleu([bleuCounts(bleuTokens(prediction), [bleuTokens(target)])]);
}
