// The only file that knows the quirks of published Chameleon checkpoints: spellings and defaults of config.json, ids by name, and the names
// and shapes of tensors. Source: the published files and the transformers library's Chameleon classes.

import { WorldlineError } from "../engine/errors.ts";
import { type Fields, fieldsOf } from "./fields.ts";
import { quote } from "./source.ts";
import { imageTokenTable, specialNames } from "./vocabulary.ts";

export { checkVocabulary, imageCode, imageTokenName, imageTokenTable, specialNames, vocabularyFromTokenizer } from "./vocabulary.ts";

/** Sizes and ids of a Chameleon model; the language model's half. */
export interface ChameleonConfig {
  vocabSize: number;
  hidden: number;
  intermediate: number;
  layers: number;
  heads: number;
  kvHeads: number;
  headDim: number;
  maxPositions: number;
  rmsNormEps: number;
  ropeTheta: number;
  ropeScaling: { type: "linear" | "dynamic"; factor: number } | null;
  /** true: the norms sit behind attention and MLP (30B); false: before them (7B). */
  swinNorm: boolean;
  modelParallelSize: number;
  tieWordEmbeddings: boolean;
  bosId: number;
  eosId: number;
  padId: number;
  boiId: number;
  eoiId: number;
  imageTokenId: number;
  sepId?: number;
  vocabularyMap?: Record<string, number>;
  vq?: VqConfig;
}

/** Sizes of the VQ model that turns pictures into codes. */
export interface VqConfig {
  embedDim: number;
  codes: number;
  latentChannels: number;
  resolution: number;
  inChannels: number;
  outChannels: number;
  baseChannels: number;
  channelMultiplier: number[];
  resBlocks: number;
  attnResolutions: number[];
  doubleLatent: boolean;
}

/**
 * config.json of a full model as types. Absent fields take the 7B values; old and new spellings are read. `where` opens error messages.
 * `names` is the tokenizer's vocabulary, for files without a vocabulary_map. Throws a WorldlineError for values that no Chameleon model can
 * have and for features that are not supported.
 */
export function parseConfig(json: Record<string, unknown>, where = "config.json", names?: Record<string, number>): ChameleonConfig {
  const f = fieldsOf(json, where);
  refuseUnsupported(f, where);
  const heads = f.count("num_attention_heads", 32);
  const hidden = f.count("hidden_size", 4096);
  const vocabularyMap = vocabularyOf(f, where) ?? names;
  const vocabSize = f.count("vocab_size", 65536);
  const vq = f.object("vq_config");
  const config: ChameleonConfig = {
    vocabSize,
    hidden,
    intermediate: f.count("intermediate_size", 11008),
    layers: f.count("num_hidden_layers", 32),
    heads,
    kvHeads: f.count("num_key_value_heads", json.num_key_value_heads === null ? heads : 32),
    headDim: hidden / heads,
    maxPositions: f.count("max_position_embeddings", 4096),
    rmsNormEps: f.number("rms_norm_eps", 1e-5),
    ...ropeOf(f, where),
    swinNorm: f.flag("swin_norm", false),
    modelParallelSize: f.count("model_parallel_size", 1),
    tieWordEmbeddings: f.flag("tie_word_embeddings", false),
    ...idsOf(f, where, vocabSize, vocabularyMap),
    ...(vocabularyMap ? { vocabularyMap } : {}),
    ...(vq ? { vq: parseVqConfig(vq, `${where}: vq_config`) } : {}),
  };
  validate(config, f, where);
  return config;
}

/** vq_config, or the config.json of a stand-alone VQ model. Only the new names are read, as in the reference: an absent one is the default. */
export function parseVqConfig(json: Record<string, unknown>, where = "vq_config"): VqConfig {
  const f = fieldsOf(json, where);
  if (f.text("attn_type", "vanilla") !== "vanilla") throw f.refuse("attn_type", '"vanilla"');
  const vq: VqConfig = {
    embedDim: f.count("embed_dim", 256),
    codes: f.count("num_embeddings", 8192),
    latentChannels: f.count("latent_channels", 256),
    resolution: f.count("resolution", 512),
    inChannels: f.count("in_channels", 3),
    outChannels: f.count("out_channels", 3),
    baseChannels: f.count("base_channels", 128),
    channelMultiplier: f.counts("channel_multiplier", [1, 1, 2, 2, 4]),
    resBlocks: f.count("num_res_blocks", 2),
    attnResolutions: f.counts("attn_resolutions", []),
    doubleLatent: f.flag("double_latent", false),
  };
  const step = 2 ** (vq.channelMultiplier.length - 1);
  if (vq.channelMultiplier.length === 0) throw f.refuse("channel_multiplier", "at least one number");
  if (vq.resolution % step !== 0)
    throw new WorldlineError(
      `${where}: resolution ${vq.resolution} cannot be halved ${Math.log2(step)} times; a multiple of ${step} is needed`,
    );
  const odd = vq.channelMultiplier.find((m) => (vq.baseChannels * m) % 32 !== 0);
  if (odd !== undefined || vq.baseChannels % 32 !== 0) {
    throw new WorldlineError(
      `${where}: base_channels ${vq.baseChannels} x ${odd ?? 1} is no multiple of 32; group norm needs 32 groups of equal size`,
    );
  }
  return vq;
}

