// Convolution over NHWC pictures as an implicit matrix product, and the kernels of its gradients. Weights are [out, ky, kx, in], so that
// both operands are contiguous along `in`. dx is a convolution of dy with flipped weights; dw sums parts over ranges of pixels.
import { type Capabilities, type Grid, grid2d, kernel, type Numbers, unitOf, type Variant } from "../kernel.ts";
import { conv2dDwLanes } from "./conv2d_dw_lanes.ts";
import { conv2dDwRows } from "./conv2d_dw_rows.ts";
import { conv2dLanes } from "./conv2d_lanes.ts";
import { conv2dNarrow, conv2dRows } from "./conv2d_rows.ts";

const shader = (text: string) => new URL(`data:text/plain,${encodeURIComponent(text)}`);

const half = (alias: string) => ({ alias, dtypes: ["f32", "f16"] as const });
/** What the texts for software adapters read. */
const single = { x: ["f32"], w: ["f32"], b: ["f32"], r: ["f32"] } as const;

/** Channels that can be read as vec4. */
const quads = (p: Numbers) => p.I % 4 === 0 && p.O % 4 === 0;

/** 3x3 weights at every pixel, padded by one, on a software adapter with subgroups of 8. */
const fitsRows = (p: Numbers, device: Capabilities) =>
  device.software && device.lanes === 8 && p.KH === 3 && p.KW === 3 && p.stride === 1 && p.pad === 1 && quads(p);

/** The unrolled convolution for software adapters, one for each size of subgroup. */
const unrolled = [4, 8, 16].map(
  (lanes): Variant => ({
    name: `lanes${lanes}`,
    source: shader(conv2dLanes(lanes)),
    lib: ["grid"],
    needs: ["subgroups"],
    dtypes: single,
    when: (p: Numbers, device: Capabilities) =>
      device.software && device.lanes === lanes && quads(p) && (p.up === 1 || (p.up === 2 && p.OH % 2 === 0 && p.OW % 2 === 0)),
    grid: ({ B, OH, OW, O }) => grid2d(Math.ceil((B * OH * OW) / 32) * Math.ceil(O / (4 * lanes))),
  }),
);

/** Convolutions that make `outputs` channels a subgroup, the narrow one for few. */
const rows = ([4, 32] as const).map(
  (outputs): Variant => ({
    name: outputs === 4 ? "narrow" : "rows",
    source: shader(outputs === 4 ? conv2dNarrow() : conv2dRows()),
    lib: ["grid"],
    needs: ["subgroups"],
    dtypes: single,
    when: (p: Numbers, device: Capabilities) =>
      fitsRows(p, device) && p.up === 1 && p.OH === p.H && p.H % 8 === 0 && p.W % 8 === 0 && (outputs === 32 || p.O <= 8),
    grid: ({ B, H, W, O }) => grid2d(((B * H * W) / 64) * Math.ceil(O / outputs)),
  }),
);

const unrolledDw = [4, 8, 16].map(
  (lanes): Variant => ({
    name: `lanes${lanes}`,
    source: shader(conv2dDwLanes(lanes)),
    needs: ["subgroups"],
    when: (p: Numbers, device: Capabilities) => device.software && device.lanes === lanes && quads(p),
    grid: (p) => [Math.ceil((p.KH * p.KW * p.I) / 4 / lanes) * Math.ceil(p.O / (4 * lanes)), Math.ceil((p.B * p.OH * p.OW) / p.span)],
  }),
);

const rowsDw = ([4, 32] as const).map(
  (outputs): Variant => ({
    name: outputs === 4 ? "narrow" : "rows",
    source: shader(conv2dDwRows(outputs)),
    needs: ["subgroups"],
    when: (p: Numbers, device: Capabilities) => fitsRows(p, device) && p.W % 4 === 0 && p.span % 4 === 0 && (outputs === 32 || p.O <= 8),
    grid: (p) => [Math.ceil((3 * p.I) / 32) * Math.ceil(p.O / outputs), Math.ceil((p.B * p.OH * p.OW) / p.span)],
  }),
);

/** Tiles of conv2d_matrix.wgsl down the pixels of a workgroup: two subgroups of four. */
const tilesDown = 2 * 4;
/** Tiles across its output channels, of so many in all: one to four for each of two subgroups, as many as leave few past the end. */
const tilesAcross = (tiles: number) => 2 * Math.ceil(tiles / (2 * Math.ceil(tiles / 8)));

