// What a model's files hold and what can be done with them: tensors, parameters, storage, memory on the device per dtype, faults, and abilities.
// Reads config.json and headers only, no weights.

import { stat } from "node:fs/promises";
import { WorldlineError } from "../engine/errors.ts";
import { chameleonSpecs, weightBytes } from "../models/chameleon.ts";
import { vqTensorSpecs } from "../models/vqgan_tensors.ts";
import { parsePixelConfig } from "../tokenizer/pixels.ts";
import { parseTokenizer } from "../tokenizer/text.ts";
import { type Checkpoint, openCheckpoint } from "../weights/checkpoint.ts";
import { dtypeBytes } from "../weights/dtypes.ts";
import { fileFolder, fileSource } from "../weights/file_source.ts";
import { parseGenerationConfig } from "../weights/generation.ts";
import { isMetaOrder } from "../weights/meta_order.ts";
import { type ChameleonConfig, checkVocabulary, hasVqDecoder, parseConfig, vqPrefix } from "../weights/names.ts";
import { openSafetensors } from "../weights/safetensors.ts";
import { type ByteSource, isObject, readJsonObject, type SourceFolder } from "../weights/source.ts";
import { defaultGroupSize, quantizationOf, quantizedIn, storedTypes } from "../weights/stored.ts";

export interface TensorLine {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly file: string;
  /** Numbers that the tensor stands for: none for the scales of a quantised matrix. */
  readonly values: number;
}

/** One part of a model: how many tensors and values, and their storage. */
export interface Part {
  readonly part: string;
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  /** Values by dtype. */
  readonly dtypes: Readonly<Record<string, number>>;
}

/** Bytes on the device when the language model's matrices are held as `dtype`; everything else is f32. */
export interface Memory {
  readonly dtype: string;
  readonly languageModel: number;
  readonly pictureModel: number;
  readonly total: number;
}

export interface Ability {
  readonly ability: "read text" | "read pictures" | "write text" | "draw pictures";
  readonly can: boolean;
  readonly why: string;
}

export interface Inspection {
  readonly name: string;
  /** A whole model, or only tensors (a lone file, an adapter). */
  readonly kind: "model" | "tensors";
  readonly tensors: readonly TensorLine[];
  readonly parts: readonly Part[];
  readonly metadata: Readonly<Record<string, string>>;
  /** The scheme of a quantised folder. */
  readonly quantization?: string;
  readonly config?: Omit<ChameleonConfig, "vocabularyMap">;
  readonly pictures?: { readonly size: string; readonly codes: number; readonly entries: number };
  readonly generation?: Readonly<Record<string, unknown>>;
  readonly memory?: readonly Memory[];
  /** Bytes of keys and values per token, f32. */
  readonly cachePerToken?: number;
  readonly abilities?: readonly Ability[];
  /** What is wrong or odd, one sentence each. */
  readonly faults: readonly string[];
}

/**
 * Inspects a model folder (on disk or elsewhere), or a lone .safetensors file. Throws where nothing can be read; what can be read but does not fit together is listed
 * in `faults`.
 */
export async function inspect(place: string | SourceFolder, group = defaultGroupSize): Promise<Inspection> {
  const isFile = typeof place === "string" && place.endsWith(".safetensors") && (await stat(place).catch(() => null))?.isFile();
  if (isFile) return inspectFile(await fileSource(place), place);
  const folder = typeof place === "string" ? await fileFolder(place) : place;
  const adapter = await folder.open("adapter_model.safetensors");
  if (adapter) return inspectFile(adapter, `${folder.name}/adapter_model.safetensors`);
  const checkpoint = await openCheckpoint(folder);
  try {
    return await inspectModel(folder, checkpoint, group);
  } finally {
    await checkpoint.close();
  }
}

async function inspectFile(source: ByteSource, path: string): Promise<Inspection> {
  const file = await openSafetensors(source, path);
  await file.close();
  const tensors = [...file.tensors.values()].map((t) => ({ ...t, bytes: t.end - t.begin, file: path }));
  const lines = tensors.map(({ name, dtype, shape, bytes, file }) => ({ name, dtype, shape, bytes, file, values: valuesOf(shape) }));
  return { name: path, kind: "tensors", tensors: lines, parts: [partOf("all", lines)], metadata: file.metadata, faults: [] };
}