function refuseUnsupported(f: Fields, where: string): void {
  const type = f.text("model_type", "chameleon");
  if (type !== "chameleon")
    throw new WorldlineError(`${where}: model_type is ${quote(type)}; Chameleon models are read here, is this the right folder?`);
  if (f.text("hidden_act", "silu") !== "silu") throw f.refuse("hidden_act", '"silu"');
  for (const name of ["attention_bias", "mlp_bias"])
    if (f.flag(name, false)) throw f.refuse(name, "false (no Chameleon model has these biases)");
}

/** rope_theta and rope_scaling (older files), or rope_parameters (newer ones). */
function ropeOf(f: Fields, where: string): Pick<ChameleonConfig, "ropeTheta" | "ropeScaling"> {
  const newer = f.object("rope_parameters");
  const older = f.object("rope_scaling");
  const scaling = fieldsOf(older ?? newer ?? {}, `${where}: ${older ? "rope_scaling" : "rope_parameters"}`);
  const type = scaling.has("rope_type") ? scaling.text("rope_type") : scaling.text("type", "default");
  const ropeTheta =
    newer && fieldsOf(newer, `${where}: rope_parameters`).has("rope_theta")
      ? fieldsOf(newer, where).number("rope_theta")
      : f.number("rope_theta", 10000);
  if (!(ropeTheta > 0)) throw f.refuse("rope_theta", "a number above 0");
  if (type === "default") return { ropeTheta, ropeScaling: null };
  if (type !== "linear" && type !== "dynamic")
    throw new WorldlineError(`${where}: rope scaling ${quote(type)} is not supported; "linear", "dynamic" and none are`);
  const factor = scaling.number("factor");
  if (!(factor >= 1)) throw scaling.refuse("factor", "a number from 1 up");
  return { ropeTheta, ropeScaling: { type, factor } };
}

function vocabularyOf(f: Fields, where: string): Record<string, number> | undefined {
  const map = f.object("vocabulary_map");
  if (!map || Object.keys(map).length === 0) return undefined;
  for (const [name, id] of Object.entries(map)) {
    if (!Number.isSafeInteger(id) || (id as number) < 0)
      throw new WorldlineError(`${where}: vocabulary_map gives ${quote(name)} the id ${quote(id)}; whole numbers from 0 up are needed`);
  }
  return map as Record<string, number>;
}

type Ids = Pick<ChameleonConfig, "bosId" | "eosId" | "padId" | "boiId" | "eoiId" | "imageTokenId" | "sepId">;

/** Special ids: the file's field, else the vocabulary's name, else the published vocabulary's id where the size is the published one. */
function idsOf(f: Fields, where: string, vocabSize: number, map: Record<string, number> = {}): Ids {
  const named = (...names: string[]) => names.filter((name) => Object.hasOwn(map, name)).map((name) => map[name])[0] ?? null;
  const needed = (field: string, name: string, published: number, older: number | null = null) => {
    const id = f.id(field) ?? older ?? named(name) ?? (vocabSize === 65536 ? published : null);
    if (id === null)
      throw new WorldlineError(
        `${where}: ${field} is missing and the vocabulary names no ${name}; add the field, or give the folder its tokenizer.json`,
      );
    return id;
  };
  // The published files say bos_token_id 1, the library's default and the id of <pad>; the tokenizer's <s> is right.
  const bos = f.id("bos_token_id");
  const sep = f.id("sep_token_id") ?? named(specialNames.sep) ?? (vocabSize === 65536 ? 8710 : null);
  return {
    bosId: bos !== null && bos !== 1 ? bos : (named(specialNames.bos) ?? 0),
    eosId: f.id("eos_token_id") ?? named(specialNames.eos) ?? 2,
    padId: f.id("pad_token_id") ?? named(specialNames.pad) ?? 1,
    boiId: needed("boi_token_id", specialNames.boi, 8197),
    eoiId: needed("eoi_token_id", specialNames.eoi, 8196),
    imageTokenId: needed(
      "image_token_id",
      specialNames.image,
      8711,
      f.id("image_token_index") ?? named(specialNames.image, specialNames.imageBefore),
    ),
    ...(sep !== null ? { sepId: sep } : {}),
  };
}

