// Chameleon's transformer: a Llama-shaped decoder over one sequence of text and picture tokens, with a LayerNorm (bias, eps 1e-5) on every
// query and key head before the rotary embedding, and RMSNorms before (7B) or behind (30B, swin_norm) attention and MLP. Field names are the
// checkpoint's names. Sizes come from ChameleonConfig alone. Source: arXiv 2405.09818 and the published checkpoints' format.
import type { Device } from "../engine/device.ts";
import { bytesText, WorldlineError } from "../engine/errors.ts";
import { parameters } from "../engine/module.ts";
import {
  add,
  addLowRank,
  attention,
  type ChosenRows,
  type CrossEntropy,
  type Dropout,
  embedding,
  gatherRows,
  type HeadOptions,
  headNormRope,
  linear,
  linearCrossEntropy,
  linearInto,
  type RopeTable,
  rmsnorm,
  ropeTable,
  scoreRows,
  swiglu,
  swigluLinear,
  writeCache,
} from "../engine/ops/index.ts";
import { Rng } from "../engine/rng.ts";
import type { Scalar, Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { Checkpoint } from "../weights/checkpoint.ts";
import type { ChameleonConfig } from "../weights/names.ts";
import {
  bytesAs,
  checkpointPieces,
  defaultGroupSize,
  isMatrix,
  type Piece,
  quantizedIn,
  rowsInMemory,
  type StoredAs,
  storedPieces,
  storedTypes,
} from "../weights/stored.ts";

export interface Weight {
  weight: Tensor;
}
/** The token table or the head, of which some rows may be trained apart (models/rows.ts). */
export interface Table extends Weight {
  rows?: ChosenRows;
}
/** A linear layer's weight (out, in) and, with an adapter, its low-rank pair A (r, in) and B (out, r); see models/lora.ts. */
export interface Linear extends Weight {
  lora_A?: Weight;
  lora_B?: Weight;
  /** What the pair is multiplied with, and its dropout. */
  lora?: { readonly scale: number; readonly dropout?: Dropout };
}
interface Norm extends Weight {
  bias: Tensor;
}
export interface Layer {
  input_layernorm: Weight;
  self_attn: { q_proj: Linear; k_proj: Linear; v_proj: Linear; o_proj: Linear; q_norm: Norm; k_norm: Norm };
  post_attention_layernorm: Weight;
  mlp: { gate_proj: Linear; up_proj: Linear; down_proj: Linear };
}

/** A layer's cache, keys and values (B,cap,K,D): new tokens are put at `base`. */
export interface LayerCache {
  readonly k: Tensor;
  readonly v: Tensor;
  readonly base: Scalar | number;
}

/** How layers attend: over the sequence itself, or over a cache. */
export interface Attend {
  /** Where a layer's keys and values go; without it they are tensors of the sequence alone. */
  cache?(layer: number): LayerCache;
  /** q (B,T,N,D), k and v (B,T,K,D) or the layer's cache, with the new tokens in it -> (B,T,N,D). */
  over(q: Tensor, k: Tensor, v: Tensor, layer: number): Tensor;
}

/** Reads a checkpoint tensor as f32 by name. */
export type TensorReader = (name: string, shape: readonly number[]) => Promise<Float32Array>;

/** Attention within the sequence: causal, keys before `start` (u32, B) unseen where rows are padded on the left. */
export function selfAttention(start?: Tensor): Attend {
  return { over: (q, k, v) => attention(q, k, v, { causal: true, start }) };
}

/** x W^T (+ residual), plus the low-rank part where the layer has one: every linear layer of attention and MLP. x (..., in) -> (..., out). */
export function project(x: Tensor, layer: Linear, residual?: Tensor): Tensor {
  const y = linear(x, layer.weight, { residual });
  if (layer.lora && layer.lora_A && layer.lora_B) addLowRank(y, x, { A: layer.lora_A.weight, B: layer.lora_B.weight, ...layer.lora });
  return y;
}

/** What a layer needs to attend besides its weights and input. */
interface Attending {
  readonly positions: Tensor;
  readonly table: RopeTable;
  readonly attend: Attend;
  readonly index: number;
}

/** A layer's values (B,T,K,D), or its cache with them in it. */
function values(x: Tensor, layer: Linear, shape: readonly number[], cache: LayerCache | undefined): Tensor {
  if (cache && shape[1] === 1 && !layer.lora) return linearInto(x, layer.weight, { cache: cache.v, base: cache.base });
  const v = project(x, layer).reshape(...shape);
  return cache ? writeCache(v, cache.v, cache.base) : v;
}

export class Chameleon {
  readonly config: ChameleonConfig;
  readonly model: { embed_tokens: Table; layers: Layer[]; norm: Weight };
  readonly lm_head: Table;

  constructor(config: ChameleonConfig, tensors: ReadonlyMap<string, Tensor>) {
    const w = (name: string): Weight => ({ weight: tensors.get(`${name}.weight`)! });
    const n = (name: string): Norm => ({ ...w(name), bias: tensors.get(`${name}.bias`)! });
    this.config = config;
    this.model = {
      embed_tokens: w("model.embed_tokens"),
      layers: Array.from({ length: config.layers }, (_, i) => layerFrom(`model.layers.${i}`, w, n)),
      norm: w("model.norm"),
    };
    this.lm_head = config.tieWordEmbeddings ? this.model.embed_tokens : w("lm_head");
  }

  /**
   * Final hidden states of token ids (B,T) at positions (u32, B*T): (B,T,C). With `recompute` a block's activations are made once more for its gradient
   * instead of being held: memory of one block, a third more time, the same bits.
   */
  forward(ids: Tensor, positions: Tensor, table: RopeTable, attend: Attend, { recompute = false }: { recompute?: boolean } = {}): Tensor {
    const { padId, rmsNormEps } = this.config;
    const { embed_tokens } = this.model;
    let x = ids.tape.scope("embed", () => embedding(embed_tokens.weight, ids, { skip: padId, rows: embed_tokens.rows }));
    this.model.layers.forEach((layer, i) => {
      const input = x;
      const block = () => this.block(input, layer, { positions, table, attend, index: i });
      x = ids.tape.scope(`layer${i}`, () => (recompute ? ids.tape.recompute(block) : block()));
    });
    return rmsnorm(x, this.model.norm.weight, rmsNormEps);
  }

  private block(x: Tensor, layer: Layer, how: Attending): Tensor {
    const { rmsNormEps, swinNorm } = this.config;
    const before = (t: Tensor, norm: Weight) => (swinNorm ? t : rmsnorm(t, norm.weight, rmsNormEps));
    const attended = this.attention(before(x, layer.input_layernorm), layer.self_attn, how, swinNorm ? undefined : x);
    const h = swinNorm ? add(x, rmsnorm(attended, layer.input_layernorm.weight, rmsNormEps)) : attended;
    const { gate_proj, up_proj, down_proj } = layer.mlp;
    const a = before(h, layer.post_attention_layernorm);
    const adapted = gate_proj.lora || up_proj.lora;
    const inner = adapted ? swiglu(project(a, gate_proj), project(a, up_proj)) : swigluLinear(a, gate_proj.weight, up_proj.weight);
    if (!swinNorm) return project(inner, down_proj, h);
    return add(h, rmsnorm(project(inner, down_proj), layer.post_attention_layernorm.weight, rmsNormEps));
  }

  /** Attention with its projections; adds `residual` if given. x (B,T,C) -> (B,T,C). */
  private attention(x: Tensor, w: Layer["self_attn"], { positions, table, attend, index }: Attending, residual?: Tensor): Tensor {
    const { heads, kvHeads, headDim } = this.config;
    const [B, T] = x.shape;
    const cache = attend.cache?.(index);
    const rotated = { eps: 1e-5, table, positions };
    const q = headNormRope(project(x, w.q_proj).reshape(B, T, heads, headDim), { ...w.q_norm, ...rotated });
    const into = cache && { cache: cache.k, base: cache.base };
    const k = headNormRope(project(x, w.k_proj).reshape(B, T, kvHeads, headDim), { ...w.k_norm, ...rotated, into });
    const v = values(x, w.v_proj, [B, T, kvHeads, headDim], cache);
    return project(attend.over(q, k, v, index).reshape(B, T, heads * headDim), w.o_proj, residual);
  }

  /** Scores over the vocabulary for hidden states (..., C): (..., V). With `rows` (u32, R) only those positions are scored: (R, V). */
  logits(h: Tensor, rows?: Tensor): Tensor {
    const C = this.config.hidden;
    const { weight, rows: chosen } = this.lm_head;
    const of = rows ? gatherRows(h.reshape(h.size / C, C), rows) : h;
    const y = linear(of, weight);
    if (chosen) scoreRows(of, chosen, y);
    return y;
  }

  /** The weighted loss of hidden states (..., C), or of its `rows` (u32, R), as predictions of `targets` (u32, R): the logits never exist all at once. */
  loss(h: Tensor, rows: Tensor | undefined, targets: Tensor, weights: Tensor, options: HeadOptions): CrossEntropy {
    const flat = h.reshape(h.size / this.config.hidden, this.config.hidden);
    const { weight, rows: chosen } = this.lm_head;
    return h.tape.scope("head", () =>
      linearCrossEntropy(rows ? gatherRows(flat, rows) : flat, weight, targets, weights, { rows: chosen, ...options }),
    );
  }
}

function layerFrom(at: string, w: (name: string) => Weight, n: (name: string) => Norm): Layer {
  const p = (name: string) => w(`${at}.${name}`);
  const attn = (name: string) => p(`self_attn.${name}`);
  return {
    input_layernorm: p("input_layernorm"),
    self_attn: {
      q_proj: attn("q_proj"),
      k_proj: attn("k_proj"),
      v_proj: attn("v_proj"),
      o_proj: attn("o_proj"),
      q_norm: n(`${at}.self_attn.q_norm`),
      k_norm: n(`${at}.self_attn.k_norm`),
    },
    post_attention_layernorm: p("post_attention_layernorm"),
    mlp: { gate_proj: p("mlp.gate_proj"), up_proj: p("mlp.up_proj"), down_proj: p("mlp.down_proj") },
  };
}

/** Names and shapes of the language model's tensors, in the order they are held. */
export function chameleonSpecs(c: ChameleonConfig): { name: string; shape: number[] }[] {
  const { hidden: H, intermediate: I, heads: N, kvHeads: K, headDim: D, vocabSize: V } = c;
  const specs: { name: string; shape: number[] }[] = [];
  const put = (name: string, ...shape: number[]) => void specs.push({ name, shape });
  put("model.embed_tokens.weight", V, H);
  for (let i = 0; i < c.layers; i++) {
    const at = `model.layers.${i}`;
    put(`${at}.input_layernorm.weight`, H);
    put(`${at}.self_attn.q_proj.weight`, N * D, H);
    put(`${at}.self_attn.k_proj.weight`, K * D, H);
    put(`${at}.self_attn.v_proj.weight`, K * D, H);
    put(`${at}.self_attn.o_proj.weight`, H, N * D);
    for (const [name, heads] of [
      ["q_norm", N],
      ["k_norm", K],
    ] as const) {
      put(`${at}.self_attn.${name}.weight`, heads, D);
      put(`${at}.self_attn.${name}.bias`, heads, D);
    }
    put(`${at}.post_attention_layernorm.weight`, H);
    put(`${at}.mlp.gate_proj.weight`, I, H);
    put(`${at}.mlp.up_proj.weight`, I, H);
    put(`${at}.mlp.down_proj.weight`, H, I);
  }
  put("model.norm.weight", H);
  if (!c.tieWordEmbeddings) put("lm_head.weight", V, H);
  return specs;
}

/** Where a model's numbers come from: a seed, float32 arrays by name, a checkpoint read by pieces, or nowhere (a plan of memory). */
export type WeightSource = Rng | TensorReader | Checkpoint | null;

/** What a model takes on the device: matrices in the chosen type with their scales, everything else f32. */
export function weightBytes(config: ChameleonConfig, to: StoredAs): number {
  return chameleonSpecs(config).reduce((sum, { name, shape }) => sum + (isMatrix(name) ? bytesAs(shape, to) : 4 * sizeOf(shape)), 0);
}

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const asF32: StoredAs = { dtype: "f32", groupSize: defaultGroupSize };

/**
 * A model read from a checkpoint or initialised from a seed: linear weights normal with deviation 1/sqrt(inputs), those that write the residual
 * stream divided by sqrt(2 layers), embeddings normal, norms 1 and biases 0. f32 tensors lie side by side in one buffer, so that an optimizer can
 * walk over them, unless they are more than one buffer can hold. In any other type the matrices are frozen, each in a buffer of its own.
 * `onBytes` hears how much has been put on the device, and how large the tensors are together that have been begun: a driver may take a
 * buffer's memory whole when its first byte is written.
 */
export async function createChameleon(
  device: Device,
  config: ChameleonConfig,
  source: WeightSource,
  options: { as?: StoredAs; onBytes?: (done: number, total: number, begun: number) => void } = {},
): Promise<Chameleon> {
  const { as = asF32, onBytes } = options;
  const specs = chameleonSpecs(config);
  const total = weightBytes(config, as);
  const together = as.dtype === "f32" && total + 256 * specs.length <= device.raw.limits.maxBufferSize;
  const tensors = await device.guarded(
    `weights as ${as.dtype}`,
    total,
    (free) => smaller(config, total, free),
    () => (together ? device.arena(specs, "weights", "language model") : specs.map((s) => place(device, s, as))),
  );
  let done = 0;
  let begun = together ? total : 0;
  let waiting = 0;
  for (const t of tensors) {
    if (source === null) break;
    if (!together) begun += t.bytes + (t.quantized?.scales.bytes ?? 0);
    for await (const { part, at, bytes } of tensorPieces(source, t, isMatrix(t.name) ? as : asF32, config)) {
      device.upload(part === "values" ? t : t.quantized!.scales, at, bytes);
      waiting += bytes.byteLength;
      onBytes?.((done += bytes.byteLength), total, begun);
      // What is written is held by the driver until it is done: wait before that grows.
      if (waiting < 1 << 26) continue;
      waiting = 0;
      await device.finish();
    }
  }
  await device.finish();
  return new Chameleon(config, new Map(tensors.map((t) => [t.name, t])));
}

/** Which smaller types there are, of those that fit where the free memory is known. */
function smaller(config: ChameleonConfig, bytes: number, free = bytes): string {
  const all = storedTypes.map((dtype) => ({ dtype, bytes: weightBytes(config, { ...asF32, dtype }) }));
  const fitting = all.filter((a) => a.bytes < bytes && a.bytes <= free);
  const list = fitting.map((a) => `${a.dtype} (${bytesText(a.bytes)})`).join(", ");
  return list ? `choose a smaller type with --dtype: ${list}` : "a smaller model or more memory is needed";
}

function place(device: Device, { name, shape }: { name: string; shape: number[] }, as: StoredAs): Tensor {
  if (isMatrix(name)) return device.matrix([shape[0], shape[1]], { dtype: as.dtype, name, groupSize: as.groupSize });
  return device.tensor(shape, { name, kind: "weights" });
}

/** A tensor's bytes from any source, as it is to be stored. */
async function* tensorPieces(source: NonNullable<WeightSource>, t: Tensor, as: StoredAs, config: ChameleonConfig): AsyncGenerator<Piece> {
  const shape = t.shape.length === 2 ? t.shape : [1, t.size];
  const unfit = (what: string) =>
    new WorldlineError(`${t.name} has ${what} but (${t.shape.join(", ")}) is needed; config.json does not fit the weights`);
  if (source instanceof Rng || typeof source === "function") {
    const data =
      source instanceof Rng ? initial(source.fork(t.name), { name: t.name, shape: [...t.shape] }, config) : await source(t.name, t.shape);
    if (data.length !== t.size) throw unfit(`${data.length} values`);
    yield* storedPieces(rowsInMemory(data, shape[1]), shape, as, t.name);
    return;
  }
  const held = source.tensors.get(t.name);
  if (!held) throw new WorldlineError(`${source.name}: there is no tensor ${t.name}; the model needs it`);
  // Models derived from Chameleon store the weights of a head's norm once for all heads.
  if (/\.[qk]_norm\.(weight|bias)$/.test(t.name) && sizeOf(held.shape) === config.headDim && t.size > config.headDim) {
    const one = await source.readFloat32(t.name);
    const all = Float32Array.from({ length: t.size }, (_, i) => one[i % one.length]);
    yield* storedPieces(rowsInMemory(all, shape[1]), shape, as, t.name);
    return;
  }
  const columns = quantizedIn(source, t.name)?.columns;
  const size = columns === undefined ? sizeOf(held.shape) : held.shape[0] * columns;
  if (size !== t.size || (columns !== undefined && columns !== shape[1])) throw unfit(`${size} values`);
  yield* checkpointPieces(source, t.name, shape, as);
}

function initial(rng: Rng, spec: { name: string; shape: number[] }, c: ChameleonConfig): Float32Array {
  const size = spec.shape.reduce((a, b) => a * b, 1);
  if (spec.name.endsWith("bias")) return new Float32Array(size);
  if (spec.name.includes("norm")) return new Float32Array(size).fill(1);
  if (spec.name.includes("embed_tokens")) return rng.normals(size, 1);
  const residual = /o_proj|down_proj/.test(spec.name) ? 1 / Math.sqrt(2 * c.layers) : 1;
  return rng.normals(size, residual / Math.sqrt(spec.shape[1]));
}

/** The rotary table of a model for `positions` positions, of which `known` (all unless told) are rotated together: see RopeOptions. */
export function ropeFor(device: Device, c: ChameleonConfig, positions = c.maxPositions, known = positions): RopeTable {
  const { ropeTheta: theta, headDim, ropeScaling: scaling, maxPositions } = c;
  return ropeTable(device, { theta, headDim, positions, scaling, maxPositions, known });
}

/** The positions input of a batch without padding on the left: 0 ... T-1 in every row. */
export function plainPositions(B: number, T: number): Uint32Array {
  return Uint32Array.from({ length: B * T }, (_, i) => i % T);
}

/** Floating point operations of one forward pass over B sequences of T tokens with `scored` positions put through the head. */
export function flops(c: ChameleonConfig, B: number, T: number, scored = B * T): number {
  const { hidden: H, intermediate: I, heads: N, kvHeads: K, headDim: D, vocabSize: V, layers: L } = c;
  const linears = 2 * H * (2 * N * D + 2 * K * D + 3 * I);
  return B * T * L * (linears + 4 * T * N * D) + 2 * scored * H * V;
}

/** The language model as named arrays with their shapes, in checkpoint order; chosen rows stand in their places, adapters are left out. */
export async function readTensors(device: Device, m: Chameleon): Promise<Map<string, { shape: readonly number[]; data: Float32Array }>> {
  const all = parameters(m.config.tieWordEmbeddings ? { model: m.model } : { model: m.model, lm_head: m.lm_head });
  const chosen = [...all.keys()].filter((name) => name.endsWith(".rows.weight"));
  for (const name of all.keys()) if (/\.lora_[AB]\.weight$/.test(name)) all.delete(name);
  const values = (await device.read(...all.values())) as Float32Array[];
  const out = new Map([...all].map(([name, t], i) => [name, { shape: t.shape, data: values[i] }]));
  for (const name of chosen) {
    const table = name.startsWith("lm_head") ? m.lm_head : m.model.embed_tokens;
    out.get(name.replace(".rows.", "."))!.data.set(out.get(name)!.data, table.rows!.first * m.config.hidden);
    out.delete(name);
  }
  return out;
}

/** Declares the input pair every plan over a sequence starts with. */
export function sequenceInputs(tape: Tape, B: number, T: number): { ids: Tensor; positions: Tensor } {
  return { ids: tape.input("ids", [B, T], "u32"), positions: tape.input("positions", [B * T], "u32") };
}

/** Gives the memory of a model's weights back; no plan that reads them may run afterwards. */
export function releaseModel(device: Device, m: Chameleon): void {
  const held = [...parameters({ model: m.model, lm_head: m.lm_head }).values()];
  const buffers = new Set(held.flatMap((t) => [t.storage!.buffer, ...(t.quantized ? [t.quantized.scales.storage!.buffer] : [])]));
  for (const buffer of buffers) device.release(buffer, "weights");
}
