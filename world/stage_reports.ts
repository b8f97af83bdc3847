// The reports of the single stages: key frames, annotations, filtering, edits and training, each drawn on the page of world/page.ts.
import type { EvalRecord, TrainRecord } from "../train/loop.ts";
import { barChart, lineChart, thinned } from "./charts.ts";
import type { Histogram } from "./filter.ts";
import type { FramesReport } from "./frames.ts";
import { escapeHtml, figure, percent, section, table } from "./markup.ts";
import { gallery, type Origin, pageHtml, type ShotRow, shots } from "./page.ts";
import type { AnnotatedRecord } from "./records.ts";

const columns = (...titles: string[]) => titles.map((title, i) => ({ title, number: i > 0 }));
const facts = (caption: string, rows: Readonly<Record<string, string>>) =>
  table(
    caption,
    [{ title: "what" }, { title: "value" }],
    Object.entries(rows).map((row) => row.map(escapeHtml)),
  );

const rowsOf = (rows: readonly ShotRow[]) => rows.map(({ heading, list, note }) => shots(heading, list, note));

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
    failed.map(({ video, reason }) => [video, reason.startsWith(`${video}: `) ? reason.slice(video.length + 2) : reason].map(escapeHtml)),
  );
  const grids = sheets.map(
    ({ name, url }) =>
      `<h3>${escapeHtml(name)}</h3><img class="sheet" src="${escapeHtml(url)}" alt="contact sheet of ${escapeHtml(name)}" loading="lazy">`,
  );
  const read = written + kept;
  const first = grids.length < read ? ` The first ${grids.length} of ${read} videos by name.` : "";
  const about = `Key frames with number and time; below them motion over the whole video: key frames orange, scene cuts red.${first}`;
  return pageHtml(
    "Key frames",
    `${keyFrames} key frames and ${pairs} pairs of ${read} ${read === 1 ? "video" : "videos"}.`,
    [section("Found", "", found, out), section("Contact sheets", about, ...grids)],
    origin,
  );
}

/** A stage done as jobs: how much, with which options, the videos that failed, and examples from the joined file. */
export function jobsHtml(
  numbers: Readonly<Record<string, string>>,
  options: Readonly<Record<string, string>>,
  failed: readonly { readonly video: string; readonly failed: string }[],
  rows: readonly ShotRow[],
  origin: Origin,
): string {
  const out = table(
    "Videos left out",
    [{ title: "video" }, { title: "reason" }],
    failed.map(({ video, failed: reason }) => [video, reason].map(escapeHtml)),
  );
  return pageHtml(
    `Jobs: ${numbers.stage}`,
    "",
    [
      section("Done", "", facts("Numbers", numbers), facts("Options", options), failed.length ? out : ""),
      section("Examples", "Spread evenly over the joined file.", gallery(rowsOf(rows))),
    ],
    origin,
  );
}

/** Annotations: likelihoods as a histogram, throughput, and pairs with what was said. */
export function annotateHtml(
  records: readonly AnnotatedRecord[],
  h: Histogram,
  numbers: Readonly<Record<string, string>>,
  pairs: readonly ShotRow[],
  origin: Origin,
): string {
  const said = new Map<string, AnnotatedRecord[]>();
  for (const r of records) said.set(r.action, [...(said.get(r.action) ?? []), r]);
  const mean = (list: readonly AnnotatedRecord[]) => list.reduce((a, r) => a + r.mean_logprob, 0) / list.length;
  const often = [...said].sort(([, a], [, b]) => b.length - a.length).slice(0, 20);
  const sentences = table(
    `Sentences said most often (${said.size} different ones)`,
    columns("sentence", "pairs", "share", "mean log p"),
    often.map(([action, list]) => [escapeHtml(action), figure(list.length), percent(list.length / records.length), figure(mean(list), 2)]),
  );
  return pageHtml(
    "Annotations",
    `What a dynamics model says of ${records.length} pairs of pictures.`,
    [
      section("Said", "", facts("Numbers", numbers), sentences),
      section("Likelihoods", "Mean log-probability per token of each answer.", histogramChart(h, false)),
      section("Pairs", "Spread evenly from the surest answer to the least sure; pictures as they were given.", gallery(rowsOf(pairs))),
    ],
    origin,
  );
}

