// LoRA on a Chameleon (Hu et al. 2021, arXiv 2106.09685): an adapter is a low-rank pair for each chosen linear layer, held apart from the base. `withAdapter`
// gives a model that shares every tensor of its base, so two adapters need one base in memory.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { parameters } from "../engine/module.ts";
import { Rng } from "../engine/rng.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type AdapterFile, isTarget, type LoraConfig, rankAndScale } from "../weights/adapter.ts";
import type { ChameleonConfig } from "../weights/names.ts";
import { fromFloat32, type TensorData } from "../weights/safetensors.ts";
import { type Chameleon, chameleonSpecs, type Linear, type Table } from "./chameleon.ts";
import { tableRows } from "./rows.ts";

export interface Adapter {
  readonly config: LoraConfig;
  /** Pairs by the module's path, A (r, in) and B (out, r), side by side in one buffer. */
  readonly pairs: ReadonlyMap<string, { readonly A: Tensor; readonly B: Tensor }>;
  /** Weights, f32, that stand in whole for the base's (PEFT's modules_to_save), by the module's path: "lm_head", "model.embed_tokens". */
  readonly whole: ReadonlyMap<string, Tensor>;
  /** Seed of the dropout. */
  readonly seed: number;
}

/** Paths and shapes (out, in) of the linear layers of attention and MLP. */
function linearLayers(config: ChameleonConfig): Map<string, readonly number[]> {
  const layers = chameleonSpecs(config).filter((s) => /\.(?:self_attn|mlp)\.\w+_proj\.weight$/.test(s.name));
  return new Map(layers.map((s) => [s.name.slice(0, -".weight".length), s.shape]));
}

/**
 * An adapter on the device: from a file, or new from a seed, A uniform within +-1/sqrt(in) (Kaiming, as PEFT) and B zero, so that it changes nothing yet;
 * null: memory alone. A new one whose configuration saves modules whole takes their first values from `base`.
 */
export async function createAdapter(
  device: Device,
  model: ChameleonConfig,
  config: LoraConfig,
  source: Rng | AdapterFile | null,
  base?: Chameleon,
): Promise<Adapter> {
  const layers = linearLayers(model);
  const modules = [...layers.keys()].filter((m) =>
    source === null || source instanceof Rng ? isTarget(config, m) : source.has(`${m}.lora_A.weight`),
  );
  if (modules.length === 0)
    throw new WorldlineError(
      `LoRA: ${JSON.stringify(config.target)} names no linear layer of attention or MLP; the last parts of their names are q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj`,
    );
  const tables = wholeTables(model, config);
  if (source !== null && !(source instanceof Rng)) refuseOthers(source, modules, tables);
  const specs = modules.flatMap((m) => {
    const [out, inner] = layers.get(m)!;
    const { rank } = rankAndScale(config, m);
    return [
      { name: `${m}.lora_A.weight`, shape: [rank, inner] },
      { name: `${m}.lora_B.weight`, shape: [out, rank] },
    ];
  });
  const tensors = device.arena(specs, "adapter", "adapter");
  for (const t of tensors) {
    if (source === null) break;
    const data = source instanceof Rng ? initial(source.fork(t.name), t) : await source.readFloat32(t.name);
    if (data.length !== t.size)
      throw new WorldlineError(
        `${t.name} of the adapter has ${data.length} values but (${t.shape.join(", ")}) is needed; it belongs to another base`,
      );
    device.write(t, data);
  }
  const pairs = new Map(modules.map((m, i) => [m, { A: tensors[2 * i], B: tensors[2 * i + 1] }]));
  const whole = new Map<string, Tensor>();
  for (const path of tables) whole.set(path, await wholeTable(device, model, path, source, base));
  return { config, pairs, whole, seed: source instanceof Rng ? source.seed : 0 };
}

/** Paths of the tables that the configuration saves whole. */
function wholeTables(model: ChameleonConfig, { modulesToSave = [] }: LoraConfig): string[] {
  const known = ["lm_head", "model.embed_tokens"];
  return modulesToSave.map((name) => {
    const path = known.find((p) => p === name || p.endsWith(`.${name}`));
    if (!path)
      throw new WorldlineError(`LoRA: modules_to_save names "${name}"; lm_head and embed_tokens can be trained whole beside an adapter`);
    if (model.tieWordEmbeddings)
      throw new WorldlineError(`LoRA: modules_to_save names "${name}", but this model's head and token table are one; leave it out`);
    return path;
  });
}

