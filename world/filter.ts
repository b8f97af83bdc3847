// Which annotated pairs are kept: the likeliest overall, or in turn over classes (the paper's Algorithm 1, appendix E), after a threshold if one
// is given; and the histogram of their likelihoods before and after.
import { WorldlineError } from "../engine/errors.ts";
import type { AnnotatedRecord } from "./records.ts";

export interface FilterOptions {
  /** Share of all pairs to keep, 0 ... 1; all where neither this nor `top` is given. */
  readonly keep?: number;
  /** How many pairs to keep (the paper's K, 7,000 of each data set). */
  readonly top?: number;
  /** Least score. */
  readonly threshold?: number;
  /** Score: the mean log-probability of the action's tokens (default), or their sum. */
  readonly by?: "mean" | "sum";
  /** Class of a record, for Algorithm 1; without it the best are kept regardless of class. */
  readonly classOf?: (record: AnnotatedRecord) => string;
}

const scoreOf = (by: FilterOptions["by"]) => (r: AnnotatedRecord) => (by === "sum" ? r.logprob : r.mean_logprob);

/** The kept records: best first, or in Algorithm 1's order of choice. Ties fall to the lower id, so that a rerun keeps the same. */
export function filterRecords(records: readonly AnnotatedRecord[], options: FilterOptions): AnnotatedRecord[] {
  const { keep, top, threshold = Number.NEGATIVE_INFINITY, by, classOf } = options;
  if (keep !== undefined && top !== undefined)
    throw new WorldlineError("filter: both a share and a number of pairs to keep were given; give one");
  const wanted = top ?? Math.round(records.length * (keep ?? 1));
  const score = scoreOf(by);
  const bad = records.find((r) => !Number.isFinite(score(r)));
  if (bad) throw new WorldlineError(`filter: ${bad.id} has no finite log-probability; annotate it again or leave it out`);
  const sorted = records
    .filter((r) => score(r) >= threshold)
    .sort((a, b) => score(b) - score(a) || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  return classOf ? inTurn(sorted, classOf, wanted) : sorted.slice(0, wanted);
}

/** Algorithm 1: classes in turn (by name), each giving its best unused record, until K are kept. */
function inTurn(sorted: readonly AnnotatedRecord[], classOf: (r: AnnotatedRecord) => string, wanted: number): AnnotatedRecord[] {
  const queues = [...grouped(sorted, classOf)].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, list]) => list);
  const kept: AnnotatedRecord[] = [];
  for (let round = 0; kept.length < wanted; round++) {
    const before = kept.length;
    for (const queue of queues) if (round < queue.length && kept.length < wanted) kept.push(queue[round]);
    if (kept.length === before) break;
  }
  return kept;
}

function grouped<T>(list: readonly T[], nameOf: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of list) {
    const name = nameOf(item);
    const group = groups.get(name);
    if (group) group.push(item);
    else groups.set(name, [item]);
  }
  return groups;
}

/** Counts of scores in equal bins from `low` to `high`, before and after. Every score lies in a bin: the outer ones are closed. */
export interface Histogram {
  readonly low: number;
  readonly high: number;
  readonly before: readonly number[];
  readonly after: readonly number[];
}

/** The histogram of two sets of scores over their common range. */
export function histogram(before: readonly number[], after: readonly number[], bins = 16): Histogram {
  const all = [...before, ...after];
  const low = all.reduce((a, v) => Math.min(a, v), all.length ? all[0] : 0);
  const high = all.reduce((a, v) => Math.max(a, v), low);
  const count = (values: readonly number[]) => {
    const counts = new Array<number>(bins).fill(0);
    for (const v of values) counts[Math.min(bins - 1, Math.floor(((v - low) / (high - low || 1)) * bins))]++;
    return counts;
  };
  return { low, high, before: count(before), after: count(after) };
}

/** The histogram of a filtering's scores. */
export function scoreHistogram(records: readonly AnnotatedRecord[], kept: readonly AnnotatedRecord[], by?: FilterOptions["by"]): Histogram {
  return histogram(records.map(scoreOf(by)), kept.map(scoreOf(by)));
}

/** The histogram as lines of text: a bin's lower end, its counts, and a bar of # for what is kept and . for the rest. */
export function histogramLines({ low, high, before, after }: Histogram, width = 48): string[] {
  const most = Math.max(1, ...before);
  const step = (high - low) / before.length;
  return before.map((count, i) => {
    const long = Math.ceil((width * count) / most);
    const dark = count ? Math.round((long * after[i]) / count) : 0;
    const from = (low + i * step).toFixed(2).padStart(8);
    return `${from} ${String(count).padStart(7)} ${String(after[i]).padStart(7)} ${"#".repeat(dark)}${".".repeat(long - dark)}`;
  });
}
