// An evaluation as one HTML file without outside resources: a table per metric with the paper's values below ours, paired tests, and example pictures.
import { type Comparison, type Results, rowsOfMetric } from "./bench_results.ts";
import { type Column, escapeHtml, section, table } from "./markup.ts";
import { gallery, type Origin, pageHtml, type ShotRow, shots } from "./page.ts";
import { paperTables, paperValue } from "./paper_tables.ts";

/** How people call the metrics. */
export const metricNames: Readonly<Record<string, string>> = {
  l1: "L1 (less is better)",
  psnr: "PSNR in dB",
  ssim: "SSIM",
  tokens: "Token agreement",
  clip_i: "CLIP-I",
  clip_t: "CLIP-T",
  dino: "DINO",
  judge: "Judge: lower of the two scores, 0 to 10",
  judge_success: "Judge: editing success",
  judge_minimal: "Judge: minimal editing",
  rouge1: "ROUGE-1",
  rougeL: "ROUGE-L",
  bleu1: "BLEU-1 of sentences",
  bleu2: "BLEU-2 of sentences",
  bleu3: "BLEU-3 of sentences",
  bleu4: "BLEU-4 of sentences",
  exact: "Exact match",
  bert_score: "BERTScore",
};

/** The paper's rows for a metric. */
export function paperRows(metric: string) {
  const paper = paperTables[metric];
  return (paper?.rows ?? []).map((row) => ({ name: `paper: ${row.system}`, at: (part: string) => paperValue(row, part) }));
}

/** A comparison's difference and p as cells. */
export function comparisonRow({ metric, first, second, difference, p }: Comparison): string[] {
  const sign = difference.mean >= 0 ? "+" : "";
  return [
    metric,
    `${first} - ${second}`,
    `${sign}${difference.mean.toFixed(4)} ± ${difference.se.toFixed(4)}`,
    String(difference.n),
    p < 1e-4 ? "< 0.0001" : p.toFixed(4),
  ];
}

/** The page. `skipped`: metrics that were not measured, and why. */
export function benchHtml(
  title: string,
  results: Results,
  examples: readonly ShotRow[],
  origin: Origin,
  skipped: Readonly<Record<string, string>> = {},
): string {
  const columns = (first: string): Column[] => [
    { title: first },
    ...[...results.subsets, "all"].map((name) => ({ title: name, number: true })),
  ];
  const tables = results.metrics.map((metric) => {
    const paper = paperTables[metric];
    const caption = `${metricNames[metric] ?? metric}: mean ± standard error${paper ? `; the paper's ${paper.table} below` : ""}`;
    const rows = rowsOfMetric(results, metric, paperRows(metric)).map((cells) =>
      cells.map((cell, i) => escapeHtml(i ? cell.replaceAll(" ", "\u00a0") : cell)),
    );
    return table(caption, columns("system"), rows);
  });
  const tests = table(
    "Differences over the records that both systems have; Wilcoxon's signed-rank test, two-sided, not corrected for their number",
    [
      { title: "metric" },
      { title: "systems" },
      { title: "difference", number: true },
      { title: "n", number: true },
      { title: "p", number: true },
    ],
    results.comparisons.filter((c) => c.difference.n).map((c) => comparisonRow(c).map(escapeHtml)),
  );
  const grid = examples.map(({ heading, list, note }) => shots(heading, list, note));
  const pictures = results.systems.includes("copy");
  const baseline = pictures ? "The copy baseline returns the source picture. Every pixel metric rewards it; only a judge does not." : "";
  const missing = [...new Set(Object.values(skipped))].map((reason) => {
    const metrics = Object.keys(skipped).filter((metric) => skipped[metric] === reason);
    return `${metrics.map((metric) => metricNames[metric] ?? metric).join(" and ")}, ${reason}`;
  });
  const about = [baseline, missing.length ? `Not measured: ${missing.join("; ")}.` : ""].filter(Boolean).join(" ");
  const lacks = Object.entries(results.absent).flatMap(([system, n]) => (n ? [`${system} lacks ${n}`] : []));
  const lead = `${results.records} records, ${pictures ? "pictures" : "actions"} of ${results.systems.join(", ")}${lacks.length ? `; ${lacks.join(", ")}` : ""}.`;
  return pageHtml(
    title,
    lead,
    [
      section("Results", about, ...tables),
      section("Paired tests", "", tests),
      section("Examples", "The first two records of each part.", ...(examples.every((e) => e.list.length < 3) ? [gallery(grid)] : grid)),
    ],
    origin,
  );
}
