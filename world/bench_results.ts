// Samples of an evaluation as tables: per part and overall a mean with its standard error for each system, and paired tests between systems over the
// records that both have. Higher is better except where `lowerIsBetter`.
import type { Sample } from "./bench.ts";
import { type Mean, meanOf, wilcoxon } from "./statistics.ts";

/** Metrics for which less is better. */
export const lowerIsBetter: ReadonlySet<string> = new Set(["l1"]);

/** One pair of systems on one metric, over the records both have: mean of first - second with its standard error, and Wilcoxon's two-sided p. */
export interface Comparison {
  readonly metric: string;
  readonly first: string;
  readonly second: string;
  readonly difference: Mean;
  readonly p: number;
}

export interface Results {
  /** How many records there are. */
  readonly records: number;
  readonly systems: readonly string[];
  readonly subsets: readonly string[];
  readonly metrics: readonly string[];
  /** values[metric][system][subset or "all"] */
  readonly values: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, Mean>>>>>>;
  readonly comparisons: readonly Comparison[];
  /** Predictions that a system lacks, and verdicts that the judge did not give, by system. */
  readonly absent: Readonly<Record<string, number>>;
  readonly unjudged: Readonly<Record<string, number>>;
}

/** A sample's values, the judge's among them. */
export function valuesOf(sample: Sample): Record<string, number> {
  const { verdict } = sample;
  if (!verdict) return { ...sample.metrics };
  return { ...sample.metrics, judge: verdict.score, judge_success: verdict.success, judge_minimal: verdict.minimal };
}

/** Tables of samples; `records` is how many each system should have. Overall is the mean over records, not over parts. */
export function summarise(samples: readonly Sample[], systems: readonly string[], records: number): Results {
  const all = samples.map((sample) => ({ sample, values: valuesOf(sample) }));
  const metrics = [...new Set(all.flatMap(({ values }) => Object.keys(values)))];
  // Records without a part are in the last column only.
  const subsets = [...new Set(samples.map((s) => s.subset))].filter((subset) => subset !== "all");
  const of = (metric: string, system: string, subset?: string) =>
    all.filter(({ sample, values }) => sample.system === system && (!subset || sample.subset === subset) && metric in values);
  const table = (metric: string, system: string) => ({
    ...Object.fromEntries(subsets.map((subset) => [subset, meanOf(of(metric, system, subset).map(({ values }) => values[metric]))])),
    all: meanOf(of(metric, system).map(({ values }) => values[metric])),
  });
  const values = Object.fromEntries(metrics.map((m) => [m, Object.fromEntries(systems.map((system) => [system, table(m, system)]))]));
  const comparisons = metrics.flatMap((metric) =>
    systems.flatMap((first, i) =>
      systems.slice(i + 1).map((second): Comparison => {
        const others = new Map(of(metric, second).map(({ sample, values }) => [sample.id, values[metric]]));
        const pairs = of(metric, first).flatMap(({ sample, values }) => {
          const other = others.get(sample.id);
          return other === undefined ? [] : [[values[metric], other] as const];
        });
        const test = wilcoxon(
          pairs.map(([a]) => a),
          pairs.map(([, b]) => b),
        );
        return { metric, first, second, difference: meanOf(pairs.map(([a, b]) => a - b)), p: test.p };
      }),
    ),
  );
  const count = (system: string, wanted: (s: Sample) => boolean) => samples.filter((s) => s.system === system && wanted(s)).length;
  return {
    records,
    systems,
    subsets,
    metrics,
    values,
    comparisons,
    absent: Object.fromEntries(systems.map((system) => [system, records - count(system, () => true)])),
    unjudged: Object.fromEntries(systems.map((system) => [system, count(system, (s) => s.judge_failed !== undefined)])),
  };
}

const shown = (metric: string, value: number) =>
  Number.isFinite(value) ? value.toFixed(metric === "psnr" || metric.startsWith("judge") ? 2 : 3) : "-";

/** A mean with its standard error as people read it. */
export function meanText(metric: string, { mean, se, n }: Mean): string {
  return n ? `${shown(metric, mean)} ± ${shown(metric, se)}` : "-";
}

/** One metric's rows of cells: systems down, parts across, the paper's values below ours. */
export function rowsOfMetric(
  results: Results,
  metric: string,
  paper: readonly { readonly name: string; readonly at: (part: string) => number | undefined }[],
): string[][] {
  const parts = [...results.subsets, "all"];
  const measured = results.values[metric];
  const ours = results.systems.map((system) => [system, ...parts.map((part) => meanText(metric, measured[system][part]))]);
  const theirs = paper.map(({ name, at }) => [name, ...parts.map((part) => shown(metric, at(part) ?? Number.NaN))]);
  return [...ours, ...theirs.filter((cells) => cells.slice(1).some((cell) => cell !== "-"))];
}

/** Rows as aligned text. */
export function aligned(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, c) => Math.max(title.length, ...rows.map((row) => (row[c] ?? "").length)));
  return [head, ...rows].map((row) => row.map((cell, c) => (c ? cell.padStart(widths[c]) : cell.padEnd(widths[c]))).join("  "));
}
