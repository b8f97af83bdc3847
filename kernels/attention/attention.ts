// Causal or full attention with grouped heads and left padding, memory linear in length: forward, and its gradients from the log-sum-exp
// of the scores instead of the scores themselves (Dao et al. 2022, arXiv 2205.14135).
import { type Capabilities, type ElementType, grid2d, kernel, type MatrixUnit, type Numbers, unitOf, type Variant } from "../kernel.ts";

export const half = (alias: string): ElementType => ({ alias, dtypes: ["f32", "f16"] });

const shape = { B: "u32", T: "u32", S: "u32", N: "u32", K: "u32", D: "u32", scale: "f32", causal: "u32", padded: "u32" } as const;
/** Column quads that a lane holds of a row of D numbers. */
export const quadsOf = ({ D }: Numbers, lanes: number) => Math.ceil(D / (4 * lanes));

/**
 * Rows of a register tile: at most `most`, fewer where a row is long, so that the tile fits the registers or spills little. More than 8 pay
 * only with 8 lanes, where a software adapter's shuffle is one instruction; elsewhere they cost compile time and registers.
 */
export function rowsOf(p: Numbers, lanes: number, most: number): number {
  return Math.max(2, Math.min(lanes === 8 ? most : 8, 2 ** Math.floor(Math.log2(32 / quadsOf(p, lanes)))));
}

interface Tiling {
  readonly source: URL;
  /** Rows of one head, and heads of all batch rows. */
  readonly rows: (p: Numbers) => number;
  readonly heads: (p: Numbers) => number;
  /** Rows of a tile, and column quads of a lane, at most. */
  readonly mostRows: number;
  readonly mostQuads: number;
}

/** A variant in which one subgroup owns a tile of rows of one head. */
function tiled({ source, rows, heads, mostRows, mostQuads }: Tiling): Variant {
  return {
    name: "tile",
    source,
    needs: ["subgroups"],
    when: (p, { lanes }) => lanes >= 4 && p.D % 4 === 0 && quadsOf(p, lanes) <= mostQuads && heads(p) <= 65535,
    consts: (_, { lanes }) => ({ WG: lanes }),
    rebind: (p, { lanes }) => {
      const ROWS = rowsOf(p, lanes, mostRows);
      return { ROWS, LANES: lanes, LOADS: Math.ceil(ROWS / lanes), QUADS: quadsOf(p, lanes) };
    },
    grid: (p, { WG }) => [Math.ceil(rows(p) / rowsOf(p, WG, mostRows)), heads(p)],
  };
}

/** Keys that lie one after another for the units of matrix.wgsl. */
const keysOf = ({ N, K }: MatrixUnit) => Math.max(N, K);
/** Subgroups of a workgroup of matrix.wgsl. */
const subgroups = 4;
/** Runs of such keys that it takes at a time, as many as its memory holds of 4 or 2; 0 where it holds neither. */
const runsOf = (unit: MatrixUnit, { maxStorage }: Capabilities) =>
  [4, 2].find((runs) => subgroups * unit.M * (6 * runs * keysOf(unit) + 4) + 16 <= maxStorage) ?? 0;

const onUnits: Variant = {
  name: "matrix",
  source: new URL("./matrix.wgsl", import.meta.url),
  lib: ["matrix_units"],
  needs: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"],
  onTrial: true,
  dtypes: { q: ["f16"], k: ["f16"], v: ["f16"] },
  when: ({ B, T, S, N, D }, device) => {
    const unit = unitOf(device);
    if (!unit || !runsOf(unit, device) || device.lanes < unit.M || device.lanes % unit.M !== 0) return false;
    const whole = D <= 256 && D % keysOf(unit) === 0 && T >= unit.M && S >= keysOf(unit);
    return whole && subgroups * device.lanes <= device.maxInvocations && B * N <= 65535;
  },
  consts: (_, device) => ({ ROWS: subgroups * unitOf(device)!.M }),
  rebind: ({ D }, device) => {
    const unit = unitOf(device)!;
    return { LANES: device.lanes, TM: unit.M, TN: unit.N, TK: unit.K, DEPTH: D, GROUP: keysOf(unit), GROUPS: runsOf(unit, device) };
  },
  grid: ({ B, T, N }, { ROWS }) => [Math.ceil(T / ROWS), B * N],
};

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
    onUnits,
    tiled({ source: new URL("./tile.wgsl", import.meta.url), rows: ({ T }) => T, heads: ({ B, N }) => B * N, mostRows: 16, mostQuads: 16 }),
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
  variants: [
    {
      name: "quads",
      source: new URL("./delta_quads.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ D }) => D % 4 === 0,
      consts: { WG: 64 },
      grid: ({ B, T, N }, { WG }) => perRow(B * T * N, WG),
    },
  ],
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
    tiled({
      source: new URL("./dq_tile.wgsl", import.meta.url),
      rows: ({ T }) => T,
      heads: ({ B, N }) => B * N,
      mostRows: 16,
      mostQuads: 4,
    }),
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
    tiled({
      source: new URL("./dkv_tile.wgsl", import.meta.url),
      rows: ({ S }) => S,
      heads: ({ B, K }) => B * K,
      mostRows: 8,
      mostQuads: 4,
    }),
  ],
});
