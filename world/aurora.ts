// AURORA's files (github.com/McGill-NLP/AURORA) as records: test.json of AURORA-Bench and the train.json of each part, lists of {instruction, input,
// output, task}. Entries without a target, and those whose pictures are missing on disk (2 of 250 in the published benchmark), are left out and counted.
import { existsSync } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { isObject } from "../weights/source.ts";
import type { TripletRecord } from "./records.ts";

/** The parts of AURORA-Bench that have targets, with the names of the paper's tables. */
export const subsets: Readonly<Record<string, string>> = {
  magicbrush: "MagicBrush",
  ag: "Action-Genome",
  something: "Something",
  whatsup: "WhatsUp",
  kubric: "Kubric",
};

export interface AuroraSet {
  /** One triplet per usable entry; `family` is the part it comes from. */
  readonly records: readonly TripletRecord[];
  /** Entries whose source or target picture is not on disk, by part. */
  readonly missing: Readonly<Record<string, number>>;
  /** Entries without any target, by part. */
  readonly untargeted: Readonly<Record<string, number>>;
}

/** Reads a benchmark folder (its test.json) or one JSON file in AURORA's form. Ids are the part and the place within it: kubric-007. */
export async function readAurora(path: string): Promise<AuroraSet> {
  const folder = (await stat(path).catch(() => undefined))?.isDirectory() ?? false;
  const file = folder ? join(path, "test.json") : path;
  const entries = parse(
    await readFile(file, "utf8").catch(() => {
      throw new WorldlineError(`${file} cannot be read; give the folder of AURORA-Bench (with test.json) or one of AURORA's JSON files`);
    }),
    file,
  );
  const records: TripletRecord[] = [];
  const [missing, untargeted, counts]: Record<string, number>[] = [{}, {}, {}];
  for (const [i, entry] of entries.entries()) {
    const { instruction, prompt, input, output, task = basename(dirname(resolve(file))) } = entry;
    const action = instruction ?? prompt;
    if (typeof input !== "string" || typeof action !== "string" || typeof task !== "string")
      throw new WorldlineError(`${file}: entry ${i + 1} has no input or no instruction; entries need instruction, input, output`);
    const id = `${task}-${String((counts[task] = (counts[task] ?? 0) + 1) - 1).padStart(3, "0")}`;
    const target = Array.isArray(output) ? output[0] : output;
    if (typeof target !== "string" || target === "") {
      untargeted[task] = (untargeted[task] ?? 0) + 1;
      continue;
    }
    const [from, to] = [input, target].map((p) => place(p, file));
    if (from === undefined || to === undefined) missing[task] = (missing[task] ?? 0) + 1;
    else records.push({ id, source: from, target: to, action, family: task });
  }
  return { records, missing, untargeted };
}

function parse(text: string, file: string): Record<string, unknown>[] {
  try {
    const value: unknown = JSON.parse(text);
    if (Array.isArray(value) && value.every(isObject)) return value;
  } catch {
    // Said below, as for JSON that is no list.
  }
  throw new WorldlineError(`${file} is no JSON list of objects; is it one of AURORA's files?`);
}

/** Paths are relative to the file in some parts and to the repository's root in others. */
function place(path: string, file: string): string | undefined {
  let base = dirname(resolve(file));
  for (let up = 0; up < 4; up++, base = dirname(base)) if (existsSync(join(base, path))) return join(base, path);
  return undefined;
}

/** At most `limit` records of each family, drawn by the seed, in their order: the paper takes 10,000 of Kubric. */
export function subsample(records: readonly TripletRecord[], limit: number, seed: number): TripletRecord[] {
  const chosen = new Set<TripletRecord>();
  for (const family of new Set(records.map((r) => r.family))) {
    const rng = new Rng(seed, `subsample ${family}`);
    const list = records.filter((r) => r.family === family);
    for (let i = 0; i < Math.min(limit, list.length); i++) {
      const j = i + rng.int(list.length - i);
      [list[i], list[j]] = [list[j], list[i]];
      chosen.add(list[i]);
    }
  }
  return records.filter((r) => chosen.has(r));
}
