// Attention for generation: new queries over a prefix that several rows share and each row's own suffix, and the write into such a cache.
// `base` changes from run to run, so no grid depends on it.
import { grid2d, kernel } from "../kernel.ts";
import { half } from "./attention.ts";

export const attentionCached = kernel({
  name: "attention_cached",
  source: new URL("./attention_cached.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["q", "kp", "vp", "start", "ks", "vs"],
  writes: ["o"],
  params: { R: "u32", T: "u32", S: "u32", cap: "u32", N: "u32", K: "u32", D: "u32", branches: "u32", base: "u32", scale: "f32" },
  types: { q: half("QT"), kp: half("PKT"), vp: half("PVT"), ks: half("KT"), vs: half("VT"), start: "u32" },
  consts: { WG: 64 },
  grid: ({ R, T, N }, { WG }) => grid2d(Math.ceil((R * T * N) / WG)),
});

export const cacheWrite = kernel({
  name: "cache_write",
  source: new URL("./cache_write.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x"],
  writes: ["cache"],
  params: { R: "u32", T: "u32", C: "u32", cap: "u32", base: "u32" },
  types: { x: half("XT"), cache: half("CT") },
  consts: { WG: 64 },
  grid: ({ R, T, C }, { WG }) => grid2d(Math.ceil((R * T * C) / WG)),
});
