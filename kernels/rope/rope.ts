// Rotary position embedding by host-made tables; the gradient is the same kernel with sign -1.
import { grid2d, kernel } from "../kernel.ts";

const floats = ["f32", "f16"] as const;

export const rope = kernel({
  name: "rope",
  source: new URL("./rope.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x", "cos", "sin", "positions"],
  writes: ["y"],
  params: { rows: "u32", H: "u32", D: "u32", sign: "f32", acc: "u32" },
  types: { x: { alias: "XT", dtypes: floats }, positions: "u32", y: { alias: "YT", dtypes: floats } },
  consts: { WG: 64 },
  grid: ({ rows, H, D }, { WG }) => grid2d(Math.ceil((rows * H * D) / 2 / WG)),
  variants: [
    {
      name: "vec4",
      source: new URL("./rope_vec4.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ D }) => D % 8 === 0,
      consts: (_, { software, lanes }) => ({ WG: software ? Math.max(4, lanes) : 64 }),
      grid: ({ rows, D }, { WG }) => grid2d(Math.ceil((rows * D) / 8 / WG)),
    },
  ],
});
