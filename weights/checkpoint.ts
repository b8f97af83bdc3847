// A model folder: config.json beside model.safetensors, or beside shards named by model.safetensors.index.json. Tensors are read lazily by
// name. `saveCheckpoint` writes such a folder, all or nothing.

import { WorldlineError } from "../engine/errors.ts";
import { type Dtype, toFloat32 } from "./dtypes.ts";
import { openSafetensors, type Safetensors, type TensorData } from "./safetensors.ts";
import { saveShards } from "./safetensors_write.ts";
import { isObject, quote, readJsonObject, type SourceFolder } from "./source.ts";
import { quantizedIn, readQuantized } from "./stored.ts";

/** A tensor of a checkpoint: which file holds it and what it is. */
export interface CheckpointTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly file: string;
}

export interface Checkpoint {
  /** The folder, for messages. */
  readonly name: string;
  /** config.json as it stands; weights/names.ts gives it types. */
  readonly config: Record<string, unknown>;
  readonly tensors: Map<string, CheckpointTensor>;
  /** `__metadata__` of the files, the first file's word counting. */
  readonly metadata: Record<string, string>;
  has(name: string): boolean;
  /** A tensor's bytes as stored. */
  read(name: string): Promise<Uint8Array>;
  /** Bytes [begin, end) of a tensor, counted from its own start. */
  readRange(name: string, begin: number, end: number, into?: Uint8Array): Promise<Uint8Array>;
  /** A float tensor widened to float32; a quantised matrix as the numbers it stands for. */
  readFloat32(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/** File names that differ between kinds of folders. */
export interface CheckpointFiles {
  /** Default "config.json". */
  readonly config?: string;
  /** Default "model": `<weights>.safetensors` or `<weights>.safetensors.index.json`. */
  readonly weights?: string;
}

/**
 * Opens a model folder: a path (Node) or any SourceFolder. Reads config.json and the headers only. Throws a WorldlineError that names the
 * folder, file or tensor that is missing or damaged.
 */
export async function openCheckpoint(folder: string | SourceFolder, files: CheckpointFiles = {}): Promise<Checkpoint> {
  const source = typeof folder === "string" ? await (await import("./file_source.ts")).fileFolder(folder) : folder;
  const config = await jsonFile(source, files.config ?? "config.json");
  if (!config) throw missing(source, files.config ?? "config.json", "a model folder needs it; is this the right folder?");
  const stem = `${files.weights ?? "model"}.safetensors`;
  const single = await source.open(stem);
  const opened = single ? await openSingle(await openSafetensors(single, at(source, stem)), stem) : await openShards(source, stem);
  return checkpointOf(source.name, config, opened);
}

interface Opened {
  readonly files: Map<string, Safetensors>;
  readonly tensors: Map<string, CheckpointTensor>;
}

async function openSingle(file: Safetensors, stem: string): Promise<Opened> {
  const tensors = new Map([...file.tensors].map(([name, t]) => [name, { name, dtype: t.dtype, shape: t.shape, file: stem }]));
  return { files: new Map([[stem, file]]), tensors };
}

async function openShards(source: SourceFolder, stem: string): Promise<Opened> {
  const indexName = `${stem}.index.json`;
  const index = await jsonFile(source, indexName);
  if (!index) throw missing(source, stem, `neither is ${indexName}; a model folder needs one of the two`);
  const map = index.weight_map;
  if (!isObject(map)) throw new WorldlineError(`${at(source, indexName)}: weight_map is missing; it must map tensor names to file names`);
  const files = new Map<string, Safetensors>();
  try {
    return { files, tensors: await shardTensors(source, indexName, map, files) };
  } catch (error) {
    for (const file of files.values()) await file.close();
    throw error;
  }
}

/** Opens every shard that `map` names (into `files`) and looks each tensor up in its shard. */
async function shardTensors(
  source: SourceFolder,
  indexName: string,
  map: Record<string, unknown>,
  files: Map<string, Safetensors>,
): Promise<Opened["tensors"]> {
  const tensors = new Map<string, CheckpointTensor>();
  for (const [name, file] of Object.entries(map)) {
    if (typeof file !== "string" || !/^[^/\\]+\.safetensors$/.test(file)) {
      throw new WorldlineError(
        `${at(source, indexName)}: tensor ${quote(name)} is said to be in ${quote(file)}; the name of a .safetensors file in this folder is needed`,
      );
    }
    if (!files.has(file)) {
      const shard = await source.open(file);
      if (!shard) throw missing(source, file, `${indexName} names it; download it again`);
      files.set(file, await openSafetensors(shard, at(source, file)));
    }
    const t = files.get(file)?.tensors.get(name);
    if (!t)
      throw new WorldlineError(
        `${at(source, file)}: tensor ${quote(name)} is not in this file, though ${indexName} says so; shards and index are not of one model`,
      );
    tensors.set(name, { name, dtype: t.dtype, shape: t.shape, file });
  }
  return tensors;
}

function checkpointOf(name: string, config: Record<string, unknown>, { files, tensors }: Opened): Checkpoint {
  const find = (tensor: string) => {
    const t = tensors.get(tensor);
    const file = t && files.get(t.file);
    if (!t || !file) throw new WorldlineError(`${name}: there is no tensor ${quote(tensor)} among the ${tensors.size} of this checkpoint`);
    return { t, file };
  };
  const metadata: Record<string, string> = Object.assign({}, ...[...files.values()].reverse().map((file) => file.metadata));
  const checkpoint: Checkpoint = {
    name,
    config,
    tensors,
    metadata,
    has: (tensor) => tensors.has(tensor),
    read: async (tensor) => find(tensor).file.read(tensor),
    readRange: async (tensor, begin, end, into) => find(tensor).file.readRange(tensor, begin, end, into),
    readFloat32: async (tensor) => {
      const { t, file } = find(tensor);
      return quantizedIn(checkpoint, tensor) ? readQuantized(checkpoint, tensor) : toFloat32(await file.read(tensor), t.dtype);
    },
    close: async () => {
      for (const file of files.values()) await file.close();
    },
  };
  return checkpoint;
}

/** What `saveCheckpoint` writes: config.json, model.safetensors (or shards), and further files by name (text, bytes, or a JSON value). */
export interface CheckpointContent {
  readonly config: Record<string, unknown>;
  readonly tensors: readonly TensorData[];
  readonly files?: Record<string, string | Uint8Array | Record<string, unknown>>;
}

/**
 * Writes a model folder through a temporary folder beside it. An existing folder is refused unless `overwrite` is set, and stays as it is
 * where anything fails. Tensors given as functions are made one at a time. More than `shardBytes` become several files with an index.
 */
export async function saveCheckpoint(
  folder: string,
  content: CheckpointContent,
  options: { overwrite?: boolean; metadata?: Record<string, string>; shardBytes?: number } = {},
): Promise<void> {
  const { writeFileAtomic, writeFolderAtomic } = await import("./file_source.ts");
  const files: Record<string, string | Uint8Array | Record<string, unknown>> = { "config.json": content.config, ...content.files };
  for (const name of Object.keys(files)) {
    if (name.includes("/") || name.includes("\\") || name === "" || name.startsWith(".") || name.startsWith("model.safetensors"))
      throw new WorldlineError(
        `${folder}: a file named ${quote(name)} cannot be saved; give plain file names other than model.safetensors`,
      );
  }
  await writeFolderAtomic(folder, options.overwrite ?? false, async (temporary) => {
    await saveShards(temporary, content.tensors, options.shardBytes, options.metadata);
    for (const [name, value] of Object.entries(files)) await writeFileAtomic(`${temporary}/${name}`, [bytesOf(value)]);
  });
}

function bytesOf(value: string | Uint8Array | Record<string, unknown>): Uint8Array {
  if (value instanceof Uint8Array) return value;
  return new TextEncoder().encode(typeof value === "string" ? value : `${JSON.stringify(value, null, 2)}\n`);
}

async function jsonFile(source: SourceFolder, file: string): Promise<Record<string, unknown> | null> {
  const opened = await source.open(file);
  if (!opened) return null;
  try {
    return await readJsonObject(opened, at(source, file));
  } finally {
    await opened.close?.();
  }
}

function at(source: SourceFolder, file: string): string {
  return `${source.name}/${file}`;
}

function missing(source: SourceFolder, file: string, hint: string): WorldlineError {
  return new WorldlineError(`${at(source, file)} is missing: ${hint}`);
}
