// The reports of the single stages: key frames, annotations, filtering, edits and training, each drawn on the page of world/page.ts.
import type { EvalRecord, TrainRecord } from "../train/loop.ts";
import { lineChart, thinned } from "./charts.ts";
import type { Histogram } from "./filter.ts";
import type { FramesReport } from "./frames.ts";
import { escapeHtml, figure, percent, section, table } from "./markup.ts";
import { type Origin, pageHtml, type Shot, shots } from "./page.ts";
import type { AnnotatedRecord } from "./records.ts";

const columns = (...titles: string[]) => titles.map((title, i) => ({ title, number: i > 0 }));
const plain = (v: number) => figure(v);

/** Key frames: what was found and left out, the videos that failed, and contact sheets (PNG as data URLs) with their curves of motion. */
export function framesHtml(
  report: FramesReport,
  sheets: readonly { readonly name: string; readonly url: string }[],
  origin: Origin,
): string {
  const { videos, written, kept, failed, keyFrames, pairs, black, glitches, dropped } = report;
  const counts: [string, number][] = [
    ["videos given", videos],
    ["videos read now", written],
    ["videos kept from an earlier run", kept],
    ["videos left out", failed.length],
    ["key frames", keyFrames],
    ["pairs", pairs],
    ["pairs left out: a scene cut or a black frame between", dropped.cut],
    ["pairs left out: two frames nearly the same", dropped.duplicate],
    ["black frames, never chosen", black],
    ["single frames unlike both neighbours (decoder glitches), never chosen", glitches],
  ];
  const found = table(
    "Counts",
    columns("what", "number"),
    counts.map(([name, n]) => [escapeHtml(name), figure(n)]),
  );
  const out = table(
    "Videos left out",
    [{ title: "video" }, { title: "reason" }],
    failed.map(({ video, reason }) => [escapeHtml(video), escapeHtml(reason)]),
  );
  const grids = sheets.map(
    ({ name, url }) =>
      `<h3>${escapeHtml(name)}</h3><img class="sheet" src="${escapeHtml(url)}" alt="contact sheet of ${escapeHtml(name)}" loading="lazy">`,
  );
  const about = "Key frames with number and time; below them motion over the whole video: key frames orange, scene cuts red.";
  return pageHtml(
    "Key frames",
    `${keyFrames} key frames and ${pairs} pairs of ${videos} videos.`,
    [section("Found", "", found, out), section("Contact sheets", about, ...grids)],
    origin,
  );
}

/** Annotations: likelihoods as a histogram, throughput, and pairs with what was said. */
export function annotateHtml(
  records: readonly AnnotatedRecord[],
  h: Histogram,
  facts: Readonly<Record<string, string>>,
  pairs: readonly { readonly heading: string; readonly list: readonly Shot[] }[],
  origin: Origin,
): string {
  const numbers = table(
    "Numbers",
    [{ title: "what" }, { title: "value" }],
    Object.entries(facts).map((row) => row.map(escapeHtml)),
  );
  const said = new Map<string, AnnotatedRecord[]>();
  for (const r of records) said.set(r.action, [...(said.get(r.action) ?? []), r]);
  const mean = (list: readonly AnnotatedRecord[]) => list.reduce((a, r) => a + r.mean_logprob, 0) / list.length;
  const often = [...said].sort(([, a], [, b]) => b.length - a.length).slice(0, 20);
  const sentences = table(
    `Sentences said most often (${said.size} different ones)`,
    columns("sentence", "pairs", "share", "mean log p"),
    often.map(([action, list]) => [escapeHtml(action), figure(list.length), percent(list.length / records.length), mean(list).toFixed(2)]),
  );
  return pageHtml(
    "Annotations",
    `What a dynamics model says of ${records.length} pairs of pictures.`,
    [
      section("Said", "", numbers, sentences),
      section("Likelihoods", "Mean log-probability per token of each answer.", histogramChart(h, false)),
      section(
        "Pairs",
        "Spread evenly from the surest answer to the least sure; pictures as they were given.",
        ...pairs.map(({ heading, list }) => shots(heading, list)),
      ),
    ],
    origin,
  );
}

