// Attention with grouped heads: `attention` over whole sequences, with gradients, and `attentionCached` with `writeCache` for generation.
// Query head n reads key head floor(n / (N / K)).

import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { attentionDelta, attentionDkv, attentionDq, attention as forward } from "../../kernels/attention/attention.ts";
import { attentionCached as cached, cacheWrite } from "../../kernels/attention/attention_cached.ts";
import type { Device } from "../device.ts";
import { ShapeError } from "../errors.ts";
import type { Scalar } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

export interface AttentionOptions {
  /** Query t sees keys up to t + S - T; false unless told. */
  readonly causal?: boolean;
  /** u32 (B): keys before it are not seen (left padding). A query that sees no key gives zeros. */
  readonly start?: Tensor;
  /** Factor of the scores; 1 / sqrt(D) unless told. */
  readonly scale?: number;
}

/** Softmax attention: q (B, T, N, D), k and v (B, S, K, D) with K dividing N -> (B, T, N, D). */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions = {}): Tensor {
  const [B, T, N, D] = fourOf("attention", "q", q);
  const [, S, K] = fourOf("attention", "k", k);
  if (k.shape[0] !== B || k.shape[3] !== D || N % K !== 0)
    throw new ShapeError("attention", { q, k }, `k must be (${B}, keys, heads, ${D}) with heads dividing ${N}`);
  if (v.shape.join() !== k.shape.join()) throw new ShapeError("attention", { k, v }, "v must have the shape of k");
  const { tape } = q;
  const { causal = false, scale = 1 / Math.sqrt(D) } = options;
  const start = startOf("attention", tape.device, options.start, B);
  const o = tape.empty([B, T, N, D], "f32", "attention");
  const lse = tape.empty([B, N, T], "f32", "lse");
  const params = { B, T, S, N, K, D, scale, causal: causal ? 1 : 0, padded: options.start ? 1 : 0 };
  tape.launch(forward, { q, k, v, start, o, lse }, params);
  tape.onBackward(o, [q, k, v], () => {
    const dout = tape.grad(o);
    const stat = tape.empty([B, N, T, 2], "f32", "attention stat");
    tape.launch(attentionDelta, { o, dout, lse, stat }, { B, T, N, D });
    const dq = tape.into(q);
    if (dq) tape.launch(attentionDq, { q, k, v, dout, stat, start, dq: dq.tensor }, { ...params, acc: dq.acc });
    if (!tape.requires(k) && !tape.requires(v)) return;
    const shared = k.root === v.root;
    const dk = tape.into(k) ?? { tensor: tape.empty(k.shape, "f32", "unused dk"), acc: 0 };
    const dv = (shared ? undefined : tape.into(v)) ?? { tensor: tape.empty(v.shape, "f32", "dv"), acc: 0 };
    tape.launch(attentionDkv, { q, k, v, dout, stat, start, dk: dk.tensor, dv: dv.tensor }, { ...params, accK: dk.acc, accV: dv.acc });
    const both = shared ? tape.into(v) : undefined;
    if (both) tape.launch(accumulate, { x: dv.tensor, y: both.tensor }, { n: v.size, scale: 1, acc: both.acc });
  });
  return o;
}

/** Keys and values of earlier tokens. */
export interface CachedKeys {
  /** A prompt's keys and values (P, S, K, D); `branches` rows of q share one. */
  readonly prefix?: { readonly k: Tensor; readonly v: Tensor; readonly branches: number };
  /** Each row's own tokens (R, cap, K, D), those of this call included: see writeCache. */
  readonly suffix: { readonly k: Tensor; readonly v: Tensor };
  /** Tokens in the suffix before this call. */
  readonly base: Scalar | number;
  /** u32 (P, or R without a prefix): tokens of prefix and suffix together that are padding, not seen by any query. */
  readonly start?: Tensor;
  /** Factor of the scores; 1 / sqrt(D) unless told. */
  readonly scale?: number;
}

