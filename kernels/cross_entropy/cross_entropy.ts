// Weighted cross-entropy: per-row losses, their weighted mean, and the gradient of the logits.
import { grid2d, kernel } from "../kernel.ts";
import { rowVariant } from "../rows.ts";

export const crossEntropy = kernel({
  name: "cross_entropy",
  source: new URL("./cross_entropy.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["logits", "targets"],
  writes: ["ce", "lse", "correct"],
  params: { R: "u32", V: "u32" },
  types: { targets: "u32", correct: "u32" },
  consts: { WG: 64 },
  grid: ({ R }) => grid2d(R),
  variants: [crossEntropyRows()],
});

function crossEntropyRows() {
  const { when, consts, grid, ...rest } = rowVariant("V");
  const named = (p: { R: number; V: number }) => ({ ...p, rows: p.R });
  return {
    ...rest,
    name: "rows",
    source: new URL("./cross_entropy_rows.wgsl", import.meta.url),
    when: (p: { R: number; V: number }, d: Parameters<typeof when>[1]) => when(named(p), d),
    consts: (p: { R: number; V: number }, d: Parameters<typeof when>[1]) => consts(named(p), d),
    grid: (p: { R: number; V: number }, c: Parameters<typeof grid>[1]) => grid(named(p), c),
  };
}

export const crossEntropyDx = kernel({
  name: "cross_entropy_dx",
  source: new URL("./cross_entropy_dx.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["logits", "targets", "weights", "lse", "inverse", "dloss"],
  writes: ["dlogits"],
  params: { R: "u32", V: "u32", acc: "u32" },
  types: { targets: "u32" },
  consts: { WG: 64 },
  grid: ({ R, V }, { WG }) => grid2d(Math.ceil((R * V) / WG)),
  variants: [
    {
      name: "vec4",
      source: new URL("./cross_entropy_dx_vec4.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ V }) => V % 4 === 0,
      consts: { WG: 64 },
      grid: ({ R, V }, { WG }) => grid2d(Math.ceil((R * V) / 4 / WG)),
    },
  ],
});

export const weightedMean = kernel({
  name: "weighted_mean",
  source: new URL("./weighted_mean.wgsl", import.meta.url),
  lib: ["reduce"],
  reads: ["ce", "weights"],
  writes: ["loss", "inverse"],
  params: { R: "u32", byWeights: "u32", denominator: "f32" },
  consts: { WG: 64 },
  grid: () => [1],
});
