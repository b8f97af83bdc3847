// ROUGE-N and ROUGE-L (Lin 2004) as Google's rouge_score computes them: lower case, runs of other than a-z and 0-9 part words, words of more than
// three letters are stemmed if asked; F is the harmonic mean of precision and recall. One target for each prediction.
import { stem } from "./stemmer.ts";

export interface Rouge {
  readonly precision: number;
  readonly recall: number;
  readonly f: number;
}

/** Words as rouge_score cuts them. */
export function rougeTokens(text: string, stemmed = true): string[] {
  const words = text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, " ")
    .split(" ")
    .filter(Boolean);
  return stemmed ? words.map((w) => (w.length > 3 ? stem(w) : w)) : words;
}

function scores(common: number, prediction: number, target: number): Rouge {
  const precision = common / Math.max(prediction, 1);
  const recall = common / Math.max(target, 1);
  return { precision, recall, f: precision + recall > 0 ? (2 * precision * recall) / (precision + recall) : 0 };
}

/** Counts of the runs of n words. */
export function ngrams(words: readonly string[], n: number): Map<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= words.length; i++) {
    const gram = words.slice(i, i + n).join("\u0000");
    counts.set(gram, (counts.get(gram) ?? 0) + 1);
  }
  return counts;
}

/** ROUGE-N: runs of n words in common. */
export function rougeN(prediction: string, target: string, n: number, stemmed = true): Rouge {
  const [p, t] = [prediction, target].map((text) => ngrams(rougeTokens(text, stemmed), n));
  const total = (counts: Map<string, number>) => [...counts.values()].reduce((a, c) => a + c, 0);
  let common = 0;
  for (const [gram, count] of t) common += Math.min(count, p.get(gram) ?? 0);
  return scores(common, total(p), total(t));
}

/** ROUGE-L: the longest common subsequence of words. */
export function rougeL(prediction: string, target: string, stemmed = true): Rouge {
  const [p, t] = [prediction, target].map((text) => rougeTokens(text, stemmed));
  let row = new Array<number>(p.length + 1).fill(0);
  for (const word of t) {
    const next = [0];
    for (let j = 0; j < p.length; j++) next.push(word === p[j] ? row[j] + 1 : Math.max(row[j + 1], next[j]));
    row = next;
  }
  return scores(row[p.length], p.length, t.length);
}
