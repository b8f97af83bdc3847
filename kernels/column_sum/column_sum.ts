// Sums the rows of a matrix: the gradient of a bias.
import { grid2d, kernel } from "../kernel.ts";

export const columnSum = kernel({
  name: "column_sum",
  source: new URL("./column_sum.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x"],
  writes: ["y"],
  params: { rows: "u32", C: "u32", acc: "u32" },
  consts: { WG: 64 },
  grid: ({ C }, { WG }) => grid2d(Math.ceil(C / WG)),
  variants: [
    {
      name: "quads",
      source: new URL("./quads.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ C }, { software }) => software && C % 4 === 0,
      consts: { WG: 8 },
      grid: ({ C }, { WG }) => grid2d(Math.ceil(C / 4 / WG)),
    },
    {
      name: "sliced",
      source: new URL("./sliced.wgsl", import.meta.url),
      lib: ["grid"],
      grid: ({ C }) => grid2d(Math.ceil(C / 32)),
    },
  ],
});
