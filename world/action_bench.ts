// Said actions against true ones: what dynamics models wrote for pairs, as files of annotated records, measured by ROUGE-1, ROUGE-L, BLEU-1 ... 4 and
// exact match. Per sample BLEU is of the sentence alone; over a system it is the corpus's, which is what papers report.
import { WorldlineError } from "../engine/errors.ts";
import type { Sample } from "./bench.ts";
import { bleu, bleuCounts, bleuTokens, exactMatch, rougeL, rougeN, sentenceBleu } from "./metrics/index.ts";
import type { TripletRecord } from "./records.ts";

/** A system as the actions it said, by record id. */
export interface SaidActions {
  readonly name: string;
  readonly said: ReadonlyMap<string, string>;
}

/** The metrics of one said action. */
export function actionMetrics(said: string, truth: string): Record<string, number> {
  const orders = Object.fromEntries(sentenceBleu(said, truth).map((value, k) => [`bleu${k + 1}`, value]));
  return { rouge1: rougeN(said, truth, 1).f, rougeL: rougeL(said, truth).f, ...orders, exact: exactMatch(said, truth) };
}

/** Samples of every system on every record it said something for, in the records' order. `more` adds metrics, for all of one system at once. */
export async function measureActions(
  records: readonly TripletRecord[],
  systems: readonly SaidActions[],
  more: (pairs: readonly { said: string; truth: string }[]) => Promise<Record<string, number>[]> = async (pairs) => pairs.map(() => ({})),
): Promise<(Sample & { readonly said: string })[]> {
  const out: (Sample & { readonly said: string })[] = [];
  for (const { name, said } of systems) {
    const mine = records.flatMap((record) => {
      const text = said.get(record.id);
      return text === undefined ? [] : [{ record, said: text, truth: record.action }];
    });
    if (mine.length === 0)
      throw new WorldlineError(`eval: ${name} says nothing about any of the ${records.length} records; do the ids of the two files agree?`);
    const extra = await more(mine);
    for (const [i, { record, said: text, truth }] of mine.entries())
      out.push({
        id: record.id,
        subset: record.family ?? "all",
        system: name,
        action: truth,
        said: text,
        metrics: { ...actionMetrics(text, truth), ...extra[i] },
        key: `${name} ${record.id}`,
      });
  }
  return out;
}

/** BLEU-1 ... 4 of a system over all its samples, as one corpus. */
export function corpusBleu(samples: readonly { readonly said: string; readonly action: string }[]): number[] {
  return bleu(samples.map(({ said, action }) => bleuCounts(bleuTokens(said), [bleuTokens(action)])));
}
