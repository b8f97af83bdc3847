// Sets every element of a tensor, or of a block of columns, to one number.
import { grid2d, kernel } from "../kernel.ts";

export const fill = kernel({
  name: "fill",
  source: new URL("./fill.wgsl", import.meta.url),
  lib: ["grid"],
  reads: [],
  writes: ["y"],
  params: { n: "u32", value: "f32" },
  consts: { WG: 64 },
  grid: ({ n }, { WG }) => grid2d(Math.ceil(n / WG)),
});

export const fillColumns = kernel({
  name: "fill_columns",
  source: new URL("./fill_columns.wgsl", import.meta.url),
  lib: ["grid"],
  reads: [],
  writes: ["y"],
  params: { rows: "u32", columns: "u32", stride: "u32", first: "u32", value: "f32" },
  consts: { WG: 64 },
  grid: ({ rows, columns }, { WG }) => grid2d(Math.ceil((rows * columns) / WG)),
});
