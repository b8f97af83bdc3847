// Which annotated pairs are kept: those of highest mean log-probability, overall or round-robin over classes (the paper's Algorithm 1).
import type { AnnotatedRecord } from "./records.ts";

export interface FilterOptions {
  /** Share of all pairs to keep, after the threshold. */
  readonly keep: number;
  /** Least mean log-probability. */
  readonly threshold?: number;
  /** Class of a record, for the round-robin; without it the best are kept regardless of class. */
  readonly classOf?: (record: AnnotatedRecord) => string;
}

/** The kept records, best first. */
export function filterRecords(records: readonly AnnotatedRecord[], options: FilterOptions): AnnotatedRecord[] {
  const wanted = Math.round(records.length * options.keep);
  const able = records.filter((r) => r.mean_logprob >= (options.threshold ?? Number.NEGATIVE_INFINITY));
  const sorted = [...able].sort((a, b) => b.mean_logprob - a.mean_logprob || (a.id < b.id ? -1 : 1));
  return options.classOf ? roundRobin(sorted, options.classOf, wanted) : sorted.slice(0, wanted);
}

/** Algorithm 1: classes in turn, each giving its best unused record, until K are kept. */
function roundRobin(sorted: readonly AnnotatedRecord[], classOf: (r: AnnotatedRecord) => string, wanted: number): AnnotatedRecord[] {
  const classes = new Map<string, AnnotatedRecord[]>();
  for (const r of sorted) {
    const name = classOf(r);
    classes.set(name, [...(classes.get(name) ?? []), r]);
  }
  const queues = [...classes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, list]) => list);
  const kept: AnnotatedRecord[] = [];
  for (let round = 0; kept.length < wanted && queues.some((q) => round < q.length); round++) {
    for (const q of queues) if (round < q.length && kept.length < wanted) kept.push(q[round]);
  }
  return kept;
}
