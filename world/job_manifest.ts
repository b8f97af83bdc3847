// Work cut into shards: a TOML file names a stage, its inputs and options; `cut` makes a list of shards of it, each named by its content (stage,
// options, records, the bytes of their files, the models), so that a shard whose file is there is done, whoever did it. Shards become
// <out>/shards/<id>.jsonl, written whole or not at all, and are joined in the list's order.

import { createHash } from "node:crypto";
import { createReadStream, existsSync } from "node:fs";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { parse } from "smol-toml";
import { z } from "zod";
import { WorldlineError } from "../engine/errors.ts";
import { type FileChoice, modelFolder } from "../weights/hub.ts";
import { storedTypes } from "../weights/stored.ts";
import { contentKey, modelKey } from "./answers.ts";
import { folderSystem } from "./bench.ts";
import { defaultAnnotate } from "./cdm.ts";
import { uniqueNames } from "./frame_files.ts";
import { clipFiles, modelFiles, onnxFilesOf } from "./metrics/onnx_pictures.ts";
import { checkPictureIds } from "./predictions.ts";
import { type PairRecord, readRecords, type TripletRecord, writeText } from "./records.ts";
import { listVideos } from "./video.ts";

const whole = (least: number) => z.number().int().min(least);
const text = z.string().min(1);
const storage = { dtype: z.enum(storedTypes).optional(), group_size: whole(8).optional() };
const sampling = { temperature: z.number().min(0).max(100), seed: whole(0).default(0) };

const stages = z.discriminatedUnion("stage", [
  z.strictObject({
    stage: z.literal("frames"),
    videos: z.array(text).min(1),
    shard: whole(1).default(1),
    key_frames: z.enum(["motion", "rest"]).default("motion"),
    measure: z.enum(["flow", "difference"]).default("flow"),
    count: whole(1).default(6),
    spacing: whole(1).default(20),
    size: z.union([whole(1), z.literal("native")]).default(512),
    square: z.enum(["crop", "pad"]).optional(),
    fps: z.number().positive().optional(),
    classes: z.boolean().default(false),
  }),
  z.strictObject({
    stage: z.literal("annotate"),
    data: text,
    cdm: text,
    shard: whole(1).default(64),
    ...sampling,
    temperature: sampling.temperature.default(0),
    max_tokens: whole(1).default(defaultAnnotate.maxTokens),
    ...storage,
  }),
  z.strictObject({
    stage: z.literal("edit"),
    data: text,
    cwm: text,
    cdm: text.optional(),
    shard: whole(1).default(16),
    ...sampling,
    temperature: sampling.temperature.default(0.5),
    top_p: z.number().gt(0).max(1).default(1),
    candidates: whole(1).default(8),
    pictures: z.boolean().default(true),
    ...storage,
  }),
  z.strictObject({
    stage: z.literal("eval"),
    data: text,
    systems: z.record(text, text).default({}),
    shard: whole(1).default(32),
    model: text.optional(),
    clip: text.optional(),
    dino: text.optional(),
  }),
]);

/** A stage with its inputs and options; paths are absolute. */
export type Work = z.infer<typeof stages>;
/** A video and the name its frames go by. */
export interface VideoInput {
  readonly video: string;
  readonly name: string;
}
/** A part of the work; `first` is where its first input stands in the whole. */
export interface Shard {
  readonly id: string;
  readonly first: number;
  readonly inputs: readonly (PairRecord | TripletRecord | VideoInput)[];
}
/** Work cut into shards; `models` names the models by their content. */
export interface Manifest {
  readonly work: Work;
  readonly models: string;
  readonly shards: readonly Shard[];
}

/** The file a stage's shards are joined to. */
export const finals: Readonly<Record<Work["stage"], string>> = {
  frames: "pairs.jsonl",
  annotate: "annotated.jsonl",
  edit: "predictions.jsonl",
  eval: "samples.jsonl",
};

