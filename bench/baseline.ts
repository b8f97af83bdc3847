// A run against a saved report: rows that seem to differ are measured again, the report's commit and this checkout in turns, so that the verdict
// is the change's and not that of another hour on the machine.
import { WorldlineError } from "../engine/errors.ts";
import { type Comparison, compare, keyOf } from "./compare.ts";
import { root } from "./machine.ts";
import type { Report } from "./report.ts";
import { type Side, sideOf, takeTurns } from "./rerun.ts";

export interface Judged {
  readonly comparison: Comparison;
  /** Why rows that seem to differ were not measured again. */
  readonly untested?: string;
}

/** How reruns of what a filter names come about; another one is for tests. */
export type Reruns = (commit: string, filter: string) => [before: readonly Report[], after: readonly Report[]];

/** Refuses a baseline whose times mean something else than this run's: another adapter or another clock. */
export function comparable(baseline: Report, now: Omit<Report, "rows">, name: string): void {
  for (const what of ["adapter", "timer"] as const)
    if (baseline[what] !== now[what])
      throw new WorldlineError(
        `--baseline ${name}: its ${what} is ${baseline[what]}, this run's is ${now[what]}; save a new one here with \`worldline bench --json FILE\``,
      );
}

/** Compares a run with a baseline. Rows of the baseline that this run's filter left out do not count as missing. */
export function judge(baseline: Report, now: Report, rerun: Reruns | undefined, left: (row: Report["rows"][number]) => boolean): Judged {
  const before = { ...baseline, rows: baseline.rows.filter((r) => !left(r)) };
  const first = compare([before], [now]);
  const suspects = first.differences.filter((d) => d.verdict !== "same").map((d) => d.name.split(" ")[0]);
  if (suspects.length === 0 || !rerun) return { comparison: first };
  if (!baseline.commit)
    return { comparison: first, untested: "the baseline was not taken from a clean checkout, so it cannot be run again" };
  const again = filtersFor(suspects).map((filter) => rerun(baseline.commit!, filter));
  // Only what was measured on both sides of the reruns is judged by them.
  const [a, b] = [again.flatMap(([x]) => x), again.flatMap(([, y]) => y)];
  const keys = new Set(a.flatMap((r) => r.rows.map(keyOf)).filter((k) => b.some((r) => r.rows.some((row) => keyOf(row) === k))));
  const known = (r: Report): Report => ({ ...r, rows: r.rows.filter((row) => keys.has(keyOf(row)) && !left(row)) });
  const rest = (r: Report): Report => ({ ...r, rows: r.rows.filter((row) => !keys.has(keyOf(row))) });
  return { comparison: compare([rest(before), ...a.map(known)], [rest(now), ...b.map(known)]) };
}

/**
 * Filters of `worldline bench` that name every `kernel:variant` given, no kernel twice: the beginning of a kernel's name is enough for it, and the
 * variant is left out where several are meant.
 */
export function filtersFor(suspects: readonly string[]): string[] {
  const kernels = [...new Set(suspects.map((s) => s.split(":")[0]))];
  return kernels
    .filter((k) => !kernels.some((other) => other !== k && k.startsWith(other)))
    .map((kernel) => {
      const variants = new Set(suspects.filter((s) => s.startsWith(kernel)).map((s) => s.split(":")[1]));
      return variants.size === 1 ? `${kernel}:${[...variants][0]}` : kernel;
    });
}

/** Reruns of a commit and this checkout in turns. */
export const reruns =
  (runs: number, args: readonly string[], told: (text: string) => void): Reruns =>
  (commit, filter) => {
    const here: Side = { folder: root };
    return takeTurns(sideOf(commit), here, runs, [filter, ...args], (text) => told(`${filter} again, ${text}`));
  };
