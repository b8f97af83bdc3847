// Attention for generation: new queries over a prefix that several rows share and each row's own suffix, and the write into such a cache.
// `base` changes from run to run, so no grid depends on it.
import { grid2d, kernel, type Numbers } from "../kernel.ts";
import { half, quadsOf, rowsOf } from "./attention.ts";

/** Rows of a tile: as many as share a prefix, few where each has a suffix of its own. */
function rowsTogether(p: Numbers, lanes: number): number {
  const own = (p.T * p.N) / p.K;
  return Math.min(rowsOf(p, lanes, own >= 16 ? 16 : 8), 2 ** Math.ceil(Math.log2(own * p.branches)));
}

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
  variants: [
    {
      name: "tile",
      source: new URL("./cached_tile.wgsl", import.meta.url),
      needs: ["subgroups"],
      when: (p, { lanes }) => lanes >= 4 && p.D % 4 === 0 && quadsOf(p, lanes) <= 8 && (p.R / p.branches) * p.K <= 65535,
      consts: (_, { lanes }) => ({ WG: lanes }),
      rebind: (p, { lanes }) => {
        const ROWS = rowsTogether(p, lanes);
        return { ROWS, LANES: lanes, LOADS: Math.ceil(ROWS / lanes), QUADS: quadsOf(p, lanes) };
      },
      grid: (p, { WG }) => [Math.ceil((p.branches * p.T * p.N) / p.K / rowsTogether(p, WG)), (p.R / p.branches) * p.K],
    },
  ],
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
  variants: [
    {
      name: "quads",
      source: new URL("./cache_write_quads.wgsl", import.meta.url),
      when: ({ R, T, C }) => C % 4 === 0 && R * T <= 65535,
      consts: { WG: 16 },
      grid: ({ R, T, C }, { WG }) => [R * T, Math.ceil(C / 4 / WG)],
    },
  ],
});
