// Flags and steps that several commands share: models, records, the cache of picture codes.
import { extname } from "node:path";
import { type Command, Option } from "commander";
import type { Device } from "../engine/device.ts";
import { openDevice } from "../engine/node.ts";
import { type FileChoice, modelFolder } from "../weights/hub.ts";
import { defaultGroupSize, type StoredType, storedTypes } from "../weights/stored.ts";
import { CodeStore } from "../world/codes.ts";
import { figure } from "../world/markup.ts";
import { type LoadOptions, loadModel, type Model } from "../world/model.ts";
import type { ShotRow } from "../world/page.ts";
import { readPicture } from "../world/pictures.ts";
import type { AnnotatedRecord } from "../world/records.ts";
import { count, progress, say, status } from "./terminal.ts";

/** Adds the flags of commands that encode pictures. */
export function withCache(command: Command): Command {
  return command.option("--cache <file>", "keep picture codes in this file between runs");
}

/** The page that goes with a file a command writes: `given`, or the file's name with .html for its ending. */
export function reportPath(out: string, given?: string): string {
  return given ?? `${out.slice(0, out.length - extname(out).length)}.html`;
}

/** Flags of `withStorage`. */
export interface StorageFlags {
  readonly dtype?: StoredType;
  readonly groupSize?: number;
}

/** Adds the flags of commands that load a model to use it, not to train it whole. */
export function withStorage(command: Command): Command {
  return command
    .addOption(
      new Option(
        "--dtype <type>",
        "type of the transformer's matrices on the device; a quantised folder has its own, else f32 unless told",
      ).choices(storedTypes),
    )
    .option(
      "--group-size <n>",
      `values that share a scale in int8 and int4, a power of two (default ${defaultGroupSize})`,
      count(8, 65536),
    );
}

/** What loadModel is told under those flags: the memory to be taken is printed, and progress where it takes long. */
export function storageOptions({ dtype, groupSize }: StorageFlags): LoadOptions {
  const begin = performance.now();
  const onBytes = (done: number, total: number) => {
    const seconds = (performance.now() - begin) / 1000;
    if (seconds > 1) status(`loading ${(done / 2 ** 30).toFixed(2)} of ${(total / 2 ** 30).toFixed(2)} GiB`);
  };
  return { dtype, groupSize, onBytes, ...(dtype ? { onNotice: say } : {}) };
}

/** A device, a model on it and its picture codes. */
export interface Session {
  readonly device: Device;
  readonly model: Model;
  readonly codes: CodeStore;
}

/**
 * The folder of a model given on the command line: a path, or a hub id (`org/name`, `org/name@revision`) that is fetched into the hub's cache
 * with a progress line where it is not there. Without `weights` only the small files are;
 * a list names other files than safetensors.
 */
export async function folderOf(name: string, signal?: AbortSignal, weights: boolean | FileChoice = true): Promise<string> {
  let shown = 0;
  const begin = performance.now();
  const onProgress = (done: number, total: number) => {
    const now = performance.now();
    if (now - shown < 200 && done < total) return;
    shown = now;
    const rate = done / Math.max(1, now - begin) / 1000;
    status(`${name}: ${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB, ${rate.toFixed(1)} MB/s`);
  };
  return modelFolder(name, { signal, weights, onProgress, onNotice: say });
}

/** Opens a device and a model; without `features` pictures are kept as codes alone. */
export async function open(name: string, cache?: string, storage: StorageFlags = {}, features = true): Promise<Session> {
  const folder = await folderOf(name);
  const device = await openDevice();
  const model = await loadModel(device, folder, storageOptions(storage));
  return { device, model, codes: await CodeStore.open(device, model, cache, features) };
}

/** Encodes the pictures of records with a progress line. */
export async function encodeAll(s: Session, records: readonly { source: string; target?: string }[], signal?: AbortSignal): Promise<void> {
  const paths = records.flatMap((r) => (r.target === undefined ? [r.source] : [r.source, r.target]));
  await s.codes.add(paths, { onProgress: progress("encoding pictures"), signal });
}

/** Up to `most` annotated pairs, evenly from the likeliest to the least likely, with their pictures and scores. */
export async function shownPairs(records: readonly AnnotatedRecord[], most: number): Promise<ShotRow[]> {
  const sorted = [...records].sort((a, b) => b.mean_logprob - a.mean_logprob);
  const n = Math.min(most, sorted.length);
  const chosen = Array.from({ length: n }, (_, i) => sorted[n > 1 ? Math.round((i * (sorted.length - 1)) / (n - 1)) : 0]);
  return Promise.all(
    chosen.map(async (r) => ({
      heading: r.action,
      list: [
        { name: "before", picture: await readPicture(r.source), note: r.id },
        {
          name: "after",
          picture: await readPicture(r.target),
          note: `mean log p ${figure(r.mean_logprob, 2)}, sum ${figure(r.logprob, 2)}`,
        },
      ],
    })),
  );
}
