// Compares two sets of reports row by row. With runs that took turns, a difference counts when the exact rank test over the runs' medians says
// so (p below 0.05, four runs a side at least) and it is larger than a threshold; with fewer runs, when the samples' middle halves are apart, which
// drift of the machine can fake: such a verdict asks for reruns. Ratios are time before / time after: above 1 is faster.
import type { Row } from "./measure.ts";
import { digits, duration, type Report } from "./report.ts";
import { ascending, geometricMean, median, quantile, rankTest } from "./statistics.ts";

export type Verdict = "faster" | "slower" | "same" | "unclear";

export interface Difference {
  readonly name: string;
  readonly case: string;
  readonly before: number;
  readonly after: number;
  readonly ratio: number;
  /** p of the rank test over runs; absent with fewer than four a side. */
  readonly p?: number;
  readonly verdict: Verdict;
}

export interface Comparison {
  readonly differences: readonly Difference[];
  /** Geometric mean of the ratios, of all rows and by kernel. */
  readonly overall: number;
  readonly kernels: Readonly<Record<string, number>>;
  /** Rows that only one side has, or that are wrong. */
  readonly missing: readonly string[];
  readonly broken: readonly string[];
  /** Whether a program should stop here: something is slower, or wrong that was right. */
  readonly worse: boolean;
  /** Whether every verdict but "same" rests on runs that could be tested. */
  readonly tested: boolean;
}

/** What two rows must share to be compared. */
export const keyOf = (r: Row) => `${r.kernel}:${r.variant}${r.types ? ` ${r.types}` : ""}|${r.case}|${r.cache}`;

/** Compares reports of runs before and after a change. */
export function compare(before: readonly Report[], after: readonly Report[], threshold = 0.05): Comparison {
  const [a, b] = [byKey(before), byKey(after)];
  const differences: Difference[] = [];
  const missing: string[] = [];
  const broken: string[] = [];
  for (const key of new Set([...a.keys(), ...b.keys()])) {
    const [x, y] = [a.get(key), b.get(key)];
    if (!x || !y) missing.push(`${key.replaceAll("|", " ")} is only ${x ? "before" : "after"}`);
    else if (y.some((r) => r.median === undefined))
      broken.push(`${key.replaceAll("|", " ")}: ${y.find((r) => r.median === undefined)!.error}`);
    else if (x.every((r) => r.median !== undefined)) differences.push(difference(x, y, threshold));
  }
  const kernels: Record<string, number> = {};
  for (const kernel of new Set(differences.map((d) => d.name.split(":")[0])))
    kernels[kernel] = geometricMean(differences.filter((d) => d.name.split(":")[0] === kernel).map((d) => d.ratio));
  const worse = broken.length > 0 || differences.some((d) => d.verdict === "slower");
  const overall = differences.length ? geometricMean(differences.map((d) => d.ratio)) : 1;
  return {
    differences,
    overall,
    kernels,
    missing,
    broken,
    worse,
    tested: differences.every((d) => d.p !== undefined || d.verdict === "same"),
  };
}

function byKey(reports: readonly Report[]): Map<string, Row[]> {
  const map = new Map<string, Row[]>();
  for (const { rows } of reports) for (const r of rows) map.set(keyOf(r), [...(map.get(keyOf(r)) ?? []), r]);
  return map;
}

function difference(x: readonly Row[], y: readonly Row[], threshold: number): Difference {
  const [a, b] = [x.map((r) => r.median!), y.map((r) => r.median!)];
  const [before, after] = [median(a), median(b)];
  const ratio = before / after;
  const name = `${x[0].kernel}:${x[0].variant}${x[0].types ? ` ${x[0].types}` : ""}`;
  const known = { name, case: x[0].case, before, after, ratio };
  const large = ratio > 1 + threshold || ratio < 1 / (1 + threshold);
  const direction: Verdict = ratio > 1 ? "faster" : "slower";
  if (a.length >= 4 && b.length >= 4) {
    const p = rankTest(a, b);
    return { ...known, p, verdict: p >= 0.05 ? (large ? "unclear" : "same") : large ? direction : "same" };
  }
  const [s, t] = [x, y].map((rows) => ascending(rows.flatMap((r) => r.times ?? [r.median!])));
  const apart = quantile(s, 0.25) > quantile(t, 0.75) || quantile(s, 0.75) < quantile(t, 0.25);
  return { ...known, verdict: large ? (apart ? direction : "unclear") : "same" };
}

/** The comparison as lines for people: what changed first. */
export function comparisonLines(c: Comparison): string[] {
  const order: Verdict[] = ["slower", "faster", "unclear", "same"];
  const sorted = [...c.differences].sort((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict) || a.ratio - b.ratio);
  const lines = sorted.map(
    (d) =>
      `${d.verdict.padEnd(8)} ${d.name.padEnd(40)} ${d.case.padEnd(44)} ${duration(d.before).padStart(8)} -> ${duration(d.after).padStart(8)}  x${digits(d.ratio)}${d.p === undefined ? "" : `  p ${d.p.toFixed(3)}`}`,
  );
  const kernels = Object.entries(c.kernels).map(([name, ratio]) => `${name} x${digits(ratio)}`);
  const counts = order.map((v) => `${c.differences.filter((d) => d.verdict === v).length} ${v}`);
  return [
    ...lines,
    ...c.broken.map((b) => `WRONG    ${b}`),
    ...c.missing.map((m) => `missing  ${m}`),
    `geometric mean x${digits(c.overall)} over ${c.differences.length} rows (above 1 is faster): ${counts.join(", ")}`,
    ...(kernels.length > 1 ? [`by kernel: ${kernels.join(", ")}`] : []),
    ...(c.tested || !c.differences.length
      ? []
      : ["fewer than four runs a side: compare two checkouts, whose runs take turns, for a verdict that drift cannot fake"]),
  ];
}
