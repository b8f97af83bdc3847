// worldline edit: draws the picture that follows a picture under an action; with a dynamics model the best of K candidates. With --data it does so
// for every record of a file.
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { preparePicture } from "../tokenizer/pixels.ts";
import { checkWritable } from "../weights/file_source.ts";
import { figure } from "../world/markup.ts";
import { loadModel } from "../world/model.ts";
import type { Shot } from "../world/page.ts";
import { readPicture, writePng } from "../world/pictures.ts";
import { checkPictureIds, type Prediction, predict, predictChain, writeBestPictures, writePredictions } from "../world/predictions.ts";
import { featureDistances, recognitionWeights } from "../world/recognition.ts";
import { readRecords, type TripletRecord, writeText } from "../world/records.ts";
import { borderColours, heatMap, sheet } from "../world/sheets.ts";
import { editHtml } from "../world/stage_reports.ts";
import {
  encodeAll,
  folderOf,
  open,
  reportPath,
  type Session,
  type StorageFlags,
  storageOptions,
  withCache,
  withStorage,
} from "./shared.ts";
import { count, interruption, number, progress, say } from "./terminal.ts";
import { originOf } from "./versions.ts";

interface Flags extends StorageFlags {
  cwm: string;
  cdm?: string;
  image?: string;
  action?: string;
  steps?: string[];
  pictures?: string;
  data?: string;
  out: string;
  sheet?: string;
  report?: string;
  candidates: number;
  temperature: number;
  topP: number;
  seed: number;
  cache?: string;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("edit")
    .description("draw what follows a picture under an action")
    .requiredOption("--cwm <model>", "world model: a folder or a hub id")
    .option("--cdm <model>", "dynamics model that scores the candidates")
    .option("--image <file>", "the picture")
    .option("--action <words>", "the action")
    .option("--steps <actions...>", "instead of --action: several actions, each on the last result")
    .option("--data <file>", "instead of one picture: every record of a file; writes predictions as JSON lines")
    .requiredOption("--out <file>", "where to write the picture (PNG) or the predictions (JSON lines)")
    .option("--pictures <folder>", "with --data: write the best picture of each record, <id>.png, as `worldline eval --system` reads them")
    .option("--sheet <file>", "write all candidates with their scores as one PNG")
    .option("--report <file>", "where the page with sources, candidates, scores and changed cells goes (default: <out>.html)")
    .option("--candidates <k>", "candidates per picture", count(1, 256), 8)
    .option("--temperature <x>", "0 takes the likeliest codes", number(0, 100), 0.5)
    .option("--top-p <x>", "sample from the likeliest codes that make up this probability", number(0, 1), 1)
    .option("--seed <n>", "seed of the sampling", count(0, 2 ** 31), 0);
  withStorage(withCache(command)).action(run);
}

async function run(f: Flags): Promise<void> {
  if (!f.data && !(f.image && (f.action === undefined) !== (f.steps === undefined)))
    throw new WorldlineError("edit needs --image and --action or --steps, or --data with a file of records");
  const page = reportPath(f.out, f.report);
  for (const path of [f.out, f.sheet, page]) if (path) await checkWritable(path);
  if (f.image) await readPicture(f.image);
  const records = f.data
    ? await readRecords<TripletRecord>(f.data, ["action"])
    : (f.steps ?? [f.action!]).map((action, i) => ({ id: `step-${i + 1}`, source: f.image!, target: f.image!, action }));
  if (f.data && f.pictures) checkPictureIds(records);
  const s = await open(f.cwm, f.cache, f);
  const dynamics = f.cdm ? await loadModel(s.device, await folderOf(f.cdm), { ...storageOptions(f), beside: s.model }) : undefined;
  const signal = interruption();
  warnUnknown(s, records);
  await encodeAll(
    s,
    records.map((r) => ({ source: r.source })),
    signal,
  );
  const batch = Math.min(16, records.length);
  const options = {
    candidates: f.candidates,
    temperature: f.temperature,
    topP: f.topP,
    seed: f.seed,
    batch,
    signal,
    onProgress: progress("drawing"),
  };
  if (!f.data) {
    const actions = records.map((r) => r.action);
    const steps = await predictChain(s.device, s.model, dynamics, s.codes, f.image!, actions, options);
    await writeBest(f, s, steps[steps.length - 1].prediction);
    if (f.sheet) await writeSheet(f.sheet, s, f.image!, steps);
    await writeReport(page, f, s, steps, steps.length);
    return;
  }
  const predictions = await predict(s.device, s.model, dynamics, s.codes, records, options);
  await writePredictions(f.out, predictions);
  say(`${f.out}: ${predictions.length} predictions of ${f.candidates} candidates`);
  if (f.pictures) {
    await writeBestPictures(f.pictures, s.model, predictions);
    say(`${f.pictures}: ${predictions.length} pictures`);
  }
  const rows = records
    .slice(0, 20)
    .map((r, i) => ({ source: r.source, action: r.action, before: s.codes.get(r.source).codes, prediction: predictions[i] }));
  if (f.sheet) await writeSheet(f.sheet, s, undefined, rows);
  await writeReport(page, f, s, rows, records.length);
}

