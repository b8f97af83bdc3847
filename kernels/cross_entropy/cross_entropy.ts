// Cross entropy of rows of logits, its weighted mean, and the gradient of that mean. Three launches in all for a training step.
import { grid2d, kernel } from "../kernel.ts";
import { rowVariant } from "../rows.ts";

export const crossEntropy = kernel({
  name: "cross_entropy",
  source: new URL("./cross_entropy.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["logits", "targets"],
  writes: ["ce", "lse", "cost", "correct"],
  params: { rows: "u32", V: "u32", smoothing: "f32", z: "f32" },
  types: { targets: "u32", correct: "u32" },
  consts: { WG: 64 },
  grid: ({ rows }) => grid2d(rows),
  variants: [{ name: "rows", source: new URL("./cross_entropy_rows.wgsl", import.meta.url), ...rowVariant("V") }],
});

/** `denominator` 0 stands for the sum of the weights. */
export const weightedMean = kernel({
  name: "weighted_mean",
  source: new URL("./weighted_mean.wgsl", import.meta.url),
  lib: ["reduce"],
  reads: ["cost", "weights"],
  writes: ["loss", "scale"],
  params: { rows: "u32", denominator: "f32" },
  consts: (_, { software, lanes }) => ({ WG: software ? Math.max(4, lanes) : 256 }),
  grid: () => [1],
});

export const crossEntropyDlogits = kernel({
  name: "cross_entropy_dlogits",
  source: new URL("./dlogits.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["logits", "targets", "weights", "lse", "scale", "dloss"],
  writes: ["dlogits"],
  params: { rows: "u32", V: "u32", smoothing: "f32", z: "f32", acc: "u32" },
  types: { targets: "u32" },
  consts: { WG: 64, PER: 1 },
  grid: ({ rows }) => grid2d(rows),
  variants: [
    {
      name: "vec4",
      source: new URL("./dlogits_vec4.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ V }) => V % 4 === 0,
      consts: (_, { software, lanes }) => (software ? { WG: Math.max(4, lanes), PER: 8 } : { WG: 128, PER: 1 }),
      grid: ({ rows }, { PER }) => grid2d(Math.ceil(rows / PER)),
    },
  ],
});
