// Cross entropy of rows of logits with label smoothing and z-loss, its weighted mean, and the gradient of that mean. The logits may be those of
// some rows of the batch: the numbers of all rows lie in one array, from `row` on.
import { type Capabilities, grid2d, kernel, type Numbers } from "../kernel.ts";
import { rowVariant } from "../rows.ts";

export const crossEntropy = kernel({
  name: "cross_entropy",
  source: new URL("./cross_entropy.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["logits", "targets"],
  writes: ["ce", "lse", "correct", "cost"],
  params: { R: "u32", V: "u32", row: "u32", smoothing: "f32", z: "f32" },
  types: { targets: "u32", correct: "u32" },
  consts: { WG: 64 },
  grid: ({ R }) => grid2d(R),
  variants: [crossEntropyRows()],
});

function crossEntropyRows() {
  const { when, consts, grid, ...rest } = rowVariant("V");
  const named = (p: Numbers) => ({ ...p, rows: p.R });
  return {
    ...rest,
    name: "rows",
    source: new URL("./cross_entropy_rows.wgsl", import.meta.url),
    when: (p: Numbers, d: Capabilities) => when(named(p), d),
    consts: (p: Numbers, d: Capabilities) => consts(named(p), d),
    grid: (p: Numbers, c: Numbers) => grid(named(p), c),
  };
}

export const crossEntropyDx = kernel({
  name: "cross_entropy_dx",
  source: new URL("./cross_entropy_dx.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["logits", "targets", "weights", "lse", "inverse", "dloss"],
  writes: ["dlogits"],
  params: { R: "u32", V: "u32", row: "u32", smoothing: "f32", z: "f32", acc: "u32" },
  types: { targets: "u32" },
  consts: { WG: 64 },
  grid: ({ R, V }, { WG }) => grid2d(Math.ceil((R * V) / WG)),
  variants: [
    {
      name: "lines",
      source: new URL("./cross_entropy_dx_lines.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ V }, { software }) => V % 4 === 0 && software,
      consts: (_, { lanes }) => ({ WG: Math.max(4, lanes), PER: 8 }),
      grid: ({ R }, { PER }) => grid2d(Math.ceil(R / PER)),
    },
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

/** byWeights 1 divides by the sum of the weights, 0 by `denominator`. */
export const weightedMean = kernel({
  name: "weighted_mean",
  source: new URL("./weighted_mean.wgsl", import.meta.url),
  lib: ["reduce"],
  reads: ["cost", "weights", "correct"],
  writes: ["loss", "inverse", "totals"],
  params: { R: "u32", byWeights: "u32", denominator: "f32" },
  types: { correct: "u32" },
  consts: (_, { software, lanes }) => ({ WG: software ? Math.max(4, lanes) : 256 }),
  grid: () => [1],
});
