// A whole model from a Hugging Face style folder: transformer, picture tokenizer, text tokenizer and one id space; or from a PEFT adapter's folder, which
// names its base. Models over one base share its memory. Saved the same way.
import { readFile, realpath, stat } from "node:fs/promises";
import { isAbsolute, join, resolve } from "node:path";
import type { Device } from "../engine/device.ts";
import { bytesText, WorldlineError } from "../engine/errors.ts";
import { type Chameleon, createChameleon, readTensors, weightBytes } from "../models/chameleon.ts";
import { createAdapter, withAdapter, withoutAdapter } from "../models/lora.ts";
import { createVqgan, saveTensors, type VQGAN } from "../models/vqgan.ts";
import { PictureCoder } from "../tokenizer/image.ts";
import { type PixelConfig, parsePixelConfig } from "../tokenizer/pixels.ts";
import type { Coder } from "../tokenizer/prompt.ts";
import { parseTemplate, type Template } from "../tokenizer/templates.ts";
import { parseTokenizer, type Tokenizer } from "../tokenizer/text.ts";
import { type Vocab, vocabOf } from "../tokenizer/vocab.ts";
import { isAdapterFolder, openAdapter } from "../weights/adapter.ts";
import { type Checkpoint, openCheckpoint, saveCheckpoint } from "../weights/checkpoint.ts";
import { modelFolder } from "../weights/hub.ts";
import { isMetaOrder } from "../weights/meta_order.ts";
import { type ChameleonConfig, checkVocabulary, parseConfig, vqPrefix, writeConfig } from "../weights/names.ts";
import { type FloatDtype, fromFloat32, type TensorData } from "../weights/safetensors.ts";
import { isObject, parseJsonObject } from "../weights/source.ts";
import { defaultGroupSize, quantizationOf, type StoredAs, type StoredType } from "../weights/stored.ts";

export interface Model extends Coder {
  readonly folder: string;
  readonly config: ChameleonConfig;
  readonly lm: Chameleon;
  readonly vqgan: VQGAN;
  readonly pictures: PictureCoder;
  readonly pixels: PixelConfig;
  readonly tokenizer: Tokenizer;
  readonly vocab: Vocab;
  /** The side files, as read, so that a saved model carries them on. */
  readonly files: Readonly<Record<string, string>>;
  /** Where the transformer's base weights are from and how they were asked to be stored, if they were loaded: another adapter over them takes them up. */
  readonly base?: { readonly folder: string } & Pick<LoadOptions, "dtype" | "groupSize">;
}

const sideFiles = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "processor_config.json",
  "preprocessor_config.json",
  "generation_config.json",
  "world.json",
  "prompt.json",
];

/** The template a model was trained with for a role (prompt.json, written by `worldline train`), or the plain one. */
export function promptOf(model: Pick<Model, "files" | "folder">, role: "cdm" | "cwm"): Template {
  const text = model.files["prompt.json"];
  const known = text === undefined ? undefined : parseJsonObject(text, join(model.folder, "prompt.json"))[role];
  return parseTemplate(known ?? role);
}

/** How a model is loaded. */
export interface LoadOptions {
  /** A model already on the device: its picture tokenizer is shared, and its base weights where they are the same. */
  readonly beside?: Model;
  /** Type of the transformer's matrices on the device. Unless told: that of a quantised folder, else f32, which alone can be trained whole. */
  readonly dtype?: StoredType;
  /** Values that share a scale in int8 and int4. */
  readonly groupSize?: number;
  /** Hears what memory will be taken before it is. */
  readonly onNotice?: (text: string) => void;
  /** Hears how many bytes have been put on the device, of how many, and the size of the tensors that have been begun. */
  readonly onBytes?: (done: number, total: number, begun: number) => void;
}

/** How a checkpoint's matrices are to be stored. */
function storage(checkpoint: Checkpoint, options: LoadOptions): StoredAs {
  const own = quantizationOf(checkpoint.metadata, checkpoint.name);
  const ownType = own?.bits === 8 ? "int8" : "int4";
  const { dtype = own ? ownType : "f32", groupSize = own && dtype === ownType ? own.groupSize : defaultGroupSize } = options;
  return { dtype, groupSize };
}

