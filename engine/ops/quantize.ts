// Vector quantisation (van den Oord and others, arXiv 1711.00937): the nearest codebook entry, its straight-through gradient, and the
// squared-difference loss whose two stopped forms train encoder and codebook: mse(z, e, stop e) and mse(e, z, stop z).
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { mse as mean, mseDx, msePart, mseParts } from "../../kernels/mse/mse.ts";
import { nearestCode as nearest } from "../../kernels/nearest_code/nearest_code.ts";
import { ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { launchGather } from "./embedding.ts";

/** The first code with the smallest squared distance to each row: z (..., D), codebook (E, D) -> u32 (...). No gradient. */
export function nearestCode(z: Tensor, codebook: Tensor): Tensor {
  const [E, D] = codebook.shape;
  const columns = z.shape[z.shape.length - 1];
  if (columns !== D) throw new ShapeError("nearestCode", { z, codebook }, `the last dimension of z must be ${D}, the size of a code`);
  const code = z.tape.empty(z.shape.length > 1 ? z.shape.slice(0, -1) : [1], "u32", "codes");
  z.tape.launch(nearest, { z, codebook, code }, { R: z.size / D, D, E });
  return code;
}

/**
 * Each row of z (..., D) replaced by its nearest code: `codes` u32 (...), `quantized` (..., D). Straight through: the gradient of `quantized`
 * goes to z unchanged and not to the codebook.
 */
export function quantize(z: Tensor, codebook: Tensor): { codes: Tensor; quantized: Tensor } {
  const { tape } = z;
  const codes = nearestCode(z, codebook);
  const quantized = tape.empty(z.shape, "f32", "quantized");
  launchGather(tape, codebook, codes, quantized);
  tape.onBackward(quantized, [z], () => {
    const dz = tape.into(z);
    if (dz) tape.launch(accumulate, { x: tape.grad(quantized), y: dz.tensor }, { n: z.size, scale: 1, acc: dz.acc });
  });
  return { codes, quantized };
}

/** The mean of (x - target)^2 over all values, (1). Gradients go to x and, unless `stopTarget`, to target. */
export function mse(x: Tensor, target: Tensor, { stopTarget = false }: { stopTarget?: boolean } = {}): Tensor {
  if (x.size !== target.size) throw new ShapeError("mse", { x, target }, "both must have the same number of values");
  const { tape } = x;
  const n = x.size;
  const part = tape.empty([mseParts], "f32", "mse parts");
  const loss = tape.empty([1], "f32", "mse");
  tape.launch(msePart, { x, t: target, part }, { n });
  tape.launch(mean, { part, loss }, { n });
  tape.onBackward(loss, [x, stopTarget ? undefined : target], () => {
    const dloss = tape.grad(loss);
    const dx = tape.into(x);
    if (dx) tape.launch(mseDx, { x, t: target, dloss, dx: dx.tensor }, { n, sign: 1, acc: dx.acc });
    const dt = stopTarget ? undefined : tape.into(target);
    if (dt) tape.launch(mseDx, { x, t: target, dloss, dx: dt.tensor }, { n, sign: -1, acc: dt.acc });
  });
  return loss;
}