/** Reads a TOML file of work; its paths are relative to it. Throws a sentence that names what is wrong. */
export async function readWork(path: string): Promise<Work> {
  const source = await readFile(path, "utf8").catch((cause: Error) => {
    throw new WorldlineError(`${path} cannot be read: ${cause.message.split(",")[0]}; check the path`);
  });
  let value: unknown;
  try {
    value = parse(source);
  } catch (error) {
    throw new WorldlineError(`${path} is no TOML: ${(error as Error).message.split("\n")[0]}`);
  }
  const result = stages.safeParse(value);
  if (!result.success) {
    const { path: at, message } = result.error.issues[0];
    throw new WorldlineError(`${path}: ${at.length ? `${at.join(".")}: ` : ""}${message}`);
  }
  const place = (p: string) => (isAbsolute(p) ? p : resolve(dirname(path), p));
  // A model may be a hub id: it is a path only where there is something at it.
  const model = (p: string) => (existsSync(place(p)) ? place(p) : p);
  const work = result.data;
  if (work.stage === "frames") return { ...work, videos: work.videos.map(place) };
  const placed = { ...work, data: place(work.data) };
  if (placed.stage === "annotate") return { ...placed, cdm: model(placed.cdm) };
  if (placed.stage === "edit") return { ...placed, cwm: model(placed.cwm), ...(placed.cdm && { cdm: model(placed.cdm) }) };
  const systems = Object.fromEntries(Object.entries(placed.systems).map(([name, folder]) => [name, place(folder)]));
  const measuring = (["model", "clip", "dino"] as const).flatMap((key) => (placed[key] ? [[key, model(placed[key])]] : []));
  return { ...placed, systems, ...Object.fromEntries(measuring) };
}

/** Names the models of a piece of work by their content; worker and list must agree. */
export async function modelsKey(work: Work): Promise<string> {
  const { models = [], onnx = [] } = modelsOf(work);
  const keys: string[] = [];
  for (const name of models) if (name) keys.push(await modelKey(await modelFolder(name)));
  for (const [name, weights] of onnx) {
    if (!name) continue;
    const folder = await modelFolder(name, { weights });
    keys.push(await modelKey(folder));
    for (const file of await onnxFilesOf(folder, weights)) keys.push(await hashOf(join(folder, file)));
  }
  return keys.join(" ");
}

interface WorkModels {
  readonly models?: readonly (string | undefined)[];
  readonly onnx?: readonly (readonly [string | undefined, FileChoice])[];
}

function modelsOf(work: Work): WorkModels {
  if (work.stage === "annotate") return { models: [work.cdm] };
  if (work.stage === "edit") return { models: [work.cwm, work.cdm] };
  if (work.stage === "frames") return {};
  return {
    models: [work.model],
    onnx: [
      [work.clip, clipFiles],
      [work.dino, modelFiles],
    ],
  };
}

/** Cuts work into shards. Reads every input once, for its hash. */
export async function cut(work: Work, onProgress?: (done: number, total: number) => void): Promise<Manifest> {
  const inputs = await inputsOf(work);
  if (inputs.length === 0) throw new WorldlineError("the work has no inputs; check the paths in its file");
  const models = await modelsKey(work);
  const shards: Shard[] = [];
  for (let first = 0; first < inputs.length; first += work.shard) {
    const part = inputs.slice(first, first + work.shard);
    shards.push({ id: await shardId(work, models, first, part), first, inputs: part });
    onProgress?.(Math.min(inputs.length, first + work.shard), inputs.length);
  }
  return { work, models, shards };
}

async function inputsOf(work: Work): Promise<Shard["inputs"]> {
  if (work.stage === "frames") {
    const videos = await listVideos(work.videos);
    const names = uniqueNames(videos);
    return videos.map((video, i) => ({ video, name: names[i] }));
  }
  const records = await readRecords<TripletRecord>(work.data, work.stage === "annotate" ? [] : ["action"]);
  const seen = new Set<string>();
  for (const { id } of records) {
    if (seen.has(id)) throw new WorldlineError(`${work.data}: two records are called "${id}"; give each its own id`);
    seen.add(id);
  }
  if (work.stage === "edit" && work.pictures) checkPictureIds(records);
  return records.map((r) => ({ ...r, source: resolve(r.source), target: resolve(r.target) }));
}