async function wholeTable(
  device: Device,
  c: ChameleonConfig,
  path: string,
  source: Rng | AdapterFile | null,
  base?: Chameleon,
): Promise<Tensor> {
  const name = `${path}.weight`;
  const fresh = async () => {
    if (!base)
      throw new WorldlineError(`LoRA: ${path} is to be trained whole and needs the base's values; pass the base model to createAdapter`);
    return tableRows(device, path === "lm_head" ? base.lm_head : base.model.embed_tokens);
  };
  const data = source === null ? undefined : source instanceof Rng ? await fresh() : await source.readFloat32(name);
  const t = device.tensor([c.vocabSize, c.hidden], { name, kind: "adapter" });
  if (data && data.length !== t.size)
    throw new WorldlineError(
      `${name} of the adapter has ${data.length} values but (${t.shape.join(", ")}) is needed; it belongs to another base`,
    );
  if (data) device.write(t, data);
  return t;
}

function initial(rng: Rng, t: Tensor): Float32Array {
  if (t.name.includes("lora_B")) return new Float32Array(t.size);
  const bound = 1 / Math.sqrt(t.shape[1]);
  return Float32Array.from({ length: t.size }, () => rng.uniform(-bound, bound));
}

function refuseOthers(file: AdapterFile, modules: readonly string[], tables: readonly string[]): void {
  const known = new Set([...modules.flatMap((m) => [`${m}.lora_A.weight`, `${m}.lora_B.weight`]), ...tables.map((t) => `${t}.weight`)]);
  const other = file.names.find((n) => !known.has(n));
  if (other)
    throw new WorldlineError(
      `${file.folder}: the adapter changes ${other}, which this model has not or which takes no adapter here; merge it with PEFT`,
    );
}

const baseOf = new WeakMap<Chameleon, Chameleon>();

/** The model with an adapter: a view that shares all tensors with `model`, or with the base of `model` where that is such a view itself. */
export function withAdapter(model: Chameleon, adapter: Adapter): Chameleon {
  const base = withoutAdapter(model);
  const adapted = (path: string, layer: Linear): Linear => {
    const pair = adapter.pairs.get(path);
    if (!pair) return { weight: layer.weight };
    const { rate, seed } = { rate: adapter.config.dropout, seed: adapter.seed };
    return {
      weight: layer.weight,
      lora_A: { weight: pair.A },
      lora_B: { weight: pair.B },
      lora: { scale: rankAndScale(adapter.config, path).scale, dropout: { rate, seed, name: path } },
    };
  };
  const part = <T extends object>(at: string, group: T): T =>
    Object.fromEntries(
      Object.entries(group).map(([name, layer]) => [name, name.endsWith("_proj") ? adapted(`${at}.${name}`, layer as Linear) : layer]),
    ) as T;
  const layers = base.model.layers.map((layer, i) => ({
    ...layer,
    self_attn: part(`model.layers.${i}.self_attn`, layer.self_attn),
    mlp: part(`model.layers.${i}.mlp`, layer.mlp),
  }));
  const table = (path: string, own: Table): Table => (adapter.whole.has(path) ? { weight: adapter.whole.get(path)! } : own);
  const embed_tokens = table("model.embed_tokens", base.model.embed_tokens);
  const view = Object.assign(Object.create(Object.getPrototypeOf(base) as object) as Chameleon, base, {
    model: { ...base.model, embed_tokens, layers },
    lm_head: table("lm_head", base.lm_head),
  });
  baseOf.set(view, base);
  return view;
}

/** The base of a view: the model without its adapter. */
export function withoutAdapter(model: Chameleon): Chameleon {
  return baseOf.get(model) ?? model;
}

/** The adapter's values as they are saved (weights/adapter.ts). */
export async function adapterData(device: Device, adapter: Adapter): Promise<TensorData[]> {
  const tensors = adapterTensors(adapter);
  const values = (await device.read(...tensors.values())) as Float32Array[];
  return [...tensors].map(([name, t], i) => ({ name, dtype: "F32", shape: t.shape, data: fromFloat32(values[i], "F32") }));
}

/** Lets an optimizer change what the adapter holds, and nothing else of its view. */
export function trainAdapter(view: Chameleon, adapter: Adapter): void {
  const own = new Set(adapterTensors(adapter).values());
  for (const t of parameters(view).values()) t.trainable = own.has(t);
}

/** The adapter's tensors by their names in the model. */
export function adapterTensors(adapter: Adapter): Map<string, Tensor> {
  const pairs = [...adapter.pairs.values()].flatMap(({ A, B }) => [A, B]);
  return new Map([...pairs, ...adapter.whole.values()].map((t) => [t.name, t]));
}
