// An experiment's outcomes as tables with intervals: means over seeds with Student's 95% interval, or over one seed with Wilson's; and the differences from
// the first system, paired by seed.

import type { SeedOutcome } from "./experiment.ts";
import type { ExperimentConfig } from "./experiment_config.ts";
import { escapeHtml, section, table } from "./markup.ts";
import { type Origin, pageHtml } from "./page.ts";
import { rateOf } from "./report.ts";
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

/** Shares of seeds as "mean (low to high)" in percent; `n` records each. */
export function overSeeds(shares: readonly number[], n: number): string {
  const percent = (v: number) => (100 * v).toFixed(1);
  if (shares.length === 1) {
    // One share over n records: Wilson's interval.
    const { value, low, high } = rateOf(new Array<number>(n).fill(shares[0]));
    return `${percent(value)} (${percent(low)} to ${percent(high)})`;
  }
  const { mean, se } = meanOf(shares);
  const reach = se * t95(shares.length - 1);
  return `${percent(mean)} (${percent(mean - reach)} to ${percent(mean + reach)})`;
}

/** Head and rows: success, done, minimal, families, and the difference of success from the first system. */
export function experimentRows(config: ExperimentConfig, outcomes: readonly SeedOutcome[]): { head: string[]; rows: string[][] } {
  const n = outcomes[0].test;
  const families = Object.keys(outcomes[0].systems[0].families);
  const of = (system: string) => outcomes.map((o) => o.systems.find((s) => s.system === system)!);
  const first = of(config.system[0].name);
  const rows = config.system.map(({ name }, i) => {
    const mine = of(name);
    const differences = mine.map((o, k) => o.success - first[k].success);
    const difference = i === 0 ? "" : outcomes.length > 1 ? overSeeds(differences, n) : (100 * differences[0]).toFixed(1);
    return [
      name,
      overSeeds(
        mine.map((o) => o.success),
        n,
      ),
      difference,
      overSeeds(
        mine.map((o) => o.done),
        n,
      ),
      overSeeds(
        mine.map((o) => o.minimal),
        n,
      ),
      ...families.map((f) => (100 * meanOf(mine.map((o) => o.families[f])).mean).toFixed(1)),
    ];
  });
  return { head: ["system", "right %", `minus ${config.system[0].name}`, "edit done %", "nothing else %", ...families], rows };
}

/** How good the labels were: the CDM on the test, all annotations, and those each filter kept. */
export function annotationRows(outcomes: readonly SeedOutcome[]): string[][] {
  const { test, pairs } = outcomes[0];
  const names = Object.keys(outcomes[0].kept);
  return [
    [
      "dynamics model on the test pairs",
      overSeeds(
        outcomes.map((o) => o.cdm),
        test,
      ),
      String(test),
    ],
    [
      "all annotations",
      overSeeds(
        outcomes.map((o) => o.annotations),
        pairs,
      ),
      String(pairs),
    ],
    ...names.map((name) => {
      const kept = outcomes.map((o) => o.kept[name]);
      return [
        `kept for ${name}`,
        overSeeds(
          kept.map((k) => k.valid),
          kept[0].pairs,
        ),
        String(kept[0].pairs),
      ];
    }),
  ];
}

/** The page. */
export function experimentHtml(config: ExperimentConfig, outcomes: readonly SeedOutcome[], origin: Origin): string {
  const { head, rows } = experimentRows(config, outcomes);
  const columns = (titles: readonly string[]) => titles.map((title, i) => ({ title, number: i > 0 }));
  const cells = (list: readonly (readonly string[])[]) => list.map((row) => row.map(escapeHtml));
  const seeds = `${config.seeds.length} seed${config.seeds.length > 1 ? "s" : ""}; 95% intervals ${config.seeds.length > 1 ? "over seeds (Student)" : "over records (Wilson)"}`;
  const about = `${outcomes[0].test} test scenes, ${seeds}. Right: the edit was done and nothing else changed, by the exact oracle.`;
  return pageHtml(
    config.title,
    config.question,
    [
      section("Systems", about, table("shares of test scenes", columns(head), cells(rows))),
      section(
        "Labels",
        "Share of sentences that are true and minimal for the pair, by the oracle.",
        table("annotation quality", columns(["of", "true %", "n"]), cells(annotationRows(outcomes))),
      ),
    ],
    origin,
  );
}
