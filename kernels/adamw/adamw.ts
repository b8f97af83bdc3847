// AdamW over a range of parameters, and the global gradient norm that clips it.
import { grid2d, kernel } from "../kernel.ts";

export const adamw = kernel({
  name: "adamw",
  source: new URL("./adamw.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["grad", "scale"],
  writes: ["w", "m", "v"],
  params: { n: "u32", lr: "f32", b1: "f32", b2: "f32", c1: "f32", c2: "f32", eps: "f32", decay: "f32" },
  consts: { WG: 64 },
  grid: ({ n }, { WG }) => grid2d(Math.ceil(n / 4 / WG)),
});

const onMaster = (dtype: "bf16" | "f16") =>
  kernel({
    name: `adamw_${dtype}`,
    source: new URL("./adamw_master.wgsl", import.meta.url),
    lib: ["grid"],
    reads: ["grad", "scale"],
    writes: ["w", "master", "m", "v"],
    params: { n: "u32", lr: "f32", b1: "f32", b2: "f32", c1: "f32", c2: "f32", eps: "f32", decay: "f32" },
    types: { w: dtype },
    consts: { WG: 64, F16: dtype === "f16" ? 1 : 0 },
    grid: ({ n }, { WG }) => grid2d(Math.ceil(n / 4 / WG)),
  });

export const adamwBf16 = onMaster("bf16");
export const adamwF16 = onMaster("f16");

/** Values that one workgroup of sum_squares adds up. */
export const sumSquaresShare = 64 * 64 * 4;

export const sumSquares = kernel({
  name: "sum_squares",
  source: new URL("./sum_squares.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["x"],
  writes: ["part"],
  params: { n: "u32", at: "u32" },
  consts: { WG: 64, PER: 64 },
  grid: ({ n }) => grid2d(Math.ceil(n / sumSquaresShare)),
});

export const clipScale = kernel({
  name: "clip_scale",
  source: new URL("./clip_scale.wgsl", import.meta.url),
  lib: ["reduce"],
  reads: ["part", "loss"],
  writes: ["norm", "scale", "skips"],
  params: { n: "u32", clip: "f32", hasLoss: "u32" },
  types: { skips: "u32" },
  consts: { WG: 64 },
  grid: () => [1],
});
