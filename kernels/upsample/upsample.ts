// Nearest-neighbour enlargement by two and its gradient, NHWC.
import { grid2d, kernel } from "../kernel.ts";

export const upsample = kernel({
  name: "upsample",
  source: new URL("./upsample.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x"],
  writes: ["y"],
  params: { B: "u32", H: "u32", W: "u32", C: "u32" },
  consts: { WG: 64 },
  grid: ({ B, H, W, C }, { WG }) => grid2d(Math.ceil((4 * B * H * W * C) / WG)),
  variants: [
    {
      name: "vec4",
      source: new URL("./upsample_vec4.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ C }) => C % 4 === 0,
      consts: { WG: 64 },
      grid: ({ B, H, W, C }, { WG }) => grid2d(Math.ceil((B * H * W * C) / 4 / WG)),
    },
  ],
});

export const upsampleDx = kernel({
  name: "upsample_dx",
  source: new URL("./upsample_dx.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["dy"],
  writes: ["dx"],
  params: { B: "u32", H: "u32", W: "u32", C: "u32", acc: "u32" },
  consts: { WG: 64 },
  grid: ({ B, H, W, C }, { WG }) => grid2d(Math.ceil((B * H * W * C) / WG)),
  variants: [
    {
      name: "vec4",
      source: new URL("./upsample_dx_vec4.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ C }) => C % 4 === 0,
      consts: { WG: 64 },
      grid: ({ B, H, W, C }, { WG }) => grid2d(Math.ceil((B * H * W * C) / 4 / WG)),
    },
  ],
});
