// Sets every element of a tensor to one number.
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
