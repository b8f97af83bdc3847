// An experiment's outcomes as tables with 95% intervals: shares as means over seeds with Student's interval, or of one seed with Wilson's over its records;
// differences from the first system paired by seed, or by record where there is one seed, with Student's.
import { lineChart, type Series } from "./charts.ts";
import type { Outcome, SeedOutcome } from "./experiment.ts";
import type { ExperimentConfig, SystemConfig } from "./experiment_config.ts";
import { axisEnd, bar, escapeHtml, percent, rateText, section, table } from "./markup.ts";
import { type Origin, pageHtml } from "./page.ts";
import { type Rate, rateOf } from "./report.ts";
import { incompleteBeta, meanOf } from "./statistics.ts";

/** The two-sided 5% point of Student's t, by bisection. */
export function t95(df: number): number {
  let [low, high] = [0, 1000];
  for (let i = 0; i < 100; i++) {
    const t = (low + high) / 2;
    if (incompleteBeta(df / 2, 0.5, df / (df + t * t)) > 0.05) low = t;
    else high = t;
  }
  return high;
}

/** The mean of two or more values with Student's interval. */
function student(values: readonly number[]): Rate {
  const { mean, se, n } = meanOf(values);
  const reach = se * t95(n - 1);
  return { value: mean, low: mean - reach, high: mean + reach, n };
}

/** A share by seed, of n records each, with the interval of its mean. */
export function overSeeds(shares: readonly number[], n: number): Rate {
  if (shares.length === 1) return rateOf(new Array<number>(n).fill(shares[0]));
  const { value, low, high } = student(shares);
  return { value, low: Math.max(0, low), high: Math.min(1, high), n };
}

/** How much more is right than with another system, paired by seed, or by record on one seed. */
export function difference(mine: readonly Outcome[], other: readonly Outcome[]): Rate {
  if (mine.length > 1) return student(mine.map((o, k) => o.success - other[k].success));
  return student(mine[0].right.map((right, i) => Number(right) - Number(other[0].right[i])));
}

/** In percent, as "12.5 (9.4 to 18.9)". */
export function inPercent({ value, low, high }: Rate): string {
  const [v, l, h] = [value, low, high].map((share) => (100 * share).toFixed(1).replace(/^-0\.0$/, "0.0"));
  return `${v} (${l} to ${h})`;
}

/** One system over all seeds. */
export interface SystemRow {
  readonly config: SystemConfig;
  readonly right: Rate;
  /** From the first system; none for that itself. */
  readonly difference?: Rate;
  readonly done: Rate;
  readonly minimal: Rate;
  /** Right by family: the mean over seeds. */
  readonly families: Readonly<Record<string, number>>;
}

/** The systems of an experiment in its order. */
export function systemRows(config: ExperimentConfig, outcomes: readonly SeedOutcome[]): SystemRow[] {
  const n = outcomes[0].test;
  const of = (system: string) => outcomes.map((o) => o.systems.find((s) => s.system === system)!);
  return config.system.map((system, i) => {
    const mine = of(system.name);
    const rate = (key: "success" | "done" | "minimal") =>
      overSeeds(
        mine.map((o) => o[key]),
        n,
      );
    const families = Object.keys(mine[0].families).map((f) => [f, meanOf(mine.map((o) => o.families[f])).mean] as const);
    return {
      config: system,
      right: rate("success"),
      difference: i ? difference(mine, of(config.system[0].name)) : undefined,
      done: rate("done"),
      minimal: rate("minimal"),
      families: Object.fromEntries(families),
    };
  });
}

/** Head and rows in words for the terminal: right, the difference from the first system, done, minimal, and right by family. */
export function systemLines(rows: readonly SystemRow[]): { head: string[]; lines: string[][] } {
  const lines = rows.map((r) => [
    r.config.name,
    inPercent(r.right),
    r.difference ? inPercent(r.difference) : "",
    inPercent(r.done),
    inPercent(r.minimal),
    ...Object.values(r.families).map((share) => (100 * share).toFixed(1)),
  ]);
  return { head: ["system", "right %", "minus the first", "edit done %", "nothing else %", ...Object.keys(rows[0].families)], lines };
}

/** How good a set of sentences was: the share of them that is true and minimal for its pair. */
export interface LabelRow {
  readonly of: string;
  readonly valid: Rate;
}

