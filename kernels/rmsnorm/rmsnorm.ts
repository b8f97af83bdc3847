// Root-mean-square norm of rows, and its two gradients.
import { grid2d, kernel } from "../kernel.ts";
import { heldVariant, rowVariant } from "../rows.ts";

const floats = ["f32", "f16"] as const;

export const rmsnorm = kernel({
  name: "rmsnorm",
  source: new URL("./rmsnorm.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["x", "w"],
  writes: ["y", "rstd"],
  params: { rows: "u32", C: "u32", eps: "f32" },
  types: { x: { alias: "XT", dtypes: floats }, w: { alias: "WT", dtypes: floats }, y: { alias: "YT", dtypes: floats } },
  consts: { WG: 64 },
  grid: ({ rows }) => grid2d(rows),
  variants: [
    { name: "held", source: new URL("./rmsnorm_held.wgsl", import.meta.url), ...heldVariant() },
    { name: "rows", source: new URL("./rmsnorm_rows.wgsl", import.meta.url), ...rowVariant() },
  ],
});

export const rmsnormDx = kernel({
  name: "rmsnorm_dx",
  source: new URL("./rmsnorm_dx.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["x", "w", "rstd", "dy"],
  writes: ["dx"],
  params: { rows: "u32", C: "u32", acc: "u32" },
  types: { x: { alias: "XT", dtypes: floats }, w: { alias: "WT", dtypes: floats } },
  consts: { WG: 64 },
  grid: ({ rows }) => grid2d(rows),
  variants: [
    { name: "held", source: new URL("./rmsnorm_dx_held.wgsl", import.meta.url), ...heldVariant() },
    { name: "rows", source: new URL("./rmsnorm_dx_rows.wgsl", import.meta.url), ...rowVariant() },
  ],
});

export const rmsnormDw = kernel({
  name: "rmsnorm_dw",
  source: new URL("./rmsnorm_dw.wgsl", import.meta.url),
  reads: ["x", "rstd", "dy"],
  writes: ["dw"],
  params: { rows: "u32", C: "u32", acc: "u32" },
  types: { x: { alias: "XT", dtypes: floats } },
  consts: { X: 16, Y: 16 },
  grid: ({ C }, { X }) => [Math.ceil(C / X)],
  variants: [
    {
      name: "vec4",
      source: new URL("./rmsnorm_dw_vec4.wgsl", import.meta.url),
      when: ({ C }) => C % 4 === 0,
      consts: (_, { software, lanes }) => (software ? { X: Math.max(4, lanes), Y: 1 } : { X: 8, Y: 32 }),
      grid: ({ C }, { X }) => [Math.ceil(C / 4 / X)],
    },
  ],
});
