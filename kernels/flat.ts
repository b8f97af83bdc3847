// Elementwise kernels: one invocation writes one element, or four where the count allows it.
import { type Grid, grid2d, type Numbers } from "./kernel.ts";

/** Helpers, constants and grid of a plain elementwise kernel over `p.n` values. */
export const flat = {
  lib: ["grid"],
  consts: { WG: 64 },
  tries: { WG: [32, 128, 256] },
  grid: (p: Numbers, { WG }: Numbers): Grid => grid2d(Math.ceil(p.n / WG)),
};

/** The variant that writes four values an invocation. */
export function flatVec4(source: URL) {
  return {
    name: "vec4",
    source,
    lib: ["grid"],
    when: (p: Numbers) => p.n % 4 === 0,
    consts: { WG: 64 },
    tries: { WG: [32, 128, 256] },
    grid: (p: Numbers, { WG }: Numbers): Grid => grid2d(Math.ceil(p.n / 4 / WG)),
  };
}