async function inspectModel(folder: SourceFolder, checkpoint: Checkpoint, group: number): Promise<Inspection> {
  const faults: string[] = [];
  const tensors = linesOf(checkpoint);
  const side = await sideFiles(folder, faults);
  const config = parseConfig(checkpoint.config, `${folder.name}/config.json`, side.tokenizer?.vocabulary);
  if (side.tokenizer) note(faults, () => checkVocabulary(config, side.tokenizer!.vocabulary, `${folder.name}/tokenizer.json`));
  if (isMetaOrder(checkpoint)) faults.push(`tensors have Meta's names and row order; worldline convert makes a folder that loads`);
  else faults.push(...misfits(checkpoint, config, tensors));
  const { vocabularyMap: _, ...shown } = config;
  const { vq } = config;
  const scheme = quantizationOf(checkpoint.metadata, folder.name);
  const step = vq ? 2 ** (vq.channelMultiplier.length - 1) : 1;
  return {
    name: folder.name,
    kind: "model",
    tensors,
    parts: partsOf(tensors, vqPrefix(checkpoint)),
    metadata: checkpoint.metadata,
    ...(scheme ? { quantization: `int${scheme.bits}, groups of ${scheme.groupSize}` } : {}),
    config: shown,
    ...(vq ? { pictures: { size: `${vq.resolution} x ${vq.resolution}`, codes: (vq.resolution / step) ** 2, entries: vq.codes } } : {}),
    ...(side.generation ? { generation: side.generation } : {}),
    memory: memoryOf(checkpoint, config, group),
    cachePerToken: 2 * 4 * config.layers * config.kvHeads * config.headDim,
    abilities: abilitiesOf(checkpoint, config, side),
    faults,
  };
}

/** Every tensor; a quantised matrix under the scheme's name. */
function linesOf(checkpoint: Checkpoint): TensorLine[] {
  return [...checkpoint.tensors.values()].map((t) => {
    const bytes = valuesOf(t.shape) * dtypeBytes[t.dtype];
    const found = quantizedIn(checkpoint, t.name);
    if (!found) return { ...t, bytes, values: isScales(checkpoint, t.name) ? 0 : valuesOf(t.shape) };
    return { ...t, dtype: `int${found.scheme.bits}`, shape: [t.shape[0], found.columns], bytes, values: t.shape[0] * found.columns };
  });
}

function isScales(checkpoint: Checkpoint, name: string): boolean {
  const matrix = name.replace(/\.scales$/, "");
  return matrix !== name && checkpoint.has(matrix) && quantizedIn(checkpoint, matrix) !== undefined;
}

interface SideFiles {
  readonly tokenizer: { readonly vocabulary: Record<string, number> } | null;
  readonly pixels: boolean;
  readonly generation: Record<string, unknown> | null;
}

/** The small files beside the weights; a damaged one is a fault, an absent one is not. */
async function sideFiles(folder: SourceFolder, faults: string[]): Promise<SideFiles> {
  const json = async <T>(file: string, read: (json: Record<string, unknown>, where: string) => T): Promise<T | null> => {
    const source = await folder.open(file);
    if (!source) return null;
    try {
      return read(await readJsonObject(source, `${folder.name}/${file}`), `${folder.name}/${file}`);
    } catch (error) {
      if (!(error instanceof WorldlineError)) throw error;
      faults.push(error.message);
      return null;
    } finally {
      await source.close?.();
    }
  };
  return {
    tokenizer: await json("tokenizer.json", (j, where) => ({ vocabulary: Object.fromEntries(parseTokenizer(j, where).vocabulary) })),
    pixels:
      (await json("processor_config.json", (j, where) =>
        isObject(j.image_processor) ? parsePixelConfig(j.image_processor, where) : null,
      )) !== null || (await json("preprocessor_config.json", parsePixelConfig)) !== null,
    generation: await json("generation_config.json", (j, where) => ({ ...parseGenerationConfig(j, where) })),
  };
}

function note(faults: string[], check: () => void): void {
  try {
    check();
  } catch (error) {
    if (!(error instanceof WorldlineError)) throw error;
    faults.push(error.message);
  }
}