/** A filtering: counts, and the histogram before and after. */
export function filterHtml(
  h: Histogram,
  by: string,
  facts: Readonly<Record<string, string>>,
  classes: readonly (readonly [string, number, number])[],
  origin: Origin,
): string {
  const numbers = table(
    "Numbers",
    [{ title: "what" }, { title: "value" }],
    Object.entries(facts).map((row) => row.map(escapeHtml)),
  );
  const step = (h.high - h.low) / h.before.length;
  const bins = table(
    "Counts",
    columns("score from", "pairs", "kept"),
    h.before.map((n, i) => [(h.low + i * step).toFixed(3), figure(n), figure(h.after[i])]),
  );
  const byClass = table(
    "Classes",
    columns("class", "pairs", "kept"),
    classes.map(([name, n, kept]) => [escapeHtml(name), figure(n), figure(kept)]),
  );
  return pageHtml(
    "Filtered annotations",
    "",
    [
      section("Kept", "", numbers, byClass),
      section("Scores before and after", `${by} log-probability of the action.`, histogramChart(h, true), bins),
    ],
    origin,
  );
}

/** A histogram as two step lines: all, and those kept. */
function histogramChart({ low, high, before, after }: Histogram, kept: boolean): string {
  const step = (high - low) / before.length || 1;
  const stairs = (counts: readonly number[]) =>
    counts.flatMap((n, i) => [
      { x: low + i * step, y: n },
      { x: low + (i + 1) * step, y: n },
    ]);
  const series = [{ name: kept ? "all pairs" : "pairs", tone: "base", points: stairs(before) }];
  if (kept) series.push({ name: "kept", tone: "cdm", points: stairs(after) });
  const x = { title: "log-probability", format: plain };
  return `<div class="charts">${lineChart("Pairs by score", x, { title: "pairs", format: plain, from: 0 }, series)}</div>`;
}

/** Edits: a row of pictures for each. */
export function editHtml(
  lead: string,
  rows: readonly { readonly heading: string; readonly list: readonly Shot[] }[],
  origin: Origin,
): string {
  const about =
    "The source as given and as the picture tokenizer sees it, every candidate with the mean log-probability of the action under the dynamics model, the one chosen framed, and how far its features are from the source's, cell by cell.";
  return pageHtml("Edits", lead, [section("Candidates", about, ...rows.map(({ heading, list }) => shots(heading, list)))], origin);
}

/** Training: loss and learning rate, held-out loss where measured, and the options in effect. */
export function trainHtml(
  title: string,
  log: readonly TrainRecord[],
  evaluations: readonly EvalRecord[],
  facts: Readonly<Record<string, string>>,
  options: string,
  origin: Origin,
): string {
  const x = { title: "step", format: plain, from: 0 };
  const points = (of: (r: TrainRecord) => number) =>
    thinned(
      log.map((r) => ({ x: r.step, y: of(r) })),
      200,
    );
  const held = evaluations.map((r) => ({ x: r.step, y: r.eval_loss }));
  const short = (v: number) => String(Number(v.toPrecision(3)));
  const losses = lineChart("Loss", x, { title: "loss (log scale)", format: short, log: true }, [
    { name: "training", tone: "cwm", points: points((r) => r.loss) },
    ...(held.length ? [{ name: "held out", tone: "ft", points: held }] : []),
  ]);
  const rates = lineChart("Learning rate", x, { title: "rate", format: short, from: 0 }, [
    { name: "learning rate", tone: "base", points: points((r) => r.learning_rate) },
  ]);
  const norms = lineChart("Gradient norm", x, { title: "norm (log scale)", format: short, log: true }, [
    { name: "gradient norm", tone: "cdm", points: points((r) => r.grad_norm) },
  ]);
  const numbers = table(
    "Numbers",
    [{ title: "what" }, { title: "value" }],
    Object.entries(facts).map((row) => row.map(escapeHtml)),
  );
  return pageHtml(
    title,
    "",
    [
      section("Curves", "Means of neighbouring steps.", `<div class="charts">${losses}${norms}${rates}</div>`, numbers),
      section("Options in effect", "", `<pre>${escapeHtml(options)}</pre>`),
    ],
    origin,
  );
}