async function writeBest(f: Flags, s: Session, p: Prediction): Promise<void> {
  const pictures = await s.model.pictures.decode(p.candidates, p.columns);
  await writePng(f.out, pictures[p.best]);
  const scores = p.scores.map((v, i) => `${i + 1}: ${v.toFixed(2)}`).join("  ");
  say(
    `${f.out}: ${pictures[0].width} x ${pictures[0].height}, candidate ${p.best + 1} of ${p.candidates.length}${scores ? `; mean log p(action) ${scores}` : ""}`,
  );
}

/** A row for each prediction: what it started from as a picture (where it is one) and as codes, then every candidate with its score. */
async function writeSheet(
  path: string,
  s: Session,
  image: string | undefined,
  rows: readonly { readonly source?: string; readonly action: string; readonly before: Uint32Array; readonly prediction: Prediction }[],
): Promise<void> {
  const shown = [];
  for (const [i, { source = i === 0 ? image : undefined, action, before, prediction: p }] of rows.entries()) {
    const pictures = await s.model.pictures.decode(p.candidates, p.columns);
    const picture = source === undefined ? null : { picture: preparePicture(await readPicture(source), s.model.pixels) };
    const [seen] = await s.model.pictures.decode([before], p.columns);
    const cells = pictures.map((candidate, k) => ({
      picture: candidate,
      caption: p.scores[k]?.toFixed(2) ?? "",
      ...(k === p.best && p.scores.length ? { border: borderColours.right } : {}),
    }));
    shown.push({ label: action, cells: [picture, { picture: seen }, ...cells], width: seen.width });
  }
  const columns = ["source", "as codes", ...rows[0].prediction.candidates.map((_, k) => `${k + 1}`)];
  await writePng(path, sheet({ columns, rows: shown, scale: shown[0].width < 128 ? 2 : 1 }));
  say(`${path}: sheet of ${shown.length} rows`);
}

/** The page: for each row the source, its codes, all candidates and the weights of the best against what it started from. */
async function writeReport(
  path: string,
  f: Flags,
  s: Session,
  rows: readonly { readonly source?: string; readonly action: string; readonly before: Uint32Array; readonly prediction: Prediction }[],
  all: number,
): Promise<void> {
  const shown: { heading: string; list: Shot[] }[] = [];
  for (const [i, { source = i === 0 ? f.image : undefined, action, before, prediction: p }] of rows.entries()) {
    const [seen, ...pictures] = await s.model.pictures.decode([before, ...p.candidates.map((c) => Uint32Array.from(c))], p.columns);
    const best = pictures[p.best];
    const [from, to] = await s.model.pictures.encode([seen, best]);
    const distances = featureDistances(from.features, to.features, s.model.vqgan.config.embedDim);
    const weights = recognitionWeights(distances, { epsilon: 0, floor: 0 });
    const list: Shot[] = source === undefined ? [] : [{ name: "source", picture: await readPicture(source) }];
    list.push({ name: i > 0 && f.image ? "the last result" : "source as codes", picture: seen });
    for (const [k, picture] of pictures.entries())
      list.push({
        name: `candidate ${k + 1}`,
        picture,
        note: p.scores[k] === undefined ? "" : `${figure(p.scores[k], 2)}${k === p.best ? ", chosen" : ""}`,
        chosen: k === p.best && p.scores.length > 0,
      });
    list.push({
      name: "what changed",
      picture: heatMap(weights, [to.rows, to.columns], best),
      note: `largest weight ${Math.max(...weights).toFixed(1)} of mean 1`,
    });
    shown.push({ heading: action, list });
  }
  const lead = `${rows.length < all ? `The first ${rows.length} of ${all}` : all} ${all > 1 ? "edits" : "edit"} of ${f.candidates} candidates each${f.cdm ? ", the best chosen by a dynamics model" : ", not scored: no dynamics model was given"}.`;
  const origin = {
    ...originOf(s.device, f.seed),
    temperature: String(f.temperature),
    "world model": f.cwm,
    "dynamics model": f.cdm ?? "none",
  };
  await writeText(path, editHtml(lead, shown, origin));
}

/** Words the tokenizer must spell letter by letter were never seen in training; the action is used all the same. */
function warnUnknown(s: Session, records: readonly { action: string }[]): void {
  const unknown = new Set<string>();
  for (const { action } of records) {
    for (const word of action.split(/\s+/).filter(Boolean)) {
      if (s.model.tokenizer.ids(` ${word.toLowerCase()}`).length > 1 && s.model.tokenizer.ids(word).length > 1) unknown.add(word);
    }
  }
  if (unknown.size)
    say(
      `note: the model's vocabulary has no whole token for ${[...unknown]
        .slice(0, 8)
        .map((w) => `"${w}"`)
        .join(", ")}; spelled out, expect poor results`,
    );
}
