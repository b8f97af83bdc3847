// Files of triplets: JSON lines as the stages write them, and AURORA's own json (a list of {input, output, instruction}); several mixed with factors
// and caps. Triplets whose pictures are missing stop the run, or are left out and counted.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { reasonOf } from "../weights/file_source.ts";
import { isObject } from "../weights/source.ts";
import { readRecords, type TripletRecord } from "./records.ts";

/** A file in a mixture. */
export interface TripletFile {
  readonly path: string;
  /** How often each triplet counts in an epoch; the fraction is another draw each epoch. Default 1. */
  readonly factor?: number;
  /** At most so many, drawn once by the seed. */
  readonly max_samples?: number;
  /** Folder that picture paths are relative to; by default the file's, or for AURORA's json the nearest folder above it that fits. */
  readonly root?: string;
}

/** What a file gave. */
export interface TripletPart {
  readonly path: string;
  readonly factor: number;
  readonly records: readonly TripletRecord[];
  /** Triplets left out because a picture is missing, and because they name no target. */
  readonly missing: number;
  readonly untargeted: number;
  readonly capped: number;
}

/** Reads the files of a mixture. Throws where a picture is missing unless `skipMissing`. */
export async function readTripletFiles(
  files: readonly TripletFile[],
  options: { skipMissing: boolean; seed: number },
): Promise<TripletPart[]> {
  const parts: TripletPart[] = [];
  for (const file of files) {
    const { records: all, untargeted } = await readFileOf(file);
    const missing = all.map((r) => [r.source, r.target].find((p) => !existsSync(p)));
    const gone = missing.filter((p) => p !== undefined);
    if (gone.length && !options.skipMissing)
      throw new WorldlineError(
        `${file.path}: ${gone.length} of ${all.length} triplets name pictures that are missing, the first is ${gone[0]}; put them there, set root, or leave them out with --skip-missing`,
      );
    const there = all.filter((_, i) => missing[i] === undefined);
    const records = capped(there, file.max_samples, options.seed, file.path);
    parts.push({
      path: file.path,
      factor: file.factor ?? 1,
      records,
      missing: gone.length,
      untargeted,
      capped: there.length - records.length,
    });
  }
  return parts;
}

/** One sentence on what was read. */
export function describePart(p: TripletPart): string {
  const notes = [
    p.factor === 1 ? "" : `counted ${p.factor} times`,
    p.capped ? `${p.capped} left out by max_samples` : "",
    p.missing ? `${p.missing} left out because a picture is missing` : "",
    p.untargeted ? `${p.untargeted} left out because they name no target` : "",
  ].filter(Boolean);
  return `${p.path}: ${p.records.length} triplets${notes.length ? `, ${notes.join(", ")}` : ""}`;
}

function capped<T>(records: readonly T[], most: number | undefined, seed: number, path: string): readonly T[] {
  if (most === undefined || records.length <= most) return records;
  const order = new Rng(seed, `cap ${path.split("/").slice(-2).join("/")}`).shuffle(records.map((_, i) => i));
  return order
    .slice(0, most)
    .sort((a, b) => a - b)
    .map((i) => records[i]);
}

async function readFileOf(file: TripletFile): Promise<{ records: TripletRecord[]; untargeted: number }> {
  const text = await readFile(file.path, "utf8").catch((error: unknown) => {
    throw new WorldlineError(`${file.path} cannot be read: ${reasonOf(error)}`);
  });
  if (!text.trimStart().startsWith("[")) {
    if (file.root !== undefined && !isAbsolute(file.root)) file = { ...file, root: resolve(file.root) };
    return { records: await readRecords<TripletRecord>(file.path, ["action"], file.root), untargeted: 0 };
  }
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    throw new WorldlineError(`${file.path} is no JSON (${(error as Error).message}); AURORA's files are one list of objects`);
  }
  return auroraRecords(list as unknown[], file);
}

/** AURORA's entries as triplets. Entries without output (half of its test file) are counted and left out. */
function auroraRecords(list: readonly unknown[], file: TripletFile): { records: TripletRecord[]; untargeted: number } {
  const entries = list.map((entry, i) => {
    const words = isObject(entry) ? (entry.instruction ?? entry.prompt) : undefined;
    if (!isObject(entry) || typeof entry.input !== "string" || typeof words !== "string")
      throw new WorldlineError(`${file.path}: entry ${i} has no "input" and "instruction" as text; AURORA's entries have both`);
    return { input: entry.input, output: entry.output, words, task: entry.task, id: entry.id ?? entry.img_id ?? i };
  });
  const targeted = entries.filter((e): e is typeof e & { output: string } => typeof e.output === "string" && e.output !== "");
  const root = rootFor(
    file,
    targeted.flatMap((e) => [e.input, e.output]),
  );
  const place = (p: string) => (isAbsolute(p) ? p : join(root, p));
  const records = targeted.map((e) => ({
    id: `${e.task ?? "aurora"}-${e.id}`,
    source: place(e.input),
    target: place(e.output),
    action: e.words,
    ...(typeof e.task === "string" ? { family: e.task } : {}),
  }));
  return { records, untargeted: entries.length - targeted.length };
}

/** The given root, or the nearest folder above the file under which one of the first pictures lies: AURORA's paths start at its repository. */
function rootFor(file: TripletFile, pictures: readonly string[]): string {
  if (file.root !== undefined) return file.root;
  const home = dirname(resolve(file.path));
  const sample = pictures.slice(0, 50);
  for (let folder = home; ; folder = dirname(folder)) {
    if (sample.some((p) => existsSync(join(folder, p)))) return folder;
    if (dirname(folder) === folder) return home;
  }
}
