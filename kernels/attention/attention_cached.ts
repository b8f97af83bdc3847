// Attention for generation: new queries over a prefix that several rows share and each row's own suffix, and the write into such a cache.
// `base` changes from run to run, so no grid depends on it.
import { grid2d, kernel, type Numbers, type Variant } from "../kernel.ts";
import { half, quadsOf, rowsOf } from "./attention.ts";

/** Queries of one row of the cache that share a key head. */
const ownQueries = ({ T, N, K }: Numbers) => (T * N) / K;

/** Rows of a tile: up to 16 of those that share a prefix. */
const rowsTogether = (p: Numbers, lanes: number) => Math.min(rowsOf(p, lanes, 16), 2 ** Math.ceil(Math.log2(ownQueries(p) * p.branches)));

/** One subgroup owns a tile of the queries that share a prefix row and a key head. */
function tiled(name: string, source: URL, fits: (p: Numbers) => boolean): Variant {
  return {
    name,
    source,
    needs: ["subgroups"],
    when: (p, { lanes }) => lanes >= 4 && p.D % 4 === 0 && quadsOf(p, lanes) <= 8 && (p.R / p.branches) * p.K <= 65535 && fits(p),
    consts: (_, { lanes }) => ({ WG: lanes }),
    rebind: (p, { lanes }) => {
      const ROWS = rowsTogether(p, lanes);
      return { ROWS, LANES: lanes, LOADS: Math.ceil(ROWS / lanes), QUADS: quadsOf(p, lanes) };
    },
    grid: (p, { WG }) => [Math.ceil((ownQueries(p) * p.branches) / rowsTogether(p, WG)), (p.R / p.branches) * p.K],
  };
}

export const attentionCached = kernel({
  name: "attention_cached",
  source: new URL("./attention_cached.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["q", "kp", "vp", "start", "ks", "vs"],
  writes: ["o"],
  params: {
    R: "u32",
    T: "u32",
    S: "u32",
    cap: "u32",
    N: "u32",
    K: "u32",
    D: "u32",
    branches: "u32",
    base: "u32",
    padded: "u32",
    scale: "f32",
  },
  running: ["base"],
  types: { q: half("QT"), kp: half("PKT"), vp: half("PVT"), ks: half("KT"), vs: half("VT"), start: "u32" },
  consts: { WG: 64 },
  grid: ({ R, T, N }, { WG }) => grid2d(Math.ceil((R * T * N) / WG)),
  variants: [
    tiled("rows", new URL("./cached_rows.wgsl", import.meta.url), (p) => ownQueries(p) < 16),
    tiled("tile", new URL("./cached_tile.wgsl", import.meta.url), () => true),
  ],
});

export const cacheWrite = kernel({
  name: "cache_write",
  source: new URL("./cache_write.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x"],
  writes: ["cache"],
  params: { R: "u32", T: "u32", C: "u32", cap: "u32", base: "u32" },
  running: ["base"],
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
