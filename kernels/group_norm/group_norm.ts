// Group norm over NHWC pictures with 32 groups of neighbouring channels, optionally followed by swish, in stages: per channel and run of
// pixels, joined per group, then applied. C must be a multiple of 32; reads and writes are vec4 throughout.
import { type Grid, grid2d, kernel, type Numbers } from "../kernel.ts";

/** Pixels of one run in the summing stages. */
export const runSpan = 64;

const runs = ({ B, P, C }: Numbers, span: number) => B * Math.ceil(P / span) * (C / 4);
const perRun = (p: Numbers, { WG }: Numbers): Grid => grid2d(Math.ceil(runs(p, p.span) / WG));
const perPixels = (p: Numbers, { WG, RUN }: Numbers): Grid => grid2d(Math.ceil(runs(p, RUN) / WG));
const perGroup = ({ B }: Numbers, { WG }: Numbers): Grid => [Math.ceil((B * 32) / WG)];
const wide = { WG: 64, RUN: 16 };

export const groupNormStats = kernel({
  name: "group_norm_stats",
  source: new URL("./group_norm_stats.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x"],
  writes: ["part"],
  params: { B: "u32", P: "u32", C: "u32", span: "u32" },
  consts: { WG: 64 },
  grid: perRun,
});

export const groupNormMerge = kernel({
  name: "group_norm_merge",
  source: new URL("./group_norm_merge.wgsl", import.meta.url),
  reads: ["part"],
  writes: ["mean", "rstd"],
  params: { B: "u32", P: "u32", C: "u32", span: "u32", eps: "f32" },
  consts: { WG: 64 },
  grid: perGroup,
});

export const groupNorm = kernel({
  name: "group_norm",
  source: new URL("./group_norm.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x", "mean", "rstd", "w", "b"],
  writes: ["y"],
  params: { B: "u32", P: "u32", C: "u32", swish: "u32" },
  consts: wide,
  grid: perPixels,
});

export const groupNormSums = kernel({
  name: "group_norm_sums",
  source: new URL("./group_norm_sums.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x", "dy", "mean", "rstd", "w", "b"],
  writes: ["part"],
  params: { B: "u32", P: "u32", C: "u32", span: "u32", swish: "u32" },
  consts: { WG: 64 },
  grid: perRun,
});

export const groupNormMeans = kernel({
  name: "group_norm_means",
  source: new URL("./group_norm_means.wgsl", import.meta.url),
  reads: ["part", "w"],
  writes: ["sums", "means"],
  params: { B: "u32", P: "u32", C: "u32", span: "u32" },
  consts: { WG: 64 },
  grid: perGroup,
});

export const groupNormDw = kernel({
  name: "group_norm_dw",
  source: new URL("./group_norm_dw.wgsl", import.meta.url),
  reads: ["sums"],
  writes: ["dw", "db"],
  params: { B: "u32", C: "u32", acc: "u32", accBias: "u32" },
  consts: { WG: 64 },
  grid: ({ C }, { WG }) => [Math.ceil(C / WG)],
});

export const groupNormDx = kernel({
  name: "group_norm_dx",
  source: new URL("./group_norm_dx.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x", "dy", "mean", "rstd", "w", "b", "means"],
  writes: ["dx"],
  params: { B: "u32", P: "u32", C: "u32", swish: "u32", acc: "u32" },
  consts: wide,
  grid: perPixels,
});
