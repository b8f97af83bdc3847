// Causal or full attention with grouped heads and left padding, memory linear in length: forward, and its gradients from the log-sum-exp
// of the scores instead of the scores themselves (Dao et al. 2022, arXiv 2205.14135).
import { type ElementType, grid2d, kernel } from "../kernel.ts";

export const half = (alias: string): ElementType => ({ alias, dtypes: ["f32", "f16"] });

const shape = { B: "u32", T: "u32", S: "u32", N: "u32", K: "u32", D: "u32", scale: "f32", causal: "u32", padded: "u32" } as const;
const perRow = (rows: number, WG: number) => grid2d(Math.ceil(rows / WG));

export const attention = kernel({
  name: "attention",
  source: new URL("./attention.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["q", "k", "v", "start"],
  writes: ["o", "lse"],
  params: shape,
  types: { q: half("QT"), k: half("KT"), v: half("VT"), start: "u32" },
  consts: { WG: 64 },
  grid: ({ B, T, N }, { WG }) => perRow(B * T * N, WG),
});

export const attentionDelta = kernel({
  name: "attention_delta",
  source: new URL("./attention_delta.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["o", "dout", "lse"],
  writes: ["stat"],
  params: { B: "u32", T: "u32", N: "u32", D: "u32" },
  consts: { WG: 64 },
  grid: ({ B, T, N }, { WG }) => perRow(B * T * N, WG),
});

export const attentionDq = kernel({
  name: "attention_dq",
  source: new URL("./attention_dq.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["q", "k", "v", "dout", "stat", "start"],
  writes: ["dq"],
  params: { ...shape, acc: "u32" },
  types: { start: "u32" },
  consts: { WG: 64 },
  grid: ({ B, T, N }, { WG }) => perRow(B * T * N, WG),
});

export const attentionDkv = kernel({
  name: "attention_dkv",
  source: new URL("./attention_dkv.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["q", "k", "v", "dout", "stat", "start"],
  writes: ["dk", "dv"],
  params: { ...shape, accK: "u32", accV: "u32" },
  types: { start: "u32" },
  consts: { WG: 64 },
  grid: ({ B, S, K }, { WG }) => perRow(B * S * K, WG),
});