/**
 * Attention of T new tokens a row, q (R, T, N, D) -> (R, T, N, D): query t of row r sees its prefix and the tokens 0 ... base + t of its suffix;
 * one that sees none gives zeros. Has no gradient. base + T must not pass the suffix's room.
 */
export function attentionCached(q: Tensor, cache: CachedKeys): Tensor {
  const [R, T, N, D] = fourOf("attentionCached", "q", q);
  const { prefix, suffix, base } = cache;
  const [, cap, K] = fourOf("attentionCached", "suffix.k", suffix.k);
  const want = `(${R}, room, heads, ${D}) with heads dividing ${N}`;
  if (suffix.k.shape[0] !== R || suffix.k.shape[3] !== D || N % K !== 0)
    throw new ShapeError("attentionCached", { q, k: suffix.k }, `the suffix must be ${want}`);
  if (suffix.v.shape.join() !== suffix.k.shape.join()) throw new ShapeError("attentionCached", suffix, "v must have the shape of k");
  const used = typeof base === "number" ? base : base.value;
  if (used + T > cap)
    throw new ShapeError(
      "attentionCached",
      { q, k: suffix.k },
      `${used} tokens and ${T} new ones do not fit a suffix of ${cap}; make it longer`,
    );
  const branches = prefix?.branches ?? 1;
  if (prefix) checkPrefix(prefix, R, K, D);
  const { tape } = q;
  const o = tape.empty([R, T, N, D], "f32", "attention");
  const start = startOf("attentionCached", tape.device, cache.start, R / branches);
  tape.launch(
    cached,
    { q, kp: prefix?.k ?? suffix.k, vp: prefix?.v ?? suffix.v, start, ks: suffix.k, vs: suffix.v, o },
    { R, T, S: prefix?.k.shape[1] ?? 0, cap, N, K, D, branches, base, padded: cache.start ? 1 : 0, scale: cache.scale ?? 1 / Math.sqrt(D) },
  );
  return o;
}

function checkPrefix({ k, v, branches }: NonNullable<CachedKeys["prefix"]>, R: number, K: number, D: number): void {
  const rows = fourOf("attentionCached", "prefix.k", k)[0];
  if (k.shape[2] !== K || k.shape[3] !== D || v.shape.join() !== k.shape.join()) {
    throw new ShapeError("attentionCached", { k, v }, `the prefix's k and v must be alike, (prompts, tokens, ${K}, ${D})`);
  }
  if (rows * branches !== R)
    throw new ShapeError("attentionCached", { k }, `${rows} prompts of ${branches} branches make ${rows * branches} rows, q has ${R}`);
}

/** Puts x (R, T, K, D) into cache (R, cap, K, D) at tokens base ... base + T - 1, and gives the cache. Tokens past the end are dropped. */
export function writeCache(x: Tensor, cache: Tensor, base: Scalar | number): Tensor {
  const [R, T, K, D] = fourOf("writeCache", "x", x);
  const [rows, cap] = fourOf("writeCache", "cache", cache);
  if (rows !== R || cache.shape[2] !== K || cache.shape[3] !== D || cap < T) {
    throw new ShapeError("writeCache", { x, cache }, `the cache must be (${R}, at least ${T}, ${K}, ${D})`);
  }
  x.tape.launch(cacheWrite, { x, cache }, { R, T, C: K * D, cap, base });
  return cache;
}

function fourOf(op: string, name: string, t: Tensor): readonly number[] {
  if (t.shape.length !== 4) throw new ShapeError(op, { [name]: t }, "it needs four dimensions (rows, tokens, heads, head size)");
  return t.shape;
}

const unpadded = new WeakMap<Device, Tensor>();

/** The given starts, or one word to take their binding where there is no padding. */
function startOf(op: string, device: Device, start: Tensor | undefined, rows: number): Tensor {
  if (start) {
    if (start.size !== rows || start.dtype !== "u32")
      throw new ShapeError(op, { start }, `start must be u32 with ${rows} values, one a row`);
    return start;
  }
  let none = unpadded.get(device);
  if (!none) unpadded.set(device, (none = device.tensor([1], { dtype: "u32", name: "no padding" })));
  return none;
}
