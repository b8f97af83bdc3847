// Dense optical flow between two grey pictures (H, W): the displacement (dx, dy) of each pixel of the first into the second, in pixels.
// Pyramidal Lucas-Kanade for every pixel: from coarse to fine, each level warps the second picture by the flow so far and solves for the rest
// under a Gaussian window. No gradient: it measures, it is not trained.
import { fill } from "../../kernels/fill/fill.ts";
import * as k from "../../kernels/flow/flow.ts";
import { ShapeError, WorldlineError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { sum } from "./reduce.ts";

export interface FlowOptions {
  /** Rounds of warping and solving at each level. */
  readonly iterations: number;
  /** Half the window's side; its Gaussian has a deviation of half of that. */
  readonly radius: number;
  /** How strongly a pixel without texture keeps the coarser level's flow, in squared grey levels. */
  readonly prior: number;
  /** Residuals, in grey levels, from which a pixel counts less. */
  readonly scale: number;
  /** Shorter side of the coarsest level, at least. */
  readonly coarsest: number;
}

export const defaultFlow: FlowOptions = { iterations: 3, radius: 9, prior: 1, scale: 4, coarsest: 12 };

/** Optical flow of a into b, both (H, W) of grey levels 0 ... 255 and activations of one tape -> (H, W, 2). */
export function opticalFlow(a: Tensor, b: Tensor, options: Partial<FlowOptions> = {}): Tensor {
  const o = { ...defaultFlow, ...options };
  if (a.shape.length !== 2 || a.shape.join() !== b.shape.join())
    throw new ShapeError("opticalFlow", { a, b }, "both must be grey pictures (height, width) of one size");
  const wrong = (["iterations", "radius", "coarsest"] as const).find((name) => !(Number.isInteger(o[name]) && o[name] >= 1));
  if (wrong) throw new WorldlineError(`opticalFlow: ${wrong} is ${o[wrong]}; give a whole number from 1 on`);
  const { tape } = a;
  const window = tape.device.tensor([2 * o.radius + 1], { name: "flow window", data: gaussian(o.radius) });
  const levels = pyramid(a, b, o.coarsest);
  let flow: Tensor | undefined;
  for (const [first, second] of levels.reverse()) {
    const [H, W] = first.shape;
    flow = flow ? grown(flow, H, W) : still(first);
    for (let i = 0; i < o.iterations; i++) {
      const terms = tape.empty([5, H, W], "f32", "flow terms");
      tape.launch(k.flowTerms, { a: first, b: second, flow, terms }, { H, W, scale: o.scale });
      const sums = tape.empty([5, H, W], "f32", "flow sums");
      tape.launch(k.flowRows, { terms, window, sums }, { H, W, R: o.radius });
      const next = tape.empty([H, W, 2], "f32", "flow");
      tape.launch(k.flowSolve, { sums, window, flow, next }, { H, W, R: o.radius, prior: o.prior });
      flow = next;
    }
  }
  return flow!;
}

/** Sums of the lengths of a flow's vectors (H, W, 2), in parts: the mean speed is their total over H W. */
export function flowSpeeds(flow: Tensor): Tensor {
  const { tape } = flow;
  const part = tape.empty([k.speedParts], "f32", "flow speeds");
  tape.launch(k.flowSpeed, { flow, part }, { n: flow.size / 2 });
  return part;
}

function gaussian(radius: number): Float32Array {
  const weights = Float32Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-2 * ((i - radius) / radius) ** 2));
  const total = weights.reduce((sum, w) => sum + w, 0);
  return weights.map((w) => w / total);
}

/** Both pictures, blurred, at full size and halved while the shorter side stays at `coarsest` or more. */
function pyramid(a: Tensor, b: Tensor, coarsest: number): [Tensor, Tensor][] {
  const levels: [Tensor, Tensor][] = [[level(a, 1), level(lit(b, a), 1)]];
  for (;;) {
    const [first, second] = levels[levels.length - 1];
    if (Math.min(...first.shape) < 2 * coarsest) return levels;
    levels.push([level(first, 2), level(second, 2)]);
  }
}

/** x with the mean of a. */
function lit(x: Tensor, a: Tensor): Tensor {
  const y = x.tape.empty(x.shape, "f32", "flow picture");
  x.tape.launch(k.flowLight, { x, sx: sum(x), sa: sum(a), y }, { n: x.size });
  return y;
}

function level(x: Tensor, step: 1 | 2): Tensor {
  const [H, W] = x.shape;
  const y = x.tape.empty([Math.ceil(H / step), Math.ceil(W / step)], "f32", "flow level");
  x.tape.launch(k.flowLevel, { x, y }, { H, W, OH: y.shape[0], OW: y.shape[1], step });
  return y;
}

function still({ shape, tape }: Tensor): Tensor {
  const y = tape.empty([...shape, 2], "f32", "flow");
  tape.launch(fill, { y }, { n: y.size, value: 0 });
  return y;
}

function grown(x: Tensor, OH: number, OW: number): Tensor {
  const [H, W] = x.shape;
  const y = x.tape.empty([OH, OW, 2], "f32", "flow");
  x.tape.launch(k.flowGrow, { x, y }, { H, W, OH, OW });
  return y;
}
