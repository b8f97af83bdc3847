// Layer norm of every head with its own weights, rotary position embedding and the write into a cache, in one pass: what becomes of queries and keys
// between their products and attention where no gradient is wanted. `base` changes from run to run, so no grid depends on it.
import { grid2d, kernel, type Numbers } from "../kernel.ts";

/** Lanes that share a head: as many as it has pairs of quads, at most a subgroup; and the pairs of each. */
const lanesOf = ({ D }: Numbers, lanes: number) => Math.min(lanes, 2 ** Math.ceil(Math.log2(D / 8)));
const pairsOf = (p: Numbers, lanes: number) => Math.ceil(p.D / 8 / lanesOf(p, lanes));

export const headNormRope = kernel({
  name: "head_norm_rope",
  source: new URL("./head_norm_rope.wgsl", import.meta.url),
  lib: ["grid", "reduce"],
  reads: ["x", "w", "b", "cos", "sin", "positions"],
  writes: ["y"],
  params: { R: "u32", T: "u32", H: "u32", D: "u32", cap: "u32", base: "u32", eps: "f32" },
  running: ["base"],
  types: { positions: "u32", y: { alias: "YT", dtypes: ["f32", "f16"] } },
  consts: { WG: 64 },
  grid: ({ R, T, H }) => grid2d(R * T * H),
  variants: [
    {
      name: "held",
      source: new URL("./head_norm_rope_held.wgsl", import.meta.url),
      lib: ["lanes"],
      needs: ["subgroups"],
      when: (p, { lanes }) => p.D % 8 === 0 && lanes >= 4 && pairsOf(p, lanes) <= 4 && p.T <= 65535 && p.R <= 65535,
      consts: (p, { lanes, software }) => ({
        WG: Math.min(software ? 4 * lanes : Math.max(64, lanes), Math.ceil((p.H * lanesOf(p, lanes)) / lanes) * lanes),
        LPR: lanesOf(p, lanes),
      }),
      rebind: (p, { lanes }) => ({ N: pairsOf(p, lanes) }),
      grid: ({ R, T, H }, { WG, LPR }) => [Math.ceil((H * LPR) / WG), T, R],
    },
  ],
});
