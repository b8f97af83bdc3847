// Standard Gumbel noise from a counter-based hash: element i depends on (seed, stream, counter, i) alone.
import { grid2d, kernel } from "../kernel.ts";

export const gumbel = kernel({
  name: "gumbel",
  source: new URL("./gumbel.wgsl", import.meta.url),
  lib: ["grid", "random"],
  reads: [],
  writes: ["y"],
  params: { n: "u32", stream: "u32", counter: "u32", seed: "u32" },
  running: ["stream", "counter", "seed"],
  consts: { WG: 64 },
  grid: ({ n }, { WG }) => grid2d(Math.ceil(n / WG)),
});
