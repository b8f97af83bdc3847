// worldline edit: draws the picture that follows a picture under an action; with a dynamics model the best of K candidates. With --data it does so
// for every record of a file.
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { preparePicture } from "../tokenizer/pixels.ts";
import { checkWritable } from "../weights/file_source.ts";
import { loadModel } from "../world/model.ts";
import { readPicture, writePng } from "../world/pictures.ts";
import { type Prediction, predict, writePredictions } from "../world/predictions.ts";
import { readRecords, type TripletRecord } from "../world/records.ts";
import { sheet } from "../world/sheets.ts";
import { encodeAll, folderOf, open, type Session, type StorageFlags, storageOptions, withCache, withStorage } from "./shared.ts";
import { count, interruption, number, progress, say } from "./terminal.ts";

interface Flags extends StorageFlags {
  cwm: string;
  cdm?: string;
  image?: string;
  action?: string;
  data?: string;
  out: string;
  sheet?: string;
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
    .option("--data <file>", "instead of one picture: every record of a file; writes predictions as JSON lines")
    .requiredOption("--out <file>", "where to write the picture (PNG) or the predictions (JSON lines)")
    .option("--sheet <file>", "write all candidates with their scores as one PNG")
    .option("--candidates <k>", "candidates per picture", count(1, 256), 8)
    .option("--temperature <x>", "0 takes the likeliest codes", number(0, 100), 0.5)
    .option("--top-p <x>", "sample from the likeliest codes that make up this probability", number(0, 1), 1)
    .option("--seed <n>", "seed of the sampling", count(0, 2 ** 31), 0);
  withStorage(withCache(command)).action(run);
}

async function run(f: Flags): Promise<void> {
  if (!f.data && !(f.image && f.action !== undefined))
    throw new WorldlineError("edit needs --image and --action, or --data with a file of records");
  for (const path of [f.out, f.sheet]) if (path) await checkWritable(path);
  if (f.image) await readPicture(f.image);
  const records = f.data
    ? await readRecords<TripletRecord>(f.data, ["action"])
    : [{ id: "picture", source: f.image!, target: f.image!, action: f.action! }];
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
  const predictions = await predict(s.device, s.model, dynamics, s.codes, records, options);
  if (f.data) {
    await writePredictions(f.out, predictions);
    say(`${f.out}: ${predictions.length} predictions of ${f.candidates} candidates`);
  } else await writeBest(f, s, predictions[0]);
  if (f.sheet) await writeSheet(f.sheet, s, records.slice(0, 20), predictions);
}

async function writeBest(f: Flags, s: Session, p: Prediction): Promise<void> {
  const pictures = await s.model.pictures.decode(p.candidates, p.columns);
  await writePng(f.out, pictures[p.best]);
  const scores = p.scores.map((v, i) => `${i + 1}: ${v.toFixed(2)}`).join("  ");
  say(
    `${f.out}: ${pictures[0].width} x ${pictures[0].height}, candidate ${p.best + 1} of ${p.candidates.length}${scores ? `; mean log p(action) ${scores}` : ""}`,
  );
}

async function writeSheet(path: string, s: Session, records: readonly TripletRecord[], predictions: readonly Prediction[]): Promise<void> {
  const rows = [];
  for (const [i, r] of records.entries()) {
    const p = predictions[i];
    const pictures = await s.model.pictures.decode(p.candidates, p.columns);
    const source = preparePicture(await readPicture(r.source), s.model.pixels);
    const seen = (await s.model.pictures.decode([s.codes.get(r.source).codes], p.columns))[0];
    const cells = pictures.map((picture, k) => ({
      picture,
      caption: p.scores[k]?.toFixed(2) ?? "",
      ...(k === p.best && p.scores.length ? { border: [40, 160, 70] as [number, number, number] } : {}),
    }));
    rows.push({ label: r.action, cells: [{ picture: source }, { picture: seen }, ...cells] });
  }
  const columns = ["source", "as codes", ...predictions[0].candidates.map((_, k) => `${k + 1}`)];
  await writePng(path, sheet({ columns, rows, scale: rows[0].cells[0].picture.width < 128 ? 2 : 1 }));
  say(`${path}: sheet of ${rows.length} rows`);
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