/** The transformer of an open checkpoint on the device. */
async function languageModel(device: Device, checkpoint: Checkpoint, config: ChameleonConfig, options: LoadOptions): Promise<Chameleon> {
  if (isMetaOrder(checkpoint))
    throw new WorldlineError(
      `${checkpoint.name} has Meta's tensor names; \`worldline convert\` makes a folder with Hugging Face's, which loads`,
    );
  const as = storage(checkpoint, options);
  if (as.dtype === "f16" && !device.capabilities.features.has("shader-f16"))
    throw new WorldlineError(`this adapter has no f16 (shader-f16); choose --dtype bf16, which has the same size, or f32`);
  const groups = as.dtype.startsWith("int") ? ` in groups of ${as.groupSize}` : "";
  const size = bytesText(weightBytes(config, as));
  options.onNotice?.(`${checkpoint.name}: weights ${size} as ${as.dtype}${groups}`);
  return createChameleon(device, config, checkpoint, { as, onBytes: options.onBytes });
}

/** What is left of the base of a model on the device for another one to take up; undefined where that one needs other weights. */
async function sharedBase(folder: string, { beside, dtype, groupSize }: LoadOptions): Promise<Model | undefined> {
  if (!beside?.base || beside.base.dtype !== dtype || beside.base.groupSize !== groupSize) return undefined;
  const own = beside.base.folder;
  if (own !== (await realpath(folder).catch(() => folder))) return undefined;
  // The small files of an adapter over it, its prompt among them, are not the base's.
  return { ...beside, folder, files: await readSideFiles(own), lm: withoutAdapter(beside.lm) };
}

/** A model whose folder holds a PEFT adapter: its base with the adapter beside it. */
async function loadAdapted(device: Device, folder: string, options: LoadOptions): Promise<Model> {
  const file = await openAdapter(folder);
  try {
    const at = await baseFolder(folder, file.config.base);
    const base = (await sharedBase(at, options)) ?? (await loadModel(device, at, options));
    const adapter = await createAdapter(device, base.config, file.config, file);
    return { ...base, folder, files: { ...base.files, ...(await readSideFiles(folder)) }, lm: withAdapter(base.lm, adapter) };
  } finally {
    await file.close();
  }
}

/** The base that an adapter names: a path as it stands or beside the adapter, else a hub id. */
async function baseFolder(folder: string, name: string | null): Promise<string> {
  if (name === null)
    throw new WorldlineError(
      `${folder}/adapter_config.json names no base; set base_model_name_or_path to the base model's folder or hub id`,
    );
  const exists = (path: string) =>
    stat(path).then(
      (s) => s.isDirectory(),
      () => false,
    );
  const beside = resolve(folder, name);
  const paths = isAbsolute(name) ? [name] : /^\.\.?(?:\/|$)/.test(name) ? [beside, name] : [name, beside];
  for (const path of paths) if (await exists(path)) return path;
  try {
    return await modelFolder(name);
  } catch (error) {
    if (!(error instanceof WorldlineError)) throw error;
    throw new WorldlineError(`${folder}: the adapter's base ${name} was not found: ${error.message}`);
  }
}

/** The small files of a model folder by name. */
export async function readSideFiles(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const name of sideFiles) {
    const text = await readFile(join(folder, name), "utf8").catch(() => undefined);
    if (text !== undefined) files[name] = text;
  }
  // transformers 5 writes the picture processor into processor_config.json, and reads it there first.
  const where = join(folder, "processor_config.json");
  const nested = files["processor_config.json"] && parseJsonObject(files["processor_config.json"], where).image_processor;
  if (isObject(nested)) files["preprocessor_config.json"] = `${JSON.stringify(nested, null, 2)}\n`;
  return files;
}

/**
 * Loads a model (a folder or a hub id, of a whole model or of an adapter) onto the device. The picture tokenizer is f32 always: half precision changes codes. Host memory stays small:
 * tensors pass through one buffer.
 */
export async function loadModel(device: Device, name: string, options: LoadOptions = {}): Promise<Model> {
  const folder = await modelFolder(name);
  if (await isAdapterFolder(folder)) return loadAdapted(device, folder, options);
  const shared = await sharedBase(folder, options);
  if (shared) return shared;
  const checkpoint = await openCheckpoint(folder);
  try {
    const files = await readSideFiles(folder);
    const need = (name: string): string => {
      if (files[name] === undefined)
        throw new WorldlineError(
          `${folder} has no ${name}; a model folder needs config.json, model.safetensors, tokenizer.json and preprocessor_config.json`,
        );
      return files[name];
    };
    const tokenizer = parseTokenizer(need("tokenizer.json"), join(folder, "tokenizer.json"));
    const names = Object.fromEntries(tokenizer.vocabulary);
    const config = parseConfig(checkpoint.config, join(folder, "config.json"), names);
    checkVocabulary(config, names, join(folder, "tokenizer.json"));
    const pixels = parsePixelConfig(
      parseJsonObject(need("preprocessor_config.json"), join(folder, "preprocessor_config.json")),
      join(folder, "preprocessor_config.json"),
    );
    const lm = await languageModel(device, checkpoint, config, options);
    const vqgan = options.beside?.vqgan ?? (await pictureModel(device, checkpoint, config));
    return {
      folder,
      config,
      lm,
      vqgan,
      pixels,
      tokenizer,
      files,
      vocab: vocabOf(config),
      pictures: new PictureCoder(device, vqgan, pixels),
      base: { folder: await realpath(folder), dtype: options.dtype, groupSize: options.groupSize },
    };
  } finally {
    await checkpoint.close();
  }
}

