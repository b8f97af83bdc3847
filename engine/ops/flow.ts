// Dense optical flow between two grey pictures (H, W): the displacement (dx, dy) of each pixel of the first into the second, in pixels.
// Pyramidal Lucas-Kanade on cells of 4 x 4 pixels: from coarse to fine, each level moves the second picture by the flow so far and solves for the rest
// under a Gaussian window of 5 x 5 cells; the last flow is enlarged to every pixel. No gradient: it measures, it is not trained.
import { fill } from "../../kernels/fill/fill.ts";
import * as k from "../../kernels/flow/flow.ts";
import { ShapeError, WorldlineError } from "../errors.ts";
import type { Tape } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

export interface FlowOptions {
  /** Rounds of warping and solving at each level. */
  readonly iterations: number;
  /** The window's Gaussian deviation, in cells. */
  readonly deviation: number;
  /** How strongly a cell without texture keeps the coarser level's flow, in squared grey levels. */
  readonly prior: number;
  /** Residuals, in grey levels, from which a pixel counts less; twice as large at each coarser level, where the flow is further from the end. */
  readonly scale: number;
  /** Shorter side of the coarsest level, at least. */
  readonly coarsest: number;
}

export const defaultFlow: FlowOptions = { iterations: 3, deviation: 1, prior: 1, scale: 2, coarsest: 12 };

/** Optical flow of a into b, both (H, W) of grey levels 0 ... 255 and activations of one tape -> (H, W, 2). */
export function opticalFlow(a: Tensor, b: Tensor, options: Partial<FlowOptions> = {}): Tensor {
  const o = { ...defaultFlow, ...options };
  if (a.shape.length !== 2 || a.shape.join() !== b.shape.join())
    throw new ShapeError("opticalFlow", { a, b }, "both must be grey pictures (height, width) of one size");
  const wrong = (["iterations", "coarsest"] as const).find((name) => !(Number.isInteger(o[name]) && o[name] >= 1));
  if (wrong) throw new WorldlineError(`opticalFlow: ${wrong} is ${o[wrong]}; give a whole number from 1 on`);
  if (!(o.deviation > 0)) throw new WorldlineError(`opticalFlow: deviation is ${o.deviation}; give a number of cells above 0`);
  const levels = pyramid(a, b, o.coarsest);
  let flow = zeros(a.tape, [...cellsOf(levels[levels.length - 1][0]), 2]);
  let light = zeros(a.tape, [1]);
  for (const [i, [first, second]] of [...levels.entries()].reverse()) {
    const scale = o.scale * 2 ** i;
    // No flow is known at first, but how much brighter b is.
    if (i === levels.length - 1) light = relit(equations(first, second, flow, light, scale), light);
    else flow = grown(flow, cellsOf(first), 2, 5 / 16, 2);
    for (let round = 1; round <= o.iterations; round++) {
      const cells = equations(first, second, flow, light, scale);
      flow = solved(cells, flow, o);
      if (i > 0 || round < o.iterations) light = relit(cells, light);
    }
  }
  return grown(flow, a.shape, k.cellSide, 1 / 8, 1);
}

/** Sums of the lengths of a flow's vectors (H, W, 2), in parts: the mean speed is their total over H W. */
export function flowSpeeds(flow: Tensor): Tensor {
  const { tape } = flow;
  const part = tape.empty([k.speedParts], "f32", "flow speeds");
  tape.launch(k.flowSpeed, { flow, part }, { n: flow.size / 2 });
  return part;
}

/** Both pictures, blurred, at full size and halved while the shorter side stays at `coarsest` or more. */
function pyramid(a: Tensor, b: Tensor, coarsest: number): [Tensor, Tensor][] {
  const levels: [Tensor, Tensor][] = [[level(a, 1), level(b, 1)]];
  for (;;) {
    const [first, second] = levels[levels.length - 1];
    if (Math.min(...first.shape) < 2 * coarsest) return levels;
    levels.push([level(first, 2), level(second, 2)]);
  }
}

function level(x: Tensor, step: 1 | 2): Tensor {
  const [H, W] = x.shape;
  const y = x.tape.empty([Math.ceil(H / step), Math.ceil(W / step)], "f32", "flow level");
  x.tape.launch(k.flowLevel, { x, y }, { H, W, OH: y.shape[0], OW: y.shape[1], step });
  return y;
}

/** Rows and columns of cells that cover a picture. */
function cellsOf({ shape }: Tensor): [number, number] {
  return [Math.ceil(shape[0] / k.cellSide), Math.ceil(shape[1] / k.cellSide)];
}

function zeros(tape: Tape, shape: readonly number[]): Tensor {
  const y = tape.empty(shape, "f32", "flow start");
  tape.launch(fill, { y }, { n: y.size, value: 0 });
  return y;
}

function equations(a: Tensor, b: Tensor, flow: Tensor, light: Tensor, scale: number): Tensor {
  const [H, W] = a.shape;
  const cells = a.tape.empty([k.cellPlanes, ...cellsOf(a)], "f32", "flow cells");
  a.tape.launch(k.flowCells, { a, b, flow, light, cells }, { H, W, scale });
  return cells;
}

function solved(cells: Tensor, flow: Tensor, { deviation, prior }: FlowOptions): Tensor {
  const [, H, W] = cells.shape;
  const [near, far] = [1, 4].map((square) => Math.exp(-square / (2 * deviation * deviation)));
  const total = 1 + 2 * near + 2 * far;
  const next = cells.tape.empty([H, W, 2], "f32", "flow");
  const window = { centre: 1 / total, near: near / total, far: far / total };
  cells.tape.launch(k.flowSolve, { cells, flow, next }, { H, W, ...window, prior });
  return next;
}

function relit(cells: Tensor, light: Tensor): Tensor {
  const [, H, W] = cells.shape;
  const next = cells.tape.empty([1], "f32", "flow light");
  cells.tape.launch(k.flowLight, { cells, light, next }, { n: H * W });
  return next;
}

function grown(x: Tensor, [OH, OW]: readonly number[], N: number, first: number, gain: number): Tensor {
  const [H, W] = x.shape;
  const y = x.tape.empty([OH, OW, 2], "f32", "flow");
  x.tape.launch(k.flowGrow, { x, y }, { H, W, OH, OW, N, first, gain });
  return y;
}
