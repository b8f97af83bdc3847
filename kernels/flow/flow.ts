// Dense optical flow between two grey pictures, coarse to fine: equal light (flow_light),
// a pyramid (flow_level), at each level several rounds of linear equations per pixel, summed by cells (flow_cells), and of the displacement that fits
// those under a window best (flow_solve), and its enlargement for the next level and at last for every pixel (flow_grow): Lucas and Kanade 1981 with
// the warping of Bouguet 2001, on a dense grid. flow_speed sums lengths.
import { grid2d, kernel, type Numbers } from "../kernel.ts";

const perPixel = (count: number, { WG }: Numbers) => grid2d(Math.ceil(count / WG));
const shared = { lib: ["grid"], consts: { WG: 64 } } as const;

export const flowLevel = kernel({
  ...shared,
  name: "flow_level",
  source: new URL("./flow_level.wgsl", import.meta.url),
  reads: ["x"],
  writes: ["y"],
  params: { H: "u32", W: "u32", OH: "u32", OW: "u32", step: "u32" },
  grid: ({ OH, OW }, consts) => perPixel(Math.ceil(OH / 4) * Math.ceil(OW / 4), consts),
  consts: ({ step }) => ({ WG: 64, STEP: step }),
});

/** Pixels on a side of a cell: the unrolled vec4 of flow_cells.wgsl. */
export const cellSide = 4;
/** Numbers that flow_cells writes for a cell. */
export const cellPlanes = 7;

export const flowCells = kernel({
  ...shared,
  name: "flow_cells",
  source: new URL("./flow_cells.wgsl", import.meta.url),
  reads: ["a", "b", "flow", "light"],
  writes: ["cells"],
  params: { H: "u32", W: "u32", scale: "f32" },
  grid: ({ H, W }, consts) => perPixel(Math.ceil(H / cellSide) * Math.ceil(W / cellSide), consts),
});

export const flowLight = kernel({
  name: "flow_light",
  source: new URL("./flow_light.wgsl", import.meta.url),
  lib: ["reduce"],
  reads: ["cells", "light"],
  writes: ["next"],
  params: { n: "u32" },
  consts: { WG: 64 },
  grid: () => [1],
});

export const flowSolve = kernel({
  ...shared,
  name: "flow_solve",
  source: new URL("./flow_solve.wgsl", import.meta.url),
  reads: ["cells", "flow"],
  writes: ["next"],
  params: { H: "u32", W: "u32", centre: "f32", near: "f32", far: "f32", prior: "f32" },
  grid: ({ H, W }, consts) => perPixel(H * Math.ceil(W / 4), consts),
});

export const flowGrow = kernel({
  ...shared,
  name: "flow_grow",
  source: new URL("./flow_grow.wgsl", import.meta.url),
  reads: ["x"],
  writes: ["y"],
  params: { H: "u32", W: "u32", OH: "u32", OW: "u32", N: "u32", first: "f32", gain: "f32" },
  grid: ({ H, W }, consts) => perPixel((H + 1) * (W + 1), consts),
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
