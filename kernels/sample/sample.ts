// Draws one id per row of logits: masks, temperature, top-k, top-p and the Gumbel-max draw in one launch, with no sorting.
import { grid2d, kernel } from "../kernel.ts";

export const sample = kernel({
  name: "sample",
  source: new URL("./sample.wgsl", import.meta.url),
  lib: ["grid", "reduce", "random"],
  reads: ["logits", "allowed", "mode", "streams"],
  writes: ["ids", "logprobs"],
  params: { rows: "u32", V: "u32", masks: "u32", counter: "u32", temperature: "f32", topK: "u32", topP: "f32", seed: "u32" },
  running: ["counter", "topK", "seed"],
  types: { allowed: "u32", mode: "u32", streams: "u32", ids: "u32" },
  consts: (_, { software }) => ({ WG: software ? 16 : 256 }),
  grid: ({ rows }) => grid2d(rows),
  variants: [
    {
      name: "lanes",
      source: new URL("./sample_lanes.wgsl", import.meta.url),
      lib: ["grid", "lanes", "random"],
      needs: ["subgroups"],
      when: ({ V }, { lanes, software }) => V % 4 === 0 && lanes >= 4 && (software || V <= 4096),
      consts: (_, { lanes }) => ({ LPR: lanes }),
      grid: ({ rows }) => grid2d(rows),
    },
  ],
});
