// The nearest codebook entry of each row: the quantiser of the picture model.
import { grid2d, kernel } from "../kernel.ts";

export const nearestCode = kernel({
  name: "nearest_code",
  source: new URL("./nearest_code.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["z", "codebook"],
  writes: ["code"],
  params: { R: "u32", D: "u32", E: "u32" },
  types: { code: "u32" },
  consts: { WG: 64 },
  grid: ({ R }, { WG }) => grid2d(Math.ceil(R / WG)),
  variants: [
    {
      name: "lanes",
      source: new URL("./nearest_code_lanes.wgsl", import.meta.url),
      lib: ["grid"],
      needs: ["subgroups"],
      when: ({ D }, { lanes }) => D % 4 === 0 && lanes >= 4,
      consts: (_, { lanes }) => ({ LANES: lanes }),
      grid: ({ R }) => grid2d(Math.ceil(R / 4)),
    },
  ],
});
