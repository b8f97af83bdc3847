// Softmax of rows and its gradient.
import { grid2d, kernel } from "../kernel.ts";
import { heldVariant, rowVariant } from "../rows.ts";

export const softmax = kernel({
  name: "softmax",
  source: new URL("./softmax.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["x"],
  writes: ["y"],
  params: { rows: "u32", C: "u32" },
  consts: { WG: 64 },
  grid: ({ rows }) => grid2d(rows),
  variants: [
    { name: "held", source: new URL("./softmax_held.wgsl", import.meta.url), ...heldVariant() },
    { name: "rows", source: new URL("./softmax_rows.wgsl", import.meta.url), ...rowVariant() },
  ],
});

export const softmaxDx = kernel({
  name: "softmax_dx",
  source: new URL("./softmax_dx.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["y", "dy"],
  writes: ["dx"],
  params: { rows: "u32", C: "u32", acc: "u32" },
  consts: { WG: 64 },
  grid: ({ rows }) => grid2d(rows),
  variants: [{ name: "rows", source: new URL("./softmax_dx_rows.wgsl", import.meta.url), ...rowVariant() }],
});
