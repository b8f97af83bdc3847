// Evaluation on records with targets: any system's pictures, one file per record id, are measured against the targets; a system that copies the source
// is always among them. Samples are appended to a file as they come, so a run that was stopped, even by kill -9, goes on; at the end they are written in
// the records' order, so that the files of a resumed run are those of an undisturbed one.
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { appendFile, mkdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import type { Picture } from "../tokenizer/pixels.ts";
import { clearLeftovers } from "../weights/file_source.ts";
import type { Progress } from "./codes.ts";
import { type Judge, JudgeError, type Verdict } from "./judge.ts";
import { l1, psnr, ssim } from "./metrics/index.ts";
import { decodePicture } from "./pictures.ts";
import { type TripletRecord, writeText } from "./records.ts";
import { sideBySide } from "./side_by_side.ts";

/** A system under test: where its picture for a record is; undefined where it made none. */
export interface BenchSystem {
  readonly name: string;
  readonly pictureOf: (record: TripletRecord) => string | undefined;
}

/** The baseline in every table. */
export const copySystem: BenchSystem = { name: "copy", pictureOf: (record) => record.source };

/** A system as a folder of pictures named by record id: kubric-007.png (or jpg, jpeg, webp). */
export function folderSystem(name: string, folder: string): BenchSystem {
  if (!existsSync(folder)) throw new WorldlineError(`${folder} does not exist; ${name} needs a folder with a picture per record, <id>.png`);
  const endings = ["png", "jpg", "jpeg", "webp"];
  return {
    name,
    pictureOf: ({ id }) => endings.map((ending) => join(folder, `${id}.${ending}`)).find(existsSync),
  };
}

/** What is measured on a prediction. */
export interface PictureMetric {
  readonly name: string;
  /** Names the model that measures, so that samples of another one are not taken for this one's. */
  readonly by?: string;
  readonly of: (prediction: Picture, target: Picture, record: TripletRecord) => number | Promise<number>;
}

/** Metrics that need nothing but pixels. */
export const pixelMetrics: readonly PictureMetric[] = [
  { name: "l1", of: l1 },
  { name: "psnr", of: psnr },
  { name: "ssim", of: ssim },
];

/** One system's result on one record. */
export interface Sample {
  readonly id: string;
  readonly subset: string;
  readonly system: string;
  readonly action: string;
  readonly metrics: Readonly<Record<string, number>>;
  readonly verdict?: Verdict;
  /** Why the judge gave no verdict, where it was asked. */
  readonly judge_failed?: string;
  /** Names the contents that were measured, and how. */
  readonly key: string;
}

export interface BenchOptions {
  readonly metrics: readonly PictureMetric[];
  readonly judge?: { readonly judge: Judge; readonly name: string };
  /** Samples at a time; more than a few only pay with a judge far away. */
  readonly jobs?: number;
  readonly onProgress?: Progress;
  readonly signal?: AbortSignal;
}

/** Samples of every system on every record it has a picture for, in the records' order; written to <out>/samples.jsonl. */
export async function measureSystems(
  records: readonly TripletRecord[],
  systems: readonly BenchSystem[],
  out: string,
  { metrics, judge, jobs = 2, onProgress, signal }: BenchOptions,
): Promise<Sample[]> {
  const twice = systems.find((s, i) => systems.findIndex((o) => o.name === s.name) !== i);
  if (twice) throw new WorldlineError(`eval: two systems are called ${twice.name}; give each its own name`);
  await mkdir(out, { recursive: true });
  await clearLeftovers(out);
  const final = join(out, "samples.jsonl");
  const partial = join(out, "samples.partial.jsonl");
  const before = new Map([...(await readSamples(final)), ...(await readSamples(partial))].map((s) => [s.key, s]));
  const tasks = records.flatMap((record) =>
    systems.flatMap((system) => {
      const path = system.pictureOf(record);
      return path === undefined ? [] : [{ record, system: system.name, path }];
    }),
  );
  const how = [metrics.map((m) => (m.by ? `${m.name} by ${m.by}` : m.name)), judge?.name ?? null];
  const samples = new Array<Sample>(tasks.length);
  let done = 0;
  await sideBySide(tasks.length, jobs, async (i) => {
    signal?.throwIfAborted();
    const { record, system, path } = tasks[i];
    const files = [await bytesOf(path), await bytesOf(record.target), await bytesOf(record.source)];
    const digests = files.map((f) => createHash("sha256").update(f).digest("hex"));
    const key = hashOf([record.id, system, record.action, how, digests, ...(record.caption === undefined ? [] : [record.caption])]);
    const kept = before.get(key);
    if (kept && kept.judge_failed === undefined) samples[i] = { ...kept, subset: record.family ?? "all" };
    else {
      const [prediction, target, source] = await Promise.all(
        files.map((f, n) => decodePicture(f, [path, record.target, record.source][n])),
      );
      const values: Record<string, number> = {};
      for (const metric of metrics) values[metric.name] = await metric.of(prediction, target, record);
      const common = { id: record.id, subset: record.family ?? "all", system, action: record.action, metrics: values };
      const asked = judge && (await ask(judge.judge, { source, edited: prediction, instruction: record.action }, signal));
      samples[i] = { ...common, ...asked, key };
      await appendFile(partial, `${JSON.stringify(samples[i])}\n`);
    }
    onProgress?.(++done, tasks.length);
  });
  await writeText(final, samples.map((s) => `${JSON.stringify(s)}\n`).join(""));
  await rm(partial, { force: true });
  return samples;
}

async function ask(
  judge: Judge,
  item: Parameters<Judge["judge"]>[0],
  signal?: AbortSignal,
): Promise<Pick<Sample, "verdict" | "judge_failed">> {
  try {
    return { verdict: await judge.judge(item, signal) };
  } catch (error) {
    if (error instanceof JudgeError && error.answered) return { judge_failed: error.message };
    throw error;
  }
}

/** Samples of an earlier run; a last line that was cut off is passed over. */
async function readSamples(path: string): Promise<Sample[]> {
  const text = await readFile(path, "utf8").catch(() => "");
  return text.split("\n").flatMap((line) => {
    try {
      return line ? [JSON.parse(line) as Sample] : [];
    } catch {
      return [];
    }
  });
}

function bytesOf(path: string): Promise<Uint8Array> {
  return readFile(path).catch((cause: Error) => {
    throw new WorldlineError(`${path} cannot be read: ${cause.message.split(",")[0]}; check the records and the folder of pictures`);
  });
}

const hashOf = (value: unknown) => createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 24);
