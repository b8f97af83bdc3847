// LoRA adapters in PEFT's files: adapter_config.json (every field that PEFT 0.21 writes) beside adapter_model.safetensors, whose names are
// `base_model.model.<module>.lora_A.weight` (r, in) and `.lora_B.weight` (out, r). W' = W + s B A, s = alpha / r, or alpha / sqrt(r) with use_rslora.
import { WorldlineError } from "../engine/errors.ts";
import { fieldsOf } from "./fields.ts";
import { openSafetensors, type Safetensors, saveSafetensors, type TensorData, toFloat32 } from "./safetensors.ts";
import { isObject, quote, readJsonObject, type SourceFolder } from "./source.ts";

export interface LoraConfig {
  readonly rank: number;
  readonly alpha: number;
  /** Dropout of the pair's input while training. */
  readonly dropout: number;
  /** s = alpha / sqrt(r), arXiv 2312.03732. */
  readonly rsLora: boolean;
  /** Which layers: names that a module's path ends in, or one pattern that must match the whole path (PEFT's target_modules). */
  readonly target: readonly string[] | string;
  /** Layers left out although `target` names them; same meaning. */
  readonly exclude?: readonly string[] | string;
  /** Another rank or alpha where the end of a module's path matches the pattern. */
  readonly rankPattern?: Readonly<Record<string, number>>;
  readonly alphaPattern?: Readonly<Record<string, number>>;
  /** Modules whose whole weight is stored beside the pairs, such as "lm_head". */
  readonly modulesToSave?: readonly string[];
  /** Folder or hub id of the base model. */
  readonly base: string | null;
}

/** Every linear layer of attention and MLP. */
export const allLinear: readonly string[] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/** The paper's adapter: r 16, alpha 32, dropout 0.05. */
export const defaultLora: LoraConfig = { rank: 16, alpha: 32, dropout: 0.05, rsLora: false, target: allLinear, base: null };

const prefix = "base_model.model.";
const pattern = (text: string, wrap: (p: string) => string): RegExp => {
  try {
    return new RegExp(wrap(text.replaceAll("(?P<", "(?<")));
  } catch {
    throw new WorldlineError(`LoRA: ${quote(text)} is no pattern; give a regular expression or a list of module names`);
  }
};

function names(which: readonly string[] | string, module: string): boolean {
  if (typeof which === "string") return pattern(which, (p) => `^(?:${p})$`).test(module);
  return which.some((name) => module === name || module.endsWith(`.${name}`));
}

const byPattern = (table: Readonly<Record<string, number>> | undefined, module: string, otherwise: number) =>
  Object.entries(table ?? {}).find(([key]) => pattern(key, (p) => `^(?:.*\\.)?(?:${p})$`).test(module))?.[1] ?? otherwise;

/** Whether a module gets a pair. "all-linear" as a pattern names every module, as in PEFT. */
export function isTarget(c: LoraConfig, module: string): boolean {
  if (c.exclude && names(c.exclude, module)) return false;
  if (c.modulesToSave?.some((m) => pattern(m, (p) => `(?:^|.*\\.)${p}(?:$|\\.)`).test(module))) return false;
  return c.target === "all-linear" || names(c.target, module);
}

/** Rank of a module's pair, and the factor s of its product. */
export function rankAndScale(c: LoraConfig, module: string): { rank: number; scale: number } {
  const rank = byPattern(c.rankPattern, module, c.rank);
  const alpha = byPattern(c.alphaPattern, module, c.alpha);
  return { rank, scale: alpha / (c.rsLora ? Math.sqrt(rank) : rank) };
}

/** PEFT's name of a tensor of the adapter, and back. */
export const peftName = (name: string) => prefix + name;

/** What makes the product other than W + s B A; an adapter that has any of them is refused. */
const unsupported = [
  "use_dora",
  "use_qalora",
  "lora_bias",
  "fan_in_fan_out",
  "layers_to_transform",
  "layer_replication",
  "target_parameters",
  "trainable_token_indices",
  "alora_invocation_tokens",
  "megatron_config",
  "use_bdlora",
  "arrow_config",
  "kasa_config",
  "monteclora_config",
  "velora_config",
];

