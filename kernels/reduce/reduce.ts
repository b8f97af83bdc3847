// Sums and dot products over runs of values, and their gradients. A total is two stages: runs, then the run of their sums.
import { flat } from "../flat.ts";
import { grid2d, kernel } from "../kernel.ts";
import { rowVariant } from "../rows.ts";

export const rowSum = kernel({
  name: "row_sum",
  source: new URL("./row_sum.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["x"],
  writes: ["y"],
  params: { rows: "u32", C: "u32", n: "u32", scale: "f32" },
  consts: { WG: 64 },
  grid: ({ rows }) => grid2d(rows),
  variants: [{ name: "rows", source: new URL("./row_sum_rows.wgsl", import.meta.url), ...rowVariant() }],
});

export const rowDot = kernel({
  name: "row_dot",
  source: new URL("./row_dot.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["x", "z"],
  writes: ["y"],
  params: { rows: "u32", C: "u32", n: "u32", scale: "f32" },
  consts: { WG: 64 },
  grid: ({ rows }) => grid2d(rows),
  variants: [{ name: "rows", source: new URL("./row_dot_rows.wgsl", import.meta.url), ...rowVariant() }],
});

export const spread = kernel({
  name: "spread",
  source: new URL("./spread.wgsl", import.meta.url),
  reads: ["dy"],
  writes: ["dx"],
  params: { n: "u32", C: "u32", scale: "f32", acc: "u32" },
  ...flat,
});

export const spreadTimes = kernel({
  name: "spread_times",
  source: new URL("./spread_times.wgsl", import.meta.url),
  reads: ["dy", "z"],
  writes: ["dx"],
  params: { n: "u32", C: "u32", acc: "u32" },
  ...flat,
});