/** A filtering: counts, the histogram before and after, and pairs of both sides. */
export function filterHtml(
  h: Histogram,
  by: string,
  numbers: Readonly<Record<string, string>>,
  classes: readonly (readonly [string, number, number])[],
  { kept, left }: { readonly kept: readonly ShotRow[]; readonly left: readonly ShotRow[] },
  origin: Origin,
): string {
  const step = (h.high - h.low) / h.before.length;
  const bins = table(
    "Counts",
    columns("score from", "pairs", "kept"),
    h.before.map((n, i) => [figure(h.low + i * step, 3), figure(n), figure(h.after[i])]),
  );
  const byClass = table(
    "Classes",
    columns("class", "pairs", "kept"),
    classes.map(([name, n, kept]) => [escapeHtml(name), figure(n), figure(kept)]),
  );
  const total = h.before.reduce((a, n) => a + n, 0);
  const spread = "Spread evenly from the likeliest to the least likely.";
  return pageHtml(
    "Filtered annotations",
    `${figure(h.after.reduce((a, n) => a + n, 0))} of ${figure(total)} annotated pairs are kept.`,
    [
      section("Kept", "", facts("Numbers", numbers), byClass),
      section("Scores before and after", `${by} log-probability of the action.`, histogramChart(h, true), bins),
      section("Pairs that are kept", spread, gallery(rowsOf(kept))),
      section("Pairs that are left out", spread, gallery(rowsOf(left))),
    ],
    origin,
  );
}

/** A histogram of all pairs, and of those kept in front of it. */
function histogramChart({ low, high, before, after }: Histogram, kept: boolean): string {
  const series = [{ name: kept ? "all pairs" : "pairs", tone: "base", counts: before }];
  if (kept) series.push({ name: "kept", tone: "cdm", counts: after });
  return `<div class="charts">${barChart("Pairs by score", { x: "log-probability", y: "pairs" }, { low, high }, series)}</div>`;
}

/** Edits: a row of pictures for each. */
export function editHtml(lead: string, rows: readonly ShotRow[], origin: Origin): string {
  const about =
    "The source as given and as the picture tokenizer sees it, every candidate with the mean log-probability of the action under the dynamics model, the one chosen framed, and how far its features are from the source's, cell by cell.";
  return pageHtml("Edits", lead, [section("Candidates", about, ...rowsOf(rows))], origin);
}

/** What a training page is told beside the log: a sentence to open with, numbers, held-out pictures with the step they were made at, options as text. */
export interface TrainPage {
  readonly title: string;
  readonly lead: string;
  readonly numbers: Readonly<Record<string, string>>;
  readonly shown?: { readonly step: number; readonly rows: readonly ShotRow[] };
  readonly options: string;
}

/** Training: loss, gradient and learning rate, held-out loss and pictures where there are any, and the options in effect. */
export function trainHtml(
  { title, lead, numbers, shown, options }: TrainPage,
  log: readonly TrainRecord[],
  evaluations: readonly EvalRecord[],
  origin: Origin,
): string {
  const x = { title: "step", from: 0 };
  const points = (of: (r: TrainRecord) => number) =>
    thinned(
      log.map((r) => ({ x: r.step, y: of(r) })),
      200,
    );
  const held = evaluations.map((r) => ({ x: r.step, y: r.eval_loss }));
  const losses = lineChart("Loss", x, { title: "loss (log scale)", log: true }, [
    { name: "training", tone: "cwm", points: points((r) => r.loss) },
    ...(held.length ? [{ name: "held out, without weights", tone: "ft", points: held }] : []),
  ]);
  const rates = lineChart("Learning rate", x, { title: "rate", from: 0 }, [
    { name: "learning rate", tone: "base", points: points((r) => r.learning_rate) },
  ]);
  const norms = lineChart("Gradient norm", x, { title: "norm (log scale)", log: true }, [
    { name: "gradient norm", tone: "cdm", points: points((r) => r.grad_norm) },
  ]);
  // Ten of them are enough for a table; the curve has all.
  const every = Math.max(1, Math.ceil(evaluations.length / 10));
  const scores = table(
    "Held-out triplets",
    columns("after step", "loss", "tokens right"),
    evaluations
      .filter((_, i) => (evaluations.length - 1 - i) % every === 0)
      .map((r) => [figure(r.step), figure(r.eval_loss, 4), percent(r.eval_accuracy)]),
  );
  const about = "Loss: the mean of the steps since the point before. Gradient norm and learning rate: of that step.";
  const pictures = shown
    ? `Pictures after step ${figure(shown.step)}. The model sees and draws codes: what those of the target give back is the best it could draw.`
    : "";
  return pageHtml(
    title,
    lead,
    [
      section("Curves", about, `<div class="charts">${losses}${norms}${rates}</div>`, facts("Numbers", numbers)),
      section("Held out", pictures, scores || "<p>No held-out triplets were given (--eval-data).</p>", ...rowsOf(shown?.rows ?? [])),
      section("Options in effect", "", `<pre>${escapeHtml(options)}</pre>`),
    ],
    origin,
  );
}
