// Layer norm of rows with one weight row per head, and its gradients. With heads = 1 it is the usual layer norm.
import { type Capabilities, grid2d, kernel, type Numbers } from "../kernel.ts";
import { heldVariant, rowVariant } from "../rows.ts";

const floats = ["f32", "f16"] as const;
const forwardTypes = {
  x: { alias: "XT", dtypes: floats },
  w: { alias: "WT", dtypes: floats },
  b: { alias: "WT", dtypes: floats },
  y: { alias: "YT", dtypes: floats },
};

const shared = heldVariant("D");
/** Rows of one head held in the registers of a subgroup, a grid column for every head; measured on the software adapter only. */
const held = {
  ...shared,
  when: (p: Numbers, device: Capabilities) => device.software && shared.when(p, device),
  grid: ({ rows, heads }: Numbers, { PER }: Numbers) => [Math.ceil(rows / heads / PER), heads] as const,
};

export const layerNorm = kernel({
  name: "layer_norm",
  source: new URL("./layer_norm.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["x", "w", "b"],
  writes: ["y", "mean", "rstd"],
  params: { rows: "u32", D: "u32", heads: "u32", eps: "f32" },
  types: forwardTypes,
  consts: { WG: 64 },
  grid: ({ rows }) => grid2d(rows),
  variants: [
    { name: "held", source: new URL("./layer_norm_held.wgsl", import.meta.url), ...held },
    { name: "rows", source: new URL("./layer_norm_rows.wgsl", import.meta.url), ...rowVariant("D") },
  ],
});

export const layerNormDx = kernel({
  name: "layer_norm_dx",
  source: new URL("./layer_norm_dx.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["x", "w", "mean", "rstd", "dy"],
  writes: ["dx"],
  params: { rows: "u32", D: "u32", heads: "u32", acc: "u32" },
  types: { x: { alias: "XT", dtypes: floats }, w: { alias: "WT", dtypes: floats } },
  consts: { WG: 64 },
  grid: ({ rows }) => grid2d(rows),
  variants: [
    { name: "held", source: new URL("./layer_norm_dx_held.wgsl", import.meta.url), ...held },
    { name: "rows", source: new URL("./layer_norm_dx_rows.wgsl", import.meta.url), ...rowVariant("D") },
  ],
});

export const layerNormDw = kernel({
  name: "layer_norm_dw",
  source: new URL("./layer_norm_dw.wgsl", import.meta.url),
  reads: ["x", "mean", "rstd", "dy"],
  writes: ["dw", "db"],
  params: { rows: "u32", D: "u32", heads: "u32", accw: "u32", accb: "u32" },
  types: { x: { alias: "XT", dtypes: floats } },
  consts: { X: 16, Y: 16 },
  grid: ({ D, heads }, { X }) => [Math.ceil((D * heads) / X)],
  variants: [
    {
      name: "vec4",
      source: new URL("./layer_norm_dw_vec4.wgsl", import.meta.url),
      when: ({ D }) => D % 4 === 0,
      consts: (_, { software, lanes }) => (software ? { X: Math.max(4, lanes), Y: 1 } : { X: 8, Y: 32 }),
      grid: ({ D, heads }, { X }) => [Math.ceil((D * heads) / 4 / X)],
    },
  ],
});
