// Mean of squared differences of two tensors, in two stages, and its gradient.
import { grid2d, kernel } from "../kernel.ts";

/** Length of the partial sums that mse_part writes and mse adds. */
export const mseParts = 4096;

export const msePart = kernel({
  name: "mse_part",
  source: new URL("./mse_part.wgsl", import.meta.url),
  reads: ["x", "t"],
  writes: ["part"],
  params: { n: "u32" },
  consts: { WG: 64, PARTS: mseParts },
  grid: (_, { WG }) => [mseParts / WG],
});

export const mse = kernel({
  name: "mse",
  source: new URL("./mse.wgsl", import.meta.url),
  lib: ["reduce"],
  reads: ["part"],
  writes: ["loss"],
  params: { n: "u32" },
  consts: { WG: 64, PARTS: mseParts },
  grid: () => [1],
});

export const mseDx = kernel({
  name: "mse_dx",
  source: new URL("./mse_dx.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x", "t", "dloss"],
  writes: ["dx"],
  params: { n: "u32", sign: "f32", acc: "u32" },
  consts: { WG: 64 },
  grid: ({ n }, { WG }) => grid2d(Math.ceil(n / WG)),
});