/** Tensors that the configuration needs and the files lack or have in another shape, and tensors that nobody needs. */
function misfits(checkpoint: Checkpoint, config: ChameleonConfig, tensors: readonly TensorLine[]): string[] {
  const faults: string[] = [];
  const prefix = vqPrefix(checkpoint);
  const picture = config.vq && prefix !== null ? vqTensorSpecs(config.vq, hasVqDecoder(checkpoint)) : [];
  const specs = [...chameleonSpecs(config), ...picture.map((s) => ({ ...s, name: prefix + s.name }))];
  const known = new Set(specs.map((s) => s.name));
  const held = new Map(tensors.map((t) => [t.name, t.shape]));
  const lacking = specs.filter((s) => !checkpoint.has(s.name)).map((s) => s.name);
  if (lacking.length) faults.push(`${lacking.length} tensors are missing: ${few(lacking)}; the checkpoint is not whole`);
  const wrong = specs.flatMap((s) => {
    const shape = held.get(s.name);
    // Models derived from Chameleon hold one row for all heads.
    if (/\.[qk]_norm\./.test(s.name) && shape && valuesOf(shape) === config.headDim) return [];
    return shape && shape.join() !== s.shape.join() ? [`${s.name} is [${shape.join(", ")}], [${s.shape.join(", ")}] is needed`] : [];
  });
  if (wrong.length) faults.push(`${wrong.length} tensors do not fit config.json: ${few(wrong)}`);
  const extra = [...checkpoint.tensors.keys()].filter(
    (name) => !known.has(name) && !/post_quant_conv/.test(name) && !isScales(checkpoint, name),
  );
  if (extra.length) faults.push(`${extra.length} tensors belong to no part of a Chameleon model: ${few(extra)}; they are left unread`);
  return faults;
}

function few(names: readonly string[]): string {
  return names.length > 3 ? `${names.slice(0, 3).join(", ")} and ${names.length - 3} more` : names.join(", ");
}

function partsOf(tensors: readonly TensorLine[], prefix: string | null): Part[] {
  const within = (start: string) => (t: TensorLine) => prefix !== null && t.name.startsWith(prefix + start);
  const decoder = within("decoder.");
  const encoder = (t: TensorLine) => ["encoder.", "quantize.", "quant_conv.", "post_quant_conv."].some((start) => within(start)(t));
  const groups: [string, (t: TensorLine) => boolean][] = [
    ["language model", (t) => !decoder(t) && !encoder(t)],
    ["picture encoder and codebook", encoder],
    ["picture decoder", decoder],
  ];
  const parts = groups.map(([part, is]) => partOf(part, tensors.filter(is))).filter((p) => p.tensors > 0);
  return [...parts, partOf("all", tensors)];
}

function partOf(part: string, tensors: readonly TensorLine[]): Part {
  const dtypes: Record<string, number> = {};
  for (const t of tensors) if (t.values > 0) dtypes[t.dtype] = (dtypes[t.dtype] ?? 0) + t.values;
  const sum = (of: (t: TensorLine) => number) => tensors.reduce((total, t) => total + of(t), 0);
  return { part, tensors: tensors.length, parameters: sum((t) => t.values), bytes: sum((t) => t.bytes), dtypes };
}

function memoryOf(checkpoint: Checkpoint, config: ChameleonConfig, group: number): Memory[] {
  const prefix = vqPrefix(checkpoint);
  const picture = config.vq && prefix !== null ? vqTensorSpecs(config.vq, hasVqDecoder(checkpoint)) : [];
  const pictureModel = picture.reduce((sum, s) => sum + 4 * valuesOf(s.held), 0);
  return storedTypes.map((dtype) => {
    const languageModel = weightBytes(config, { dtype, groupSize: group });
    return { dtype, languageModel, pictureModel, total: languageModel + pictureModel };
  });
}

function abilitiesOf(checkpoint: Checkpoint, config: ChameleonConfig, side: SideFiles): Ability[] {
  const text = side.tokenizer ? "" : "there is no readable tokenizer.json, ids only";
  const encoder = !config.vq || vqPrefix(checkpoint) === null ? "the files hold no picture encoder" : "";
  const pixels = side.pixels ? "" : "there is no preprocessor_config.json";
  const head = checkpoint.has("lm_head.weight") || config.tieWordEmbeddings ? "" : "there is no lm_head";
  const decoder = hasVqDecoder(checkpoint)
    ? ""
    : "the files hold no VQ decoder, as the official ones; an Anole conversion (leloy/Anole-7b-v0.1-hf) holds it and can draw";
  const line = (ability: Ability["ability"], ...reasons: string[]): Ability => {
    const why = reasons.filter(Boolean).join("; ");
    return { ability, can: why === "", why };
  };
  return [
    line("read text", text),
    line("read pictures", encoder, pixels),
    line("write text", text, head),
    line("draw pictures", encoder || decoder, head),
  ];
}

function valuesOf(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}
