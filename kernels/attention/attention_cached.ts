// Attention for generation: new queries over a prefix that several rows share and each row's own suffix, and the write into such a cache.
// `base` changes from run to run, so no grid depends on it.
import { type Capabilities, grid2d, kernel, type Numbers } from "../kernel.ts";
import { half, quadsOf, rowsOf } from "./attention.ts";

/** Rows of a tile: as many as share a prefix, few where each has a suffix of its own. */
function rowsTogether(p: Numbers, device: Capabilities): number {
  const own = (p.T * p.N) / p.K;
  const count = own * p.branches;
  return Math.min(rowsOf(p, device), own >= 16 ? 16 : 8, 2 ** Math.ceil(Math.log2(count)));
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
      when: ({ R, K, D, branches }, { lanes }) => lanes >= 4 && D % 4 === 0 && D <= 32 * lanes && (R / branches) * K <= 65535,
      consts: (_, { lanes }) => ({ WG: lanes }),
      rebind: (p, device) => {
        const ROWS = rowsTogether(p, device);
        return { ROWS, LANES: device.lanes, LOADS: Math.ceil(ROWS / device.lanes), QUADS: quadsOf(p, device) };
      },
      grid: (p, { WG }) => [Math.ceil((p.branches * p.T * p.N) / p.K / rowsTogether(p, { lanes: WG } as Capabilities)), (p.R / p.branches) * p.K],
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
});