/** The dynamics model on the test, all annotations, and those that each filter kept, systems of one filter together. */
export function labelRows(config: ExperimentConfig, outcomes: readonly SeedOutcome[]): LabelRow[] {
  const { test, pairs } = outcomes[0];
  const over = (share: (o: SeedOutcome) => number, n: number) => overSeeds(outcomes.map(share), n);
  const byFilter = new Map<string, string[]>();
  for (const { name, keep, threshold } of config.system)
    if (outcomes.some((o) => o.kept[name])) {
      const filter = JSON.stringify([keep, threshold]);
      byFilter.set(filter, [...(byFilter.get(filter) ?? []), name]);
    }
  return [
    { of: "dynamics model on the test pairs", valid: over((o) => o.cdm, test) },
    { of: "all annotations", valid: over((o) => o.annotations, pairs) },
    ...[...byFilter.values()].map((names) => {
      // A seed of which a filter keeps nothing has no share.
      const kept = outcomes.flatMap((o) => o.kept[names[0]] ?? []);
      const shares = kept.map((k) => k.valid);
      return { of: `kept for ${names.join(", ")}`, valid: overSeeds(shares, kept[0].pairs) };
    }),
  ];
}

/** The rows of `labelRows` in words. */
export function labelLines(rows: readonly LabelRow[]): { head: string[]; lines: string[][] } {
  return { head: ["labels", "true %", "n"], lines: rows.map(({ of, valid }) => [of, inPercent(valid), String(valid.n)]) };
}

/** The page. */
export function experimentHtml(config: ExperimentConfig, outcomes: readonly SeedOutcome[], origin: Origin): string {
  const rows = systemRows(config, outcomes);
  const one = outcomes.length === 1;
  const about = `${outcomes[0].test} test scenes${one ? ", one seed" : ` and ${outcomes.length} seeds`}. Right: the edit was done and nothing else changed, by the exact oracle. ${
    one ? "95% intervals over scenes: Wilson's for shares" : "95% intervals over seeds: Student's for shares"
  }, and Student's for differences from the first system, paired by ${one ? "scene" : "seed"}; a difference is in bold where its interval leaves out 0.`;
  return pageHtml(
    config.title,
    config.question,
    [
      section("Systems", about, systemTable(rows), drawingChart(rows), familyTable(rows)),
      section(
        "Labels",
        "Share of sentences that are true and minimal for their pair, by the oracle.",
        labelTable(labelRows(config, outcomes)),
      ),
    ],
    origin,
  );
}

function systemTable(rows: readonly SystemRow[]): string {
  const end = axisEnd(rows.map((r) => r.right));
  const minus = ({ value, low, high }: Rate) => {
    const text = [value, low, high].map((v) => (100 * v).toFixed(1).replace("-0.0", "0.0").replace("-", "\u2212"));
    const sure = low > 0 || high < 0;
    return `${sure ? `<b>${text[0]}</b>` : text[0]} <span class="interval">${text[1]} to ${text[2]}</span>`;
  };
  const cells = rows.map((r) => [
    escapeHtml(r.config.name),
    bar(r.right, "cwm", end, rows[0].right.value),
    rateText(r.right),
    r.difference ? minus(r.difference) : "",
    rateText(r.done),
    rateText(r.minimal),
  ]);
  const titles = ["right", "minus the first, points", "edit done", "nothing else changed"];
  const columns = [{ title: "system" }, { title: `0 to ${percent(end)}` }, ...titles.map((title) => ({ title, number: true }))];
  return table("Shares of test scenes; dashed: the first system", columns, cells);
}

function familyTable(rows: readonly SystemRow[]): string {
  const columns = [{ title: "system" }, ...Object.keys(rows[0].families).map((title) => ({ title, number: true }))];
  const cells = rows.map((r) => [escapeHtml(r.config.name), ...Object.values(r.families).map(percent)]);
  return table("Right by family of edits", columns, cells);
}

/** Right over the number of drawings, where systems differ in that alone. */
function drawingChart(rows: readonly SystemRow[]): string {
  const alike = ({ name: _, k, verifier, ...rest }: SystemConfig) => JSON.stringify([rest, k === 1 ? undefined : verifier]);
  const single = rows.find((r) => r.config.k === 1);
  const several = rows.filter((r) => r.config.k > 1);
  if (!single || new Set(several.map((r) => r.config.k)).size < 2 || new Set(several.map((r) => alike(r.config))).size > 1) return "";
  if (alike({ ...single.config, k: 2, verifier: several[0].config.verifier }) !== alike(several[0].config)) return "";
  const points = [single, ...several].map(({ config: { k }, right: { value, low, high } }) => ({ x: k, y: value, low, high }));
  const series: Series = { name: "right", tone: "cwm", points: points.sort((a, b) => a.x - b.x) };
  const drawings = { title: "drawings", format: String, log: true, ticks: points.map((p) => p.x) };
  return lineChart("Right, by the number of drawings to choose from", drawings, { title: "right", format: percent, from: 0 }, [series]);
}

function labelTable(rows: readonly LabelRow[]): string {
  const columns = [{ title: "of" }, { title: "true", number: true }, { title: "n", number: true }];
  return table(
    "Sentences",
    columns,
    rows.map(({ of, valid }) => [escapeHtml(of), rateText(valid), valid.n.toLocaleString("en")]),
  );
}