function pictureModel(device: Device, checkpoint: Checkpoint, config: ChameleonConfig): Promise<VQGAN> {
  if (!config.vq)
    throw new WorldlineError(`${checkpoint.name}/config.json has no vq_config; a Chameleon folder with its picture tokenizer is needed`);
  const prefix = vqPrefix(checkpoint) ?? "";
  return createVqgan(device, config.vq, async (name) =>
    checkpoint.has(prefix + name) ? checkpoint.readFloat32(prefix + name) : undefined,
  );
}

/** The transformer of a model alone. */
export async function loadLanguageModel(device: Device, name: string, options: LoadOptions = {}): Promise<Pick<Model, "config" | "lm">> {
  const folder = await modelFolder(name);
  if (await isAdapterFolder(folder)) {
    const file = await openAdapter(folder);
    try {
      const base = await loadLanguageModel(device, await baseFolder(folder, file.config.base), options);
      return { ...base, lm: withAdapter(base.lm, await createAdapter(device, base.config, file.config, file)) };
    } finally {
      await file.close();
    }
  }
  const checkpoint = await openCheckpoint(folder);
  try {
    const config = parseConfig(checkpoint.config, join(folder, "config.json"));
    return { config, lm: await languageModel(device, checkpoint, config, options) };
  } finally {
    await checkpoint.close();
  }
}

/** The picture tokenizer of a model alone. */
export async function loadPictureModel(device: Device, name: string): Promise<VQGAN> {
  const folder = await modelFolder(name);
  const checkpoint = await openCheckpoint(folder);
  try {
    return await pictureModel(device, checkpoint, parseConfig(checkpoint.config, join(folder, "config.json")));
  } finally {
    await checkpoint.close();
  }
}

/** The picture tokenizer of a model alone, with the id space where the files name one. `change` alters how pictures are prepared. */
export async function loadPictures(
  device: Device,
  name: string,
  change = (pixels: PixelConfig): PixelConfig => pixels,
): Promise<{ coder: PictureCoder; vocab: Vocab | undefined }> {
  const folder = await modelFolder(name);
  const files = await readSideFiles(folder);
  const object = async (file: string) => {
    const text = files[file] ?? (await readFile(join(folder, file), "utf8").catch(() => undefined));
    return text === undefined ? undefined : parseJsonObject(text, join(folder, file));
  };
  const pixels = parsePixelConfig((await object("preprocessor_config.json")) ?? {}, join(folder, "preprocessor_config.json"));
  const coder = new PictureCoder(device, await loadPictureModel(device, folder), change(pixels));
  const json = await object("config.json");
  const tokenizer = await object("tokenizer.json");
  const names = tokenizer && Object.fromEntries(parseTokenizer(tokenizer, join(folder, "tokenizer.json")).vocabulary);
  const config = parseConfig(json ?? {}, join(folder, "config.json"), names);
  return { coder, vocab: config.vocabularyMap || names ? vocabOf(config, config.vocabularyMap ?? names) : undefined };
}

/** Writes the model as a folder that loadModel and the transformers library read. */
export async function saveModel(
  device: Device,
  model: Pick<Model, "config" | "lm" | "vqgan" | "files">,
  folder: string,
  dtype: FloatDtype = "F32",
): Promise<void> {
  const tensors: TensorData[] = [];
  const put = (name: string, shape: readonly number[], values: Float32Array, type: FloatDtype) =>
    void tensors.push({ name, dtype: type, shape, data: fromFloat32(values, type) });
  for (const [name, { shape, data }] of await readTensors(device, model.lm)) put(name, shape, data, dtype);
  for (const [name, { shape, data }] of await saveTensors(device, model.vqgan)) put(`model.vqmodel.${name}`, shape, data, dtype);
  const config = {
    architectures: ["ChameleonForConditionalGeneration"],
    ...writeConfig(model.config),
    torch_dtype: { F32: "float32", F16: "float16", BF16: "bfloat16" }[dtype],
  };
  await saveCheckpoint(folder, { config, tensors, files: { ...model.files } }, { overwrite: true });
}