/** Reads adapter_config.json; `where` opens every message. */
export function parseAdapterConfig(json: Record<string, unknown>, where: string): LoraConfig {
  const f = fieldsOf(json, where);
  if (f.text("peft_type", "LORA") !== "LORA") throw f.refuse("peft_type", "LORA");
  if (f.text("bias", "none") !== "none") throw f.refuse("bias", '"none"');
  for (const name of unsupported) {
    const value = json[name];
    const empty = value === undefined || value === null || value === false || (Array.isArray(value) && value.length === 0);
    if (!empty)
      throw new WorldlineError(
        `${where}: ${name} is ${quote(value)}, which is not supported; merge the adapter with PEFT and load the whole model`,
      );
  }
  const init = json.init_lora_weights;
  if (typeof init === "string" && /^(pissa|corda|olora|loftq|lora_ga)/i.test(init))
    throw new WorldlineError(
      `${where}: init_lora_weights is ${quote(init)}, under which PEFT changes the base's weights before the pairs are added; convert the adapter with PEFT (path_initial_model_for_weight_conversion) or merge it there`,
    );
  const alpha = f.number("lora_alpha", 8);
  const dropout = f.number("lora_dropout", 0);
  if (!(dropout >= 0 && dropout < 1)) throw f.refuse("lora_dropout", "a number from 0 up and below 1");
  const target = which(json.target_modules);
  if (target === undefined) throw f.refuse("target_modules", "a pattern or a list of module names");
  const exclude = which(json.exclude_modules);
  const save = which(json.modules_to_save);
  if (typeof save === "string") throw f.refuse("modules_to_save", "a list of module names");
  return {
    rank: f.count("r", 8),
    alpha,
    dropout,
    rsLora: f.flag("use_rslora", false),
    target,
    base: f.has("base_model_name_or_path") ? f.text("base_model_name_or_path") : null,
    ...(exclude ? { exclude } : {}),
    ...(save?.length ? { modulesToSave: save } : {}),
    ...table(json, "rank_pattern", "rankPattern", where),
    ...table(json, "alpha_pattern", "alphaPattern", where),
  };
}

function which(value: unknown): readonly string[] | string | undefined {
  if (typeof value === "string" || (Array.isArray(value) && value.every((v) => typeof v === "string"))) return value;
  return undefined;
}

function table(json: Record<string, unknown>, name: string, field: string, where: string): Record<string, Record<string, number>> {
  const value = json[name] ?? {};
  if (!isObject(value) || Object.values(value).some((v) => typeof v !== "number" || !(v > 0)))
    throw new WorldlineError(`${where}: ${name} must map patterns to numbers above 0; correct the file`);
  return Object.keys(value).length ? { [field]: value as Record<string, number> } : {};
}

