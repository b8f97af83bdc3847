// The probe's numbers: per kind the share that prefers the real trajectory with its Wilson interval, by mean and by summed log-probability, and how the
// two likelihoods correlate over the records; as text, and as one HTML file with a scatter of real against manipulated for every kind.
import { scatterChart } from "./charts.ts";
import { bar, escapeHtml, figure, rateText, section, table } from "./markup.ts";
import { type Origin, pageHtml, type Shot, type ShotRow, shots } from "./page.ts";
import { readPicture } from "./pictures.ts";
import { changedPicture, manipulations, type ProbeItem } from "./probe.ts";
import type { TripletRecord } from "./records.ts";
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

/** Records with every manipulation: pictures of targets, actions as words, and how much likelier than the real trajectory each is. */
export async function probeRows(records: readonly TripletRecord[], items: readonly ProbeItem[], most: number): Promise<ShotRow[]> {
  const rows: ShotRow[] = [];
  for (const [i, record] of records.slice(0, most).entries()) {
    const [source, target] = [await readPicture(record.source), await readPicture(record.target)];
    const more = (kind: string) =>
      items
        .filter((item) => item.id === record.id && item.kind.endsWith(`.${kind}`))
        .map((item) => `${item.kind.split(".")[0]} ${signed(item.manipulated - item.real)}`)
        .join(", ");
    const list: Shot[] = [
      { name: "source", picture: source },
      { name: "target", picture: target, chosen: true },
    ];
    const words: string[] = [];
    for (const [kind, t] of Object.entries(manipulations(records, i))) {
      if (more(kind) === "") continue;
      if (t.action !== record.action) words.push(`${kind} \u201c${t.action}\u201d: ${more(kind)}`);
      else if (kind === "inverted") list.push({ name: "inverted: as the target", picture: source, note: more(kind) });
      else {
        const shown = await readPicture(t.target);
        list.push({ name: kind, picture: t.change ? changedPicture(t.change, shown, source) : shown, note: more(kind) });
      }
    }
    rows.push({ heading: `${record.id}: ${record.action}`, list, note: words.join("; ") });
  }
  return rows;
}

const signed = (value: number) => `${value < 0 ? "\u2212" : "+"}${Math.abs(value).toFixed(2)}`;

/** The page. */
export function probeHtml(title: string, items: readonly ProbeItem[], examples: readonly ShotRow[], origin: Origin): string {
  const list = preferences(items);
  const records = new Set(items.map((i) => i.id)).size;
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
    `${figure(records)} records; image: how likely the target is given source and action; action: how likely the action is given both pictures.`,
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
      section(
        "Examples",
        "The real source and target (framed) and what was made of them. Numbers: mean log-probability of the manipulated trajectory minus the real one's; above 0 the model prefers the manipulated one.",
        ...examples.map(({ heading, list, note }) => shots(heading, list, note)),
      ),
    ],
    origin,
  );
}
