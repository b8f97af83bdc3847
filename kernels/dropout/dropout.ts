// Dropout (Srivastava et al. 2014) by a counter-based generator: the mask is a pure function of (seed, step, stream, element), so the gradient
// and a recomputed block draw it again. The gradient is the same launch on dy.
import { grid2d, kernel } from "../kernel.ts";

export const dropout = kernel({
  name: "dropout",
  source: new URL("./dropout.wgsl", import.meta.url),
  lib: ["grid", "random"],
  reads: ["x"],
  writes: ["y"],
  params: { n: "u32", scale: "f32", below: "u32", seed: "u32", stream: "u32", step: "u32", first: "u32", acc: "u32" },
  running: ["below", "seed", "stream", "step", "first"],
  consts: { WG: 64 },
  grid: ({ n }, { WG }) => grid2d(Math.ceil(n / WG)),
  variants: [
    {
      name: "quads",
      source: new URL("./quads.wgsl", import.meta.url),
      lib: ["grid", "random"],
      when: ({ n }) => n % 4 === 0,
      consts: { WG: 64 },
      grid: ({ n }, { WG }) => grid2d(Math.ceil(n / 4 / WG)),
    },
  ],
});
