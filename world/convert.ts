// Converts a model folder: element types, Meta's or Hugging Face's names and row order, a merged adapter, shards. Tensor by tensor, into a folder
// beside the target that is renamed when it is whole.

import { readdir, readFile, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { type AdapterFile, mergedTensor, openAdapter } from "../weights/adapter.ts";
import { type Checkpoint, openCheckpoint, saveCheckpoint } from "../weights/checkpoint.ts";
import { byteLength, type FloatDtype, toFloat32 } from "../weights/dtypes.ts";
import { fromMeta, isMetaOrder, toMeta } from "../weights/meta_order.ts";
import { parseConfig, vocabularyFromTokenizer } from "../weights/names.ts";
import { parseJsonObject } from "../weights/source.ts";
import { defaultGroupSize, isMatrix, quantizationMetadata, quantizationOf, type StoredType, schemeOf } from "../weights/stored.ts";
import { asFloat, asQuantized, changed, plainTensors, storedTensors, type TensorStream, tensorData } from "../weights/stream.ts";

export interface ConvertOptions {
  /** Type of the language model's matrices, and where it is a float of its other tensors too; default: as stored. */
  readonly dtype?: StoredType;
  /** Values that share a scale in int8 and int4. */
  readonly groupSize?: number;
  /** The picture model's; default: as stored, because its codes flip easily in half precision. */
  readonly pictureDtype?: FloatDtype;
  /** Names and row order; default "hf". Files of both orders are read. */
  readonly names?: "hf" | "meta";
  /** Folder of a LoRA adapter to be merged. */
  readonly adapter?: string;
  /** Most bytes of one file. Default 5 GB. */
  readonly shardBytes?: number;
  readonly overwrite?: boolean;
  readonly onProgress?: (done: number, total: number) => void;
}

export interface Converted {
  readonly tensors: number;
  readonly bytes: number;
  /** Matrices that the adapter changed. */
  readonly merged: number;
}

/** The largest shard unless told otherwise, as in the transformers library. */
export const defaultShard = 5e9;

/** Converts `folder` into the new folder `out`. On any failure `out` is as before. */
export async function convertModel(folder: string, out: string, o: ConvertOptions): Promise<Converted> {
  if (resolve(folder) === resolve(out)) throw new WorldlineError(`${out}: a model cannot be converted onto itself; give another folder`);
  const checkpoint = await openCheckpoint(folder);
  const adapter = o.adapter === undefined ? undefined : await openAdapter(o.adapter);
  try {
    const { tensors, merged, metadata } = await steps(folder, checkpoint, adapter, o);
    const total = tensors.reduce((sum, t) => sum + (byteLength(t.shape, t.dtype) ?? 0), 0);
    let done = 0;
    const count = (bytes: number) => o.onProgress?.((done += bytes), total);
    const content = {
      config: configFor(checkpoint.config, tensors),
      tensors: tensors.map((t) => tensorData(t, count)),
      files: await sideFiles(folder),
    };
    await saveCheckpoint(out, content, { overwrite: o.overwrite, shardBytes: o.shardBytes ?? defaultShard, metadata });
    return { tensors: tensors.length, bytes: total, merged };
  } finally {
    await checkpoint.close();
    await adapter?.close();
  }
}

interface Steps {
  readonly tensors: TensorStream[];
  readonly merged: number;
  readonly metadata?: Record<string, string>;
}

const floats: Partial<Record<StoredType, FloatDtype>> = { f32: "F32", bf16: "BF16", f16: "F16" };

/** The tensors to be written, each as a chain of steps over what is stored. */
async function steps(folder: string, checkpoint: Checkpoint, adapter: AdapterFile | undefined, o: ConvertOptions): Promise<Steps> {
  const names = checkpoint.config.vocabulary_map ? undefined : await tokenizerNames(folder);
  const config = parseConfig(checkpoint.config, join(folder, "config.json"), names);
  const quantised = quantizationOf(checkpoint.metadata, folder) !== undefined;
  const scheme = schemeOf({ dtype: o.dtype ?? "f32", groupSize: o.groupSize ?? defaultGroupSize });
  if (quantised && !o.dtype && !adapter && o.names !== "meta")
    return { tensors: storedTensors(checkpoint), merged: 0, metadata: checkpoint.metadata };
  if (quantised && !(o.dtype && floats[o.dtype]))
    throw new WorldlineError(`${folder} is quantised already; start from the model it was made of, or give --dtype f32, bf16 or f16`);
  if (scheme && o.names === "meta") throw new WorldlineError("quantised folders have Hugging Face's names; leave --names meta out");
  let tensors = plainTensors(checkpoint);
  if (isMetaOrder(checkpoint)) tensors = fromMeta(tensors, config);
  const storedAs = new Map(tensors.map((t) => [t.name, t.dtype]));
  const merged = adapter ? checkAdapter(adapter, tensors) : [];
  if (adapter) tensors = tensors.map((t) => (merged.includes(t.name) ? withAdapter(t, adapter) : t));
  const columns = new Map(tensors.filter((t) => isMatrix(t.name)).map((t) => [t.name, t.shape[1]]));
  tensors = tensors.flatMap((t) => {
    if (scheme && isMatrix(t.name)) return asQuantized(t, scheme);
    const own = storedAs.get(t.name)!;
    const wanted = (isPicture(t.name) ? o.pictureDtype : o.dtype && floats[o.dtype]) ?? (isFloat(own) ? own : undefined);
    return [wanted ? asFloat(t, wanted) : t];
  });
  if (o.names === "meta") tensors = await toMeta(tensors, config);
  if (!scheme) return { tensors, merged: merged.length };
  return { tensors, merged: merged.length, metadata: { format: "worldline", ...quantizationMetadata(scheme, columns) } };
}

const isFloat = (dtype: string): dtype is FloatDtype => dtype === "F32" || dtype === "F16" || dtype === "BF16";
const isPicture = (name: string) => name.startsWith("model.vqmodel.");

/** Names of the tensors that the adapter changes. Throws where the model has no such tensor, or one of another shape. */
function checkAdapter(adapter: AdapterFile, tensors: readonly TensorStream[]): string[] {
  const shapes = new Map(tensors.map((t) => [t.name, t.shape]));
  const touched = new Set(adapter.names.map((name) => name.replace(/\.lora_[AB]\.weight$/, ".weight")));
  for (const name of touched) {
    const module = name.replace(/\.weight$/, "");
    const ours = shapes.get(name)?.join(" x ");
    const pair = adapter.has(`${module}.lora_A.weight`);
    const theirs = pair ? [adapter.shape(`${module}.lora_B.weight`)[0], adapter.shape(`${module}.lora_A.weight`)[1]] : adapter.shape(name);
    if (ours !== theirs.join(" x "))
      throw new WorldlineError(
        `${adapter.folder}: the adapter changes ${name} of ${theirs.join(" x ")} values, this model has ${ours ?? "none"}; it belongs to another base`,
      );
  }
  return [...touched];
}

/** W + s B A in f32; the next step rounds once. */
function withAdapter(t: TensorStream, adapter: AdapterFile): TensorStream {
  return changed(t, { dtype: "F32" }, async (bytes) => {
    const sum = await mergedTensor(adapter, t.name, toFloat32(bytes, t.dtype));
    return new Uint8Array(sum.buffer, sum.byteOffset, sum.byteLength);
  });
}

async function tokenizerNames(folder: string): Promise<Record<string, number> | undefined> {
  const path = join(folder, "tokenizer.json");
  const text = await readFile(path, "utf8").catch(() => undefined);
  return text === undefined ? undefined : vocabularyFromTokenizer(parseJsonObject(text, path), path);
}

/** config.json as it stands, with the element type of most of the language model. */
function configFor(config: Record<string, unknown>, tensors: readonly TensorStream[]): Record<string, unknown> {
  const dtype = tensors.find((t) => /embed|norm/.test(t.name) && !isPicture(t.name) && isFloat(t.dtype))?.dtype;
  const name = dtype && isFloat(dtype) ? { F32: "float32", F16: "float16", BF16: "bfloat16" }[dtype] : undefined;
  if (!name) return config;
  return config.dtype !== undefined && config.torch_dtype === undefined ? { ...config, dtype: name } : { ...config, torch_dtype: name };
}

const largestSideFile = 1 << 27;

/** The small files that stand beside the weights: tokenizer, processors, templates, model card. */
async function sideFiles(folder: string): Promise<Record<string, Uint8Array>> {
  const files: Record<string, Uint8Array> = {};
  for (const name of (await readdir(folder)).sort()) {
    if (name === "config.json" || !/^\w[\w.-]*\.(json|jinja|txt|md|model)$/.test(name) || /\.(safetensors|bin)\.index\.json$/.test(name))
      continue;
    const info = await stat(join(folder, name));
    if (info.isFile() && info.size <= largestSideFile) files[name] = await readFile(join(folder, name));
  }
  return files;
}
