// What the stages hand each other: JSON-lines files of labelled triplets, unlabelled pairs and predictions. Picture paths are relative to
// the file that names them. A file appears whole or not at all.
import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, join, relative, resolve } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { writeFileAtomic } from "../weights/file_source.ts";
import { isObject } from "../weights/source.ts";

/** Two pictures some time apart. */
export interface PairRecord {
  readonly id: string;
  readonly source: string;
  readonly target: string;
  /** Anything the maker of the data wants to keep: the true scenes of the embedded world, video and frame numbers. */
  readonly meta?: Readonly<Record<string, unknown>>;
}

/** A pair with its action in words. */
export interface TripletRecord extends PairRecord {
  readonly action: string;
  /** What the target shows, in words; CLIP-T compares pictures with it, or with the action where there is none. */
  readonly caption?: string;
  /** The action's class, where known. */
  readonly family?: string;
}

/** A pair that a dynamics model labelled. */
export interface AnnotatedRecord extends TripletRecord {
  /** Summed and mean log-probability of the action's tokens, in nats. */
  readonly logprob: number;
  readonly mean_logprob: number;
  readonly tokens: number;
}

/** Fields that must be text. */
const texts: readonly string[] = ["id", "source", "target", "action"];

/** Reads a JSON-lines file; picture paths, relative to it or to `root`, come back usable from here. Throws a sentence naming the line that is wrong. */
export async function readRecords<T extends PairRecord>(
  path: string,
  need: readonly (keyof T & string)[] = [],
  root = dirname(resolve(path)),
): Promise<T[]> {
  const text = await readFile(path, "utf8").catch((cause: Error) => {
    throw new WorldlineError(`${path} cannot be read: ${cause.message.split(",")[0]}; check the path`);
  });
  const lines = text.split("\n");
  const records: T[] = [];
  lines.forEach((line, i) => {
    if (line.trim() === "") return;
    const record = parseLine<T>(line, `${path}:${i + 1}`);
    for (const key of ["id", "source", "target", ...need] as const) {
      const value = (record as Record<string, unknown>)[key];
      const wanted = `each line needs id, source, target${need.map((n) => `, ${n}`).join("")}`;
      if (value === undefined) throw new WorldlineError(`${path}:${i + 1} has no "${key}"; ${wanted}`);
      if (texts.includes(key) && typeof value !== "string")
        throw new WorldlineError(`${path}:${i + 1}: "${key}" is ${JSON.stringify(value)}; it must be text in quotes`);
    }
    const place = (p: string) => (isAbsolute(p) ? p : join(root, p));
    records.push({ ...record, source: place(record.source), target: place(record.target) });
  });
  return records;
}

function parseLine<T>(line: string, where: string): T {
  try {
    const value: unknown = JSON.parse(line);
    if (isObject(value)) return value as T;
  } catch {
    // Said below, as for JSON that is no object.
  }
  throw new WorldlineError(`${where} is no JSON object; each line must be one`);
}

/** Writes records with picture paths relative to the file. */
export async function writeRecords(path: string, records: readonly PairRecord[]): Promise<void> {
  const base = dirname(resolve(path));
  const place = (p: string) => relative(base, resolve(p));
  await writeText(path, records.map((r) => JSON.stringify({ ...r, source: place(r.source), target: place(r.target) })).join("\n") + "\n");
}

/** Writes a text file whole or not at all. */
export function writeText(path: string, text: string): Promise<void> {
  return writeFileAtomic(path, [new TextEncoder().encode(text)]);
}