/** The name of a shard: a hash of everything that decides its result. */
export async function shardId(work: Work, models: string, first: number, inputs: Shard["inputs"]): Promise<string> {
  const paths = inputs.flatMap((input) => {
    if ("video" in input) return [input.video];
    if (work.stage === "edit") return [input.source];
    const systems = work.stage === "eval" ? Object.entries(work.systems) : [];
    const drawn = systems.map(([name, folder]) => folderSystem(name, folder).pictureOf(input as TripletRecord));
    return [input.source, input.target, ...drawn.filter((path) => path !== undefined)];
  });
  const hashes: string[] = [];
  for (const path of paths) hashes.push(await hashOf(path));
  // Only draws depend on where a record stands.
  const place = work.stage === "edit" ? `${first}` : "";
  return contentKey(JSON.stringify(work), models, place, JSON.stringify(inputs), hashes.join(" "));
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  try {
    if ((await stat(path)).isDirectory())
      for (const name of (await readdir(path)).sort()) hash.update(`${name} ${await hashOf(join(path, name))} `);
    else for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  } catch (cause) {
    throw new WorldlineError(`${path} cannot be read: ${(cause as Error).message.split(",")[0]}; check the inputs`);
  }
  return hash.digest("hex");
}

const listPath = (out: string) => join(out, "jobs.json");
/** Where a shard's work is kept while it is under way. */
export const partialPath = (out: string, id: string): string => join(out, "partial", id);
const shardPath = (out: string, id: string) => join(out, "shards", `${id}.jsonl`);

/** Writes the list of shards to <out>/jobs.json. A folder of another stage is refused; the same stage over other inputs or options replaces the list. */
export async function writeManifest(out: string, manifest: Manifest): Promise<void> {
  const before = await readManifest(out).catch(() => undefined);
  if (before && before.work.stage !== manifest.work.stage)
    throw new WorldlineError(`${out} holds jobs of the stage ${before.work.stage}; choose another folder for ${manifest.work.stage}`);
  await writeText(listPath(out), `${JSON.stringify(manifest)}\n`);
}

/** Reads it back. */
export async function readManifest(out: string): Promise<Manifest> {
  try {
    return JSON.parse(await readFile(listPath(out), "utf8")) as Manifest;
  } catch {
    throw new WorldlineError(`${listPath(out)} is no list of jobs; make one with \`worldline jobs submit <file.toml> --out ${out}\``);
  }
}

/** The shards whose files are not there. */
export async function missingShards(out: string, { shards }: Manifest): Promise<Shard[]> {
  const there = new Set(await readdir(join(out, "shards")).catch(() => []));
  return shards.filter(({ id }) => !there.has(`${id}.jsonl`));
}

/** Whether a shard's file is there. */
export const isDone = (out: string, id: string): boolean => existsSync(shardPath(out, id));

/** Writes a shard's lines, whole or not at all. */
export function writeShard(out: string, id: string, lines: readonly unknown[]): Promise<void> {
  return writeText(shardPath(out, id), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
}

/** What a join gave: the file, its lines, and what was left out with the reason. */
export interface Joined {
  readonly path: string;
  readonly lines: number;
  readonly failed: readonly { readonly video: string; readonly failed: string }[];
}

/** Joins the shards in their order to the stage's final file; undefined while one is missing. */
export async function joinShards(out: string, manifest: Manifest): Promise<Joined | undefined> {
  if ((await missingShards(out, manifest)).length) return undefined;
  const path = join(out, finals[manifest.work.stage]);
  const lines: string[] = [];
  for (const { id } of manifest.shards) lines.push(...(await readFile(shardPath(out, id), "utf8")).split("\n").filter(Boolean));
  const bad = lines.filter((line) => line.startsWith('{"failed":'));
  const good = lines.filter((line) => !line.startsWith('{"failed":'));
  const joined = good.map((line) => `${line}\n`).join("");
  if ((await readFile(path, "utf8").catch(() => undefined)) !== joined) await writeText(path, joined);
  await rm(join(out, "partial"), { recursive: true, force: true });
  return { path, lines: good.length, failed: bad.map((line) => JSON.parse(line) as Joined["failed"][number]) };
}
