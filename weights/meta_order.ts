// Meta's original names and row order, and Hugging Face's. Meta rotates neighbouring pairs (2j, 2j + 1) of a head, Hugging Face the halves
// (j, j + D/2): the rows of q and k, and the QK norms, move accordingly. Meta holds one QK-norm row per model-parallel rank, Hugging Face one per head.

import { WorldlineError } from "../engine/errors.ts";
import { dtypeBytes } from "./dtypes.ts";
import type { ChameleonConfig } from "./names.ts";
import { bytesOf, changed, type TensorStream } from "./stream.ts";

const outside: [meta: string, ours: string][] = [
  ["tok_embeddings.weight", "model.embed_tokens.weight"],
  ["norm.weight", "model.norm.weight"],
  ["output.weight", "lm_head.weight"],
];

const inLayer: [meta: string, ours: string][] = [
  ["attention_norm.weight", "input_layernorm.weight"],
  ["attention.wq.weight", "self_attn.q_proj.weight"],
  ["attention.wk.weight", "self_attn.k_proj.weight"],
  ["attention.wv.weight", "self_attn.v_proj.weight"],
  ["attention.wo.weight", "self_attn.o_proj.weight"],
  ["attention.q_normalization.weight", "self_attn.q_norm.weight"],
  ["attention.q_normalization.bias", "self_attn.q_norm.bias"],
  ["attention.k_normalization.weight", "self_attn.k_norm.weight"],
  ["attention.k_normalization.bias", "self_attn.k_norm.bias"],
  ["ffn_norm.weight", "post_attention_layernorm.weight"],
  ["feed_forward.w1.weight", "mlp.gate_proj.weight"],
  ["feed_forward.w2.weight", "mlp.down_proj.weight"],
  ["feed_forward.w3.weight", "mlp.up_proj.weight"],
];

/** True where tensors are named as in Meta's files. */
export function isMetaOrder(tensors: { has(name: string): boolean }): boolean {
  return tensors.has("tok_embeddings.weight");
}

/** Meta's tensors under Hugging Face's names and in its row order. Tensors of other names (the picture model) stay. */
export function fromMeta(tensors: readonly TensorStream[], config: ChameleonConfig): TensorStream[] {
  return tensors.map((t) => {
    const name = renamed(t.name, "layers.", "model.layers.", [...outside], inLayer);
    const heads = headsOf(name, config);
    if (heads === 0) return { ...t, name };
    const { headDim: D } = config;
    if (name.includes("_norm.")) {
      const rows = rowsOf(t, D, heads);
      return changed(t, { name, shape: [heads, D] }, (bytes) => repeat(permuted(bytes, rows, D, dtypeBytes[t.dtype], true), rows, heads));
    }
    rowsOf(t, heads * D * config.hidden, 1);
    return changed(t, { name }, (bytes) => permuted(bytes, heads, D, config.hidden * dtypeBytes[t.dtype], true));
  });
}

/** Hugging Face's tensors under Meta's names and in its row order. QK-norm rows that are equal for all heads become one. */
export function toMeta(tensors: readonly TensorStream[], config: ChameleonConfig): Promise<TensorStream[]> {
  const swap = (list: [string, string][]) => list.map(([a, b]): [string, string] => [b, a]);
  return Promise.all(
    tensors.map(async (t) => {
      const name = renamed(t.name, "model.layers.", "layers.", swap(outside), swap(inLayer));
      const heads = headsOf(t.name, config);
      if (heads === 0) return { ...t, name };
      const { headDim: D } = config;
      if (!t.name.includes("_norm."))
        return changed(t, { name }, (bytes) => permuted(bytes, heads, D, config.hidden * dtypeBytes[t.dtype], false));
      // Models derived from Chameleon hold one row for all heads.
      const rows = rowsOf(t, D, heads);
      const one = await sameRows(t, rows);
      const back = (bytes: Uint8Array) => permuted(bytes, rows, D, dtypeBytes[t.dtype], false);
      return one ? changed(t, { name, shape: [D] }, (b) => back(b).slice(0, b.byteLength / rows)) : changed(t, { name }, back);
    }),
  );
}

function renamed(name: string, from: string, to: string, whole: readonly [string, string][], parts: readonly [string, string][]): string {
  const direct = whole.find(([a]) => a === name);
  if (direct) return direct[1];
  const match = name.startsWith(from) ? /^(\d+)\.(.+)$/.exec(name.slice(from.length)) : null;
  const part = match && parts.find(([a]) => a === match[2]);
  return match && part ? `${to}${match[1]}.${part[1]}` : name;
}

/** Heads of a tensor whose rows move (by its Hugging Face name); 0 for the others. */
function headsOf(name: string, { heads, kvHeads }: ChameleonConfig): number {
  const which = /\.self_attn\.([qk])_(?:proj|norm)\./.exec(name)?.[1];
  return which === "q" ? heads : which === "k" ? kvHeads : 0;
}

/** Rows of `width` values in a tensor; they must divide `most`. */
function rowsOf(t: TensorStream, width: number, most: number): number {
  const rows = t.shape.reduce((a, b) => a * b, 1) / width;
  if (Number.isInteger(rows) && rows >= 1 && most % rows === 0) return rows;
  throw new WorldlineError(
    `${t.name} is [${t.shape.join(", ")}], which does not fit config.json; do weights and configuration belong together?`,
  );
}

/** Rows of each head from pairs to halves, or back. `bytes` holds heads x D rows of `rowBytes`. */
function permuted(bytes: Uint8Array, heads: number, D: number, rowBytes: number, toHalves: boolean): Uint8Array {
  const out = new Uint8Array(bytes.byteLength);
  for (let h = 0; h < heads; h++) {
    for (let j = 0; j < D; j++) {
      const pair = h * D + (j < D / 2 ? 2 * j : 2 * (j - D / 2) + 1);
      const [from, to] = toHalves ? [pair, h * D + j] : [h * D + j, pair];
      out.set(bytes.subarray(from * rowBytes, (from + 1) * rowBytes), to * rowBytes);
    }
  }
  return out;
}

/** Each of `rows` rows as often as makes `heads` rows. */
function repeat(bytes: Uint8Array, rows: number, heads: number): Uint8Array {
  const width = bytes.byteLength / rows;
  const out = new Uint8Array(width * heads);
  for (let h = 0; h < heads; h++) {
    const row = Math.floor((h * rows) / heads);
    out.set(bytes.subarray(row * width, (row + 1) * width), h * width);
  }
  return out;
}

async function sameRows(t: TensorStream, heads: number): Promise<boolean> {
  const bytes = await bytesOf(t);
  const width = bytes.byteLength / heads;
  return bytes.every((byte, i) => byte === bytes[i % width]);
}