function validate(c: ChameleonConfig, f: Fields, where: string): void {
  const refuse = (what: string) => new WorldlineError(`${where}: ${what}; correct the file`);
  if (!Number.isInteger(c.headDim)) throw refuse(`hidden_size ${c.hidden} does not divide into ${c.heads} heads`);
  if (f.has("head_dim") && f.count("head_dim") !== c.headDim)
    throw refuse(`head_dim is ${f.count("head_dim")}, Chameleon needs hidden_size / num_attention_heads = ${c.headDim}`);
  if (c.headDim % 2 !== 0) throw refuse(`the head size ${c.headDim} is odd, rotary embedding needs an even one`);
  if (c.heads % c.kvHeads !== 0) throw refuse(`${c.heads} attention heads do not divide into ${c.kvHeads} key-value heads`);
  if (!(c.rmsNormEps >= 0)) throw refuse(`rms_norm_eps is ${c.rmsNormEps}, 0 or more is needed`);
  for (const name of ["bosId", "eosId", "padId", "boiId", "eoiId", "imageTokenId", "sepId"] as const) {
    if ((c[name] ?? 0) >= c.vocabSize) throw refuse(`${name} ${c[name]} is outside the vocabulary of ${c.vocabSize}`);
  }
  if (!c.vocabularyMap) return;
  const outside = Object.entries(c.vocabularyMap).find(([, id]) => id >= c.vocabSize);
  if (outside) throw refuse(`${quote(outside[0])} has the id ${outside[1]}, outside the model's vocabulary of ${c.vocabSize}`);
  const codes = imageTokenTable(c.vocabularyMap).length;
  if (c.vq && codes > 0 && codes !== c.vq.codes)
    throw refuse(`the vocabulary names ${codes} picture codes, the VQ model has ${c.vq.codes}`);
}

/** config.json for `config`; parseConfig gives the same config back. */
export function writeConfig(c: ChameleonConfig): Record<string, unknown> {
  return {
    architectures: ["ChameleonForConditionalGeneration"],
    model_type: "chameleon",
    vocab_size: c.vocabSize,
    hidden_size: c.hidden,
    intermediate_size: c.intermediate,
    num_hidden_layers: c.layers,
    num_attention_heads: c.heads,
    num_key_value_heads: c.kvHeads,
    hidden_act: "silu",
    max_position_embeddings: c.maxPositions,
    initializer_range: 0.02,
    rms_norm_eps: c.rmsNormEps,
    use_cache: true,
    rope_theta: c.ropeTheta,
    rope_scaling: c.ropeScaling ? { type: c.ropeScaling.type, factor: c.ropeScaling.factor } : null,
    attention_bias: false,
    attention_dropout: 0,
    mlp_bias: false,
    swin_norm: c.swinNorm,
    model_parallel_size: c.modelParallelSize,
    tie_word_embeddings: c.tieWordEmbeddings,
    bos_token_id: c.bosId,
    eos_token_id: c.eosId,
    pad_token_id: c.padId,
    boi_token_id: c.boiId,
    eoi_token_id: c.eoiId,
    image_token_id: c.imageTokenId,
    ...(c.sepId !== undefined ? { sep_token_id: c.sepId } : {}),
    ...(c.vq ? { vq_config: writeVqConfig(c.vq) } : {}),
    ...(c.vocabularyMap ? { vocabulary_map: c.vocabularyMap } : {}),
  };
}

/** vq_config for `vq`. */
export function writeVqConfig(vq: VqConfig): Record<string, unknown> {
  return {
    model_type: "chameleon_vqgan",
    embed_dim: vq.embedDim,
    num_embeddings: vq.codes,
    latent_channels: vq.latentChannels,
    resolution: vq.resolution,
    in_channels: vq.inChannels,
    out_channels: vq.outChannels,
    base_channels: vq.baseChannels,
    channel_multiplier: vq.channelMultiplier,
    num_res_blocks: vq.resBlocks,
    attn_resolutions: vq.attnResolutions,
    double_latent: vq.doubleLatent,
    attn_type: "vanilla",
    dropout: 0,
    initializer_range: 0.02,
  };
}

/** Prefix of the VQ model's tensors: "model.vqmodel." in a full checkpoint, "" in a stand-alone VQ file, null where there is no VQ model. */
export function vqPrefix(tensors: { has(name: string): boolean }): string | null {
  return ["model.vqmodel.", ""].find((prefix) => tensors.has(`${prefix}quantize.embedding.weight`)) ?? null;
}

/** True where the checkpoint holds the VQ decoder, which the official files lack. */
export function hasVqDecoder(tensors: { has(name: string): boolean }): boolean {
  const prefix = vqPrefix(tensors);
  return prefix !== null && tensors.has(`${prefix}decoder.conv_in.weight`);
}
