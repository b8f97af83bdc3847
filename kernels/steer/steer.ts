// Logits as they are sampled: three-way guidance inside pictures, and a penalty on ids already in the sequence outside of them.
import { grid2d, kernel } from "../kernel.ts";

export const steer = kernel({
  name: "steer",
  source: new URL("./steer.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["logits", "since", "seen"],
  writes: ["y"],
  params: { R: "u32", V: "u32", guided: "u32", picture: "u32", image: "f32", full: "f32", penalty: "f32" },
  types: { since: "u32", seen: "u32" },
  consts: { WG: 64 },
  grid: ({ R, V }, { WG }) => grid2d(Math.ceil((R * V) / WG)),
});