/** adapter_config.json as PEFT 0.21 writes it, keys sorted. */
export function writeAdapterConfig(c: LoraConfig): Record<string, unknown> {
  const none = [
    ...["alora_invocation_tokens", "arrow_config", "auto_mapping", "corda_config", "eva_config", "kasa_config", "layer_replication"],
    ...["layers_pattern", "layers_to_transform", "lora_ga_config", "megatron_config", "monteclora_config", "revision", "target_parameters"],
    ...["trainable_token_indices", "use_bdlora", "velora_config"],
  ];
  const fields: Record<string, unknown> = {
    ...Object.fromEntries(none.map((name) => [name, null])),
    alpha_pattern: c.alphaPattern ?? {},
    base_model_name_or_path: c.base,
    bias: "none",
    ensure_weight_tying: false,
    exclude_modules: c.exclude ?? null,
    fan_in_fan_out: false,
    inference_mode: false,
    init_lora_weights: true,
    loftq_config: {},
    lora_alpha: c.alpha,
    lora_bias: false,
    lora_dropout: c.dropout,
    megatron_core: "megatron.core",
    modules_to_save: c.modulesToSave ?? null,
    peft_type: "LORA",
    peft_version: "0.21.0",
    qalora_group_size: 16,
    r: c.rank,
    rank_pattern: c.rankPattern ?? {},
    target_modules: c.target,
    task_type: "CAUSAL_LM",
    use_dora: false,
    use_qalora: false,
    use_rslora: c.rsLora,
  };
  return Object.fromEntries(Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** An adapter on disk. Tensors are named as in the model, without PEFT's prefix. */
export interface AdapterFile {
  readonly folder: string;
  readonly config: LoraConfig;
  has(name: string): boolean;
  readonly names: readonly string[];
  shape(name: string): readonly number[];
  readFloat32(name: string): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Whether a folder holds an adapter. */
export async function isAdapterFolder(folder: string | SourceFolder): Promise<boolean> {
  const opened = await (await sourceOf(folder)).open("adapter_config.json");
  await opened?.close?.();
  return opened !== null;
}

const sourceOf = async (folder: string | SourceFolder) =>
  typeof folder === "string" ? (await import("./file_source.ts")).fileFolder(folder) : folder;

/** Opens an adapter folder and checks that its tensors are pairs of the shapes that its configuration says. */
export async function openAdapter(folder: string | SourceFolder): Promise<AdapterFile> {
  const source = await sourceOf(folder);
  const at = (file: string) => `${source.name}/${file}`;
  const need = async (file: string) => {
    const opened = await source.open(file);
    if (!opened)
      throw new WorldlineError(`${at(file)} is missing: an adapter folder holds adapter_config.json and adapter_model.safetensors`);
    return opened;
  };
  const text = await need("adapter_config.json");
  let config: LoraConfig;
  try {
    config = parseAdapterConfig(await readJsonObject(text, at("adapter_config.json")), at("adapter_config.json"));
  } finally {
    await text.close?.();
  }
  const file = await openSafetensors(await need("adapter_model.safetensors"), at("adapter_model.safetensors"));
  try {
    return fileOf(source.name, config, file, at("adapter_model.safetensors"));
  } catch (error) {
    await file.close();
    throw error;
  }
}

function fileOf(folder: string, config: LoraConfig, file: Safetensors, where: string): AdapterFile {
  const stored = new Map<string, string>();
  for (const key of file.tensors.keys()) {
    if (!key.startsWith(prefix))
      throw new WorldlineError(`${where}: tensor ${quote(key)} does not begin with ${prefix}; is this a PEFT adapter?`);
    stored.set(key.slice(prefix.length), key);
  }
  for (const [name, key] of stored) {
    const [, module, side] = /^(.*)\.lora_([AB])\.weight$/.exec(name) ?? [];
    if (!module) continue;
    const { shape } = file.tensors.get(key)!;
    const { rank } = rankAndScale(config, module);
    if (shape.length !== 2 || shape[side === "A" ? 0 : 1] !== rank)
      throw new WorldlineError(
        `${where}: ${name} is (${shape.join(", ")}), adapter_config.json says rank ${rank}; the two files do not belong together`,
      );
    if (!stored.has(`${module}.lora_${side === "A" ? "B" : "A"}.weight`))
      throw new WorldlineError(`${where}: ${module} has lora_${side} without the other half; the file is not whole`);
  }
  const find = (name: string) => {
    const key = stored.get(name);
    if (key === undefined) throw new WorldlineError(`${where}: there is no ${quote(prefix + name)}; the adapter is of another model`);
    return key;
  };
  return {
    folder,
    config,
    names: [...stored.keys()],
    has: (name) => stored.has(name),
    shape: (name) => file.tensors.get(find(name))!.shape,
    readFloat32: async (name) => toFloat32(await file.read(find(name)), file.tensors.get(find(name))!.dtype),
    close: () => file.close(),
  };
}

/** Writes an adapter folder, all or nothing; tensors are named as in the model. */
export async function saveAdapter(
  folder: string,
  config: LoraConfig,
  tensors: readonly TensorData[],
  options: { overwrite?: boolean; files?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const { writeFileAtomic, writeFolderAtomic } = await import("./file_source.ts");
  const text = (value: string) => [new TextEncoder().encode(value)];
  await writeFolderAtomic(folder, options.overwrite ?? false, async (temporary) => {
    await saveSafetensors(
      `${temporary}/adapter_model.safetensors`,
      tensors.map((t) => ({ ...t, name: peftName(t.name) })),
      { format: "pt" },
    );
    await writeFileAtomic(`${temporary}/adapter_config.json`, text(`${JSON.stringify(writeAdapterConfig(config), null, 2)}\n`));
    for (const [name, value] of Object.entries(options.files ?? {})) await writeFileAtomic(`${temporary}/${name}`, text(value));
  });
}

/**
 * What a tensor of the base becomes when the adapter is merged: W + s B A for a layer with a pair (`weight`, (out, in), is changed in place), the stored
 * weight for a module saved whole, else `weight` itself. `name` is the checkpoint's.
 */
export async function mergedTensor(adapter: AdapterFile, name: string, weight: Float32Array): Promise<Float32Array> {
  if (adapter.has(name)) {
    const whole = await adapter.readFloat32(name);
    if (whole.length !== weight.length) throw unfit(adapter, name, weight.length, whole.length);
    return whole;
  }
  const module = name.replace(/\.weight$/, "");
  if (!adapter.has(`${module}.lora_A.weight`)) return weight;
  const [rank, inner] = adapter.shape(`${module}.lora_A.weight`);
  const [out] = adapter.shape(`${module}.lora_B.weight`);
  if (out * inner !== weight.length) throw unfit(adapter, name, weight.length, out * inner);
  const A = await adapter.readFloat32(`${module}.lora_A.weight`);
  const B = await adapter.readFloat32(`${module}.lora_B.weight`);
  const { scale } = rankAndScale(adapter.config, module);
  const row = new Float64Array(inner);
  for (let o = 0; o < out; o++) {
    row.fill(0);
    for (let r = 0; r < rank; r++) {
      const b = scale * B[o * rank + r];
      for (let k = 0; k < inner; k++) row[k] += b * A[r * inner + k];
    }
    for (let k = 0; k < inner; k++) weight[o * inner + k] += row[k];
  }
  return weight;
}

function unfit(adapter: AdapterFile, name: string, has: number, wants: number): WorldlineError {
  return new WorldlineError(
    `${adapter.folder}: ${name} of the base has ${has} values, the adapter fits ${wants}; it belongs to another base`,
  );
}
