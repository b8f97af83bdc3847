// The probe's numbers: per kind the share that prefers the real trajectory with its Wilson interval, by mean and by summed log-probability, and how the
// two likelihoods correlate over the records; as text, and as one HTML file with a scatter of real against manipulated for every kind.
import { scatterChart } from "./charts.ts";
import { bar, escapeHtml, rateText, section, table } from "./markup.ts";
import { type Origin, pageHtml } from "./page.ts";
import type { ProbeItem } from "./probe.ts";
import { type Rate, rate } from "./report.ts";
import { pearson } from "./statistics.ts";

/** One kind's numbers. */
export interface Preference {
  readonly kind: string;
  readonly mean: Rate;
  readonly sum: Rate;
  readonly correlation: number;
}

/** The numbers of every kind, in the items' order. An even likelihood counts as no preference. */
export function preferences(items: readonly ProbeItem[]): Preference[] {
  return [...new Set(items.map((i) => i.kind))].map((kind) => {
    const list = items.filter((i) => i.kind === kind);
    const share = (wins: (i: ProbeItem) => boolean) => rate(list.filter(wins).length, list.length);
    return {
      kind,
      mean: share((i) => i.real > i.manipulated),
      sum: share((i) => i.real_sum > i.manipulated_sum),
      correlation: pearson(
        list.map((i) => i.real),
        list.map((i) => i.manipulated),
      ),
    };
  });
}

const percents = ({ value, low, high }: Rate) => `${(100 * value).toFixed(1)}% (${(100 * low).toFixed(1)} to ${(100 * high).toFixed(1)})`;

/** One line a kind. */
export function preferenceLines(list: readonly Preference[]): string[] {
  return list.map(
    ({ kind, mean, sum, correlation }) =>
      `${kind.padEnd(24)} real preferred ${percents(mean).padEnd(24)} by the sum ${(100 * sum.value).toFixed(1).padStart(5)}%  correlation ${
        Number.isFinite(correlation) ? correlation.toFixed(2).padStart(5) : "    -"
      }  n = ${mean.n}`,
  );
}

/** The page. */
export function probeHtml(title: string, items: readonly ProbeItem[], origin: Origin): string {
  const list = preferences(items);
  const columns = [
    { title: "kind" },
    { title: "real preferred" },
    { title: "" },
    { title: "by the sum", number: true },
    { title: "correlation", number: true },
    { title: "n", number: true },
  ];
  const rows = list.map(({ kind, mean, sum, correlation }) => [
    escapeHtml(kind),
    rateText(mean),
    bar(mean, "cdm", 1, 0.5),
    `${(100 * sum.value).toFixed(1)}%`,
    Number.isFinite(correlation) ? correlation.toFixed(2) : "-",
    String(mean.n),
  ]);
  const charts = list.map(({ kind }) => {
    const points = items.filter((i) => i.kind === kind).map((i) => ({ x: i.manipulated, y: i.real }));
    return scatterChart(kind, "manipulated", "real", points);
  });
  return pageHtml(
    title,
    "",
    [
      section(
        "Preferences",
        "How often the real trajectory is likelier than a manipulated one, by mean log-probability per token; the mark is chance.",
        table("share of records, 95% Wilson intervals", columns, rows),
      ),
      section(
        "Likelihoods",
        "Mean log-probability per token of the real trajectory over that of the manipulated one; the line is where they are even.",
        `<div class="charts">${charts.join("\n")}</div>`,
      ),
    ],
    origin,
  );
}