const onUnits: Variant = {
  name: "matrix",
  source: new URL("./conv2d_matrix.wgsl", import.meta.url),
  lib: ["matrix_units"],
  needs: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"],
  onTrial: true,
  dtypes: { x: ["f16"], w: ["f16"] },
  when: (p, device) => {
    const unit = unitOf(device);
    if (!unit || !device.lanes || 4 * device.lanes > device.maxInvocations) return false;
    const { M, N, K } = unit;
    if (K % 4 !== 0 || 2 * 2 * tilesDown * M * K + 4 * 4 * M * N > device.maxStorage) return false;
    return p.up === 1 && p.I % K === 0 && p.O % N === 0 && Math.ceil((p.B * p.OH * p.OW) / (M * tilesDown)) <= 65535;
  },
  consts: ({ O }, device) => {
    const { M, N } = unitOf(device)!;
    return { SPAN_M: M * tilesDown, SPAN_N: N * tilesAcross(O / N) };
  },
  rebind: ({ O }, device) => {
    const { M, N, K } = unitOf(device)!;
    return { LANES: device.lanes, TM: M, TN: N, TK: K, TILES_N: tilesAcross(O / N) / 2 };
  },
  grid: ({ B, OH, OW, O }, { SPAN_M, SPAN_N }) => [Math.ceil((B * OH * OW) / SPAN_M), Math.ceil(O / SPAN_N)],
};

const tiled: Variant = {
  name: "tiled",
  source: new URL("./conv2d_tiled.wgsl", import.meta.url),
  lib: ["grid"],
  when: quads,
  grid: ({ B, OH, OW, O }) => grid2d(Math.ceil((B * OH * OW) / 64) * Math.ceil(O / 32)),
};

const tiledDw: Variant = {
  name: "tiled",
  source: new URL("./conv2d_dw_tiled.wgsl", import.meta.url),
  when: quads,
  grid: (p) => [Math.ceil((p.KH * p.KW * p.I) / 32) * Math.ceil(p.O / 32), Math.ceil((p.B * p.OH * p.OW) / p.span)],
};

export const conv2d = kernel({
  name: "conv2d",
  source: new URL("./conv2d.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x", "w", "b", "r"],
  writes: ["y"],
  params: {
    B: "u32",
    H: "u32",
    W: "u32",
    I: "u32",
    OH: "u32",
    OW: "u32",
    O: "u32",
    KH: "u32",
    KW: "u32",
    stride: "u32",
    pad: "u32",
    up: "u32",
    bias: "u32",
    residual: "u32",
    acc: "u32",
  },
  types: { x: half("XT"), w: half("WT"), b: half("BT"), r: half("RT") },
  consts: { WG: 64 },
  grid: ({ B, OH, OW, O }, { WG }) => grid2d(Math.ceil((B * OH * OW * O) / WG)),
  variants: [...rows, ...unrolled, onUnits, tiled],
});

export const conv2dFlip = kernel({
  name: "conv2d_flip",
  source: new URL("./conv2d_flip.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["w"],
  writes: ["v"],
  params: { O: "u32", KH: "u32", KW: "u32", I: "u32" },
  consts: { WG: 64 },
  grid: ({ O, KH, KW, I }, { WG }) => grid2d(Math.ceil((O * KH * KW * I) / WG)),
});

export const conv2dDw = kernel({
  name: "conv2d_dw",
  source: new URL("./conv2d_dw.wgsl", import.meta.url),
  reads: ["x", "dy"],
  writes: ["part"],
  params: {
    B: "u32",
    H: "u32",
    W: "u32",
    I: "u32",
    OH: "u32",
    OW: "u32",
    O: "u32",
    KH: "u32",
    KW: "u32",
    stride: "u32",
    pad: "u32",
    span: "u32",
  },
  consts: { WG: 64 },
  grid: (p, { WG }): Grid => [Math.ceil((p.O * p.KH * p.KW * p.I + p.O) / WG), Math.ceil((p.B * p.OH * p.OW) / p.span)],
  variants: [...rowsDw, ...unrolledDw, tiledDw],
});

/** Output pixels that one part of conv2d_dw sums: enough parts to fill the device, at least 64 pixels each, a multiple of 8. */
export function dwSpan(pixels: number, outputs: number, weightsPerOutput: number): number {
  const tiles = Math.ceil(outputs / 32) * Math.ceil(weightsPerOutput / 32);
  const parts = Math.max(1, Math.min(Math.round(288 / tiles), Math.floor(pixels / 64)));
  return Math.ceil(pixels / parts / 8) * 8;
}

export const conv2dSum = kernel({
  name: "conv2d_sum",
  source: new URL("./conv2d_sum.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["part"],
  writes: ["dw", "db"],
  params: { N: "u32", O: "u32", parts: "u32", acc: "u32", accBias: "u32" },
  consts: { WG: 64 },
  grid: ({ N, O }, { WG }) => grid2d(Math.ceil((N + O) / WG)),
});

export const channels = kernel({
  name: "channels",
  source: new URL("./channels.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x"],
  writes: ["y"],
  params: { rows: "u32", I: "u32", O: "u32", acc: "u32" },
  consts: { WG: 64 },
  grid: ({ rows, O }, { WG }) => grid2d(Math.ceil((rows * O) / WG)),
});
