// Dense optical flow between two grey pictures, coarse to fine: equal light (flow_light),
// a pyramid (flow_level), at each level several rounds of linear equations per pixel
// (flow_terms), their sums under a window (flow_rows along rows, flow_solve along columns) and the displacement that fits them best (flow_solve),
// and its enlargement for the next level (flow_grow): Lucas and Kanade 1981 with the warping of Bouguet 2001, for every pixel. flow_speed sums lengths.
import { type Capabilities, grid2d, kernel, type Numbers } from "../kernel.ts";

const perPixel = (count: number, { WG }: Numbers) => grid2d(Math.ceil(count / WG));
const shared = { lib: ["grid"], consts: { WG: 64 } } as const;
/** A variant that takes four columns an invocation. */
const quads = (file: string, planes: number) => ({
  name: "quads",
  source: new URL(file, import.meta.url),
  lib: ["grid"],
  when: ({ W }: Numbers) => W % 4 === 0,
  consts: (_: Numbers, { software, lanes }: Capabilities) => ({ WG: software ? Math.max(4, lanes) : 64 }),
  grid: ({ H, W }: Numbers, consts: Numbers) => perPixel((planes * H * W) / 4, consts),
});

export const flowLevel = kernel({
  ...shared,
  name: "flow_level",
  source: new URL("./flow_level.wgsl", import.meta.url),
  reads: ["x"],
  writes: ["y"],
  params: { H: "u32", W: "u32", OH: "u32", OW: "u32", step: "u32" },
  grid: ({ OH, OW }, consts) => perPixel(OH * OW, consts),
});

export const flowLight = kernel({
  ...shared,
  name: "flow_light",
  source: new URL("./flow_light.wgsl", import.meta.url),
  reads: ["x", "sx", "sa"],
  writes: ["y"],
  params: { n: "u32" },
  grid: ({ n }, consts) => perPixel(n, consts),
});

export const flowTerms = kernel({
  ...shared,
  name: "flow_terms",
  source: new URL("./flow_terms.wgsl", import.meta.url),
  reads: ["a", "b", "flow"],
  writes: ["terms"],
  params: { H: "u32", W: "u32", scale: "f32" },
  grid: ({ H, W }, consts) => perPixel(H * W, consts),
});

export const flowRows = kernel({
  ...shared,
  name: "flow_rows",
  source: new URL("./flow_rows.wgsl", import.meta.url),
  reads: ["terms", "window"],
  writes: ["sums"],
  params: { H: "u32", W: "u32", R: "u32" },
  grid: ({ H, W }, consts) => perPixel(5 * H * W, consts),
  variants: [quads("./flow_rows_quads.wgsl", 5)],
});

export const flowSolve = kernel({
  ...shared,
  name: "flow_solve",
  source: new URL("./flow_solve.wgsl", import.meta.url),
  reads: ["sums", "window", "flow"],
  writes: ["next"],
  params: { H: "u32", W: "u32", R: "u32", prior: "f32" },
  grid: ({ H, W }, consts) => perPixel(H * W, consts),
  variants: [quads("./flow_solve_quads.wgsl", 1)],
});

export const flowGrow = kernel({
  ...shared,
  name: "flow_grow",
  source: new URL("./flow_grow.wgsl", import.meta.url),
  reads: ["x"],
  writes: ["y"],
  params: { H: "u32", W: "u32", OH: "u32", OW: "u32" },
  grid: ({ OH, OW }, consts) => perPixel(OH * OW, consts),
});

/** Length of the partial sums that flow_speed writes. */
export const speedParts = 256;

export const flowSpeed = kernel({
  name: "flow_speed",
  source: new URL("./flow_speed.wgsl", import.meta.url),
  reads: ["flow"],
  writes: ["part"],
  params: { n: "u32" },
  consts: { WG: 64, PARTS: speedParts },
  grid: (_, { WG }) => [speedParts / WG],
});
