// Causal or full attention with grouped heads and left padding, memory linear in length: forward, and its gradients from the log-sum-exp
// of the scores instead of the scores themselves (Dao et al. 2022, arXiv 2205.14135).
import { type Capabilities, type ElementType, grid2d, kernel, type Numbers, type Variant } from "../kernel.ts";

export const half = (alias: string): ElementType => ({ alias, dtypes: ["f32", "f16"] });

const shape = { B: "u32", T: "u32", S: "u32", N: "u32", K: "u32", D: "u32", scale: "f32", causal: "u32", padded: "u32" } as const;
/** Column quads that a lane holds of a row of D numbers. */
export const quadsOf = ({ D }: Numbers, { lanes }: Capabilities) => Math.ceil(D / (4 * lanes));

/** Rows of a register tile: fewer where a row is long, so that the tile stays near 32 vec4. */
export const rowsOf = (p: Numbers, device: Capabilities) => Math.max(2, 16 >> Math.max(0, Math.ceil(Math.log2(quadsOf(p, device))) - 1));

/** A variant in which one subgroup owns a tile of rows; `count` is rows a head, `heads` the heads of all batch rows. */
export function tiled(file: string, count: (p: Numbers) => number, heads: (p: Numbers) => number): Variant {
  return {
    name: "tile",
    source: new URL(file, import.meta.url),
    needs: ["subgroups"],
    when: (p, { lanes }) => lanes >= 4 && lanes <= 16 && p.D % 4 === 0 && p.D <= 128 * lanes && heads(p) <= 65535,
    consts: (p, device) => ({ WG: device.lanes }),
    rebind: (p, device) => {
      const ROWS = rowsOf(p, device);
      return { ROWS, LANES: device.lanes, LOADS: Math.ceil(ROWS / device.lanes), QUADS: quadsOf(p, device) };
    },
    grid: (p, { WG }) => [Math.ceil(count(p) / rowsOf(p, { lanes: WG } as Capabilities)), heads(p)],
  };
}

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
  variants: [
    tiled(
      "./tile.wgsl",
      ({ T }) => T,
      ({ B, N }) => B * N,
    ),
  ],
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
  variants: [
    tiled(
      "./dq_tile.wgsl",
      ({ T }) => T,
      ({ B, N }) => B * N,
    ),
  ],
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
  variants: [
    tiled(
      "./dkv_tile.wgsl",
      ({ S }) => S,
      ({ B, K }) => B * K,
    ),
  ],
});
