// Adds one tensor, scaled, into another: gradients that arrive along more than one path, and residual branches.
import { grid2d, kernel } from "../kernel.ts";

export const accumulate = kernel({
  name: "accumulate",
  source: new URL("./accumulate.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x"],
  writes: ["y"],
  params: { n: "u32", scale: "f32", acc: "u32" },
  consts: { WG: 64 },
  grid: ({ n }, { WG }) => grid2d(Math.ceil(n / WG)),
  variants: [
    {
      name: "quads",
      source: new URL("./quads.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ n }) => n % 4 === 0,
      consts: { WG: 64 },
      grid: ({ n }, { WG }) => grid2d(Math.ceil(n / 4 / WG)),
    },
  ],
});
