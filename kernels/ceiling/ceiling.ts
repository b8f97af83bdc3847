// What an adapter can do at best: a copy and chains of multiply-adds. `worldline bench` measures both first and gives every kernel's share.
import { type Grid, grid2d, kernel, type Numbers } from "../kernel.ts";

export const copy = kernel({
  name: "ceiling_copy",
  source: new URL("./copy.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x"],
  writes: ["y"],
  params: { n: "u32" },
  consts: { WG: 64, PER: 16 },
  tries: { WG: [32, 64, 256], PER: [1, 4, 16, 64] },
  grid: ({ n }: Numbers, { WG, PER }: Numbers): Grid => grid2d(Math.ceil(n / 4 / WG / PER)),
});

/** Chains in y's element type. */
export const multiplyAdd = kernel({
  name: "ceiling_multiply_add",
  source: new URL("./multiply_add.wgsl", import.meta.url),
  lib: ["grid"],
  reads: [],
  writes: ["y"],
  params: { n: "u32", steps: "u32", a: "f32", b: "f32" },
  types: { y: { alias: "T", dtypes: ["f32", "f16"] } },
  consts: { WG: 64 },
  grid: ({ n }: Numbers, { WG }: Numbers): Grid => grid2d(Math.ceil(n / WG)),
});

/** Arithmetic operations of one launch: 16 rounds of three vec4 chains, two operations each, per step and invocation. */
export const multiplyAddFlops = ({ n, steps }: Numbers): number => n * steps * 16 * 3 * 4 * 2;
