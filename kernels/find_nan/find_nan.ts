// Notes the first launch whose result holds a NaN or an infinity.
import { kernel } from "../kernel.ts";

export const findNan = kernel({
  name: "find_nan",
  source: new URL("./find_nan.wgsl", import.meta.url),
  reads: ["x"],
  writes: ["first"],
  params: { n: "u32", launch: "u32" },
  types: { first: "u32" },
  consts: { WG: 64 },
  grid: ({ n }, { WG }) => [Math.min(256, Math.ceil(n / WG))],
});
