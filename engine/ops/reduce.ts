// Sums to one value or along rows. With dy the gradient of the result: sum dx = dy, mean dx = dy / n, dot dx = dy y and dy = dy x.
// Everything is added in a fixed order, so two runs give the same bits.
import { rowDot, rowSum as rowSumKernel, spread, spreadTimes } from "../../kernels/reduce/reduce.ts";
import { ShapeError } from "../errors.ts";
import { rowsOf, type Tensor } from "../tensor.ts";

/** The sum of all values of x: (1). */
export function sum(x: Tensor): Tensor {
  return scaledSum(x, 1, "sum");
}

/** The mean of all values of x: (1). */
export function mean(x: Tensor): Tensor {
  return scaledSum(x, 1 / x.size, "mean");
}

/** The sum of x * w over all elements of two tensors of equal shape: (1). x must be an activation; w may be stored, or x itself. */
export function dot(x: Tensor, w: Tensor): Tensor {
  if (x.shape.join() !== w.shape.join()) throw new ShapeError("dot", { x, w }, "both must have the same shape; reshape one");
  const { tape } = x;
  const y = reduced(x, w, 1, "dot");
  tape.onBackward(y, [x, w], () => {
    const dy = tape.grad(y);
    const numbers = { n: x.size, C: x.size };
    const dx = tape.into(x);
    if (dx) tape.launch(spreadTimes, { dy, z: w, dx: dx.tensor }, { ...numbers, acc: dx.acc });
    const dw = tape.into(w);
    if (dw) tape.launch(spreadTimes, { dy, z: x, dx: dw.tensor }, { ...numbers, acc: dw.acc });
  });
  return y;
}

/** The sum over the last dimension: x (..., C) -> (...), and (1) for a single row. */
export function rowSum(x: Tensor): Tensor {
  const [rows, C] = rowsOf(x);
  const { tape } = x;
  const y = tape.empty(x.shape.length > 1 ? x.shape.slice(0, -1) : [1], "f32", "row_sum");
  tape.launch(rowSumKernel, { x, y }, { rows, C, n: x.size, scale: 1 });
  tape.onBackward(y, [x], () => spreadGradient(x, y, C, 1));
  return y;
}

function scaledSum(x: Tensor, scale: number, name: string): Tensor {
  const y = reduced(x, undefined, scale, name);
  x.tape.onBackward(y, [x], () => spreadGradient(x, y, x.size, scale));
  return y;
}

/** Up to this many values are added in one launch; more in runs of at least as many, then the sums of at most 1,024 runs. */
const RUN = 4096;
const quads = (n: number) => 4 * Math.ceil(n / 4);

function reduced(x: Tensor, w: Tensor | undefined, scale: number, name: string): Tensor {
  const { tape } = x;
  const n = x.size;
  const y = tape.empty([1], "f32", name);
  const add = (to: Tensor, sizes: { rows: number; C: number; n: number; scale: number }) => {
    if (w) tape.launch(rowDot, { x, z: w, y: to }, sizes);
    else tape.launch(rowSumKernel, { x, y: to }, sizes);
  };
  if (n <= RUN) {
    add(y, { rows: 1, C: quads(n), n, scale });
    return y;
  }
  const C = Math.max(RUN, quads(n / 1024));
  const rows = Math.ceil(n / C);
  const part = tape.empty([rows], "f32", `${name} parts`);
  add(part, { rows, C, n, scale: 1 });
  tape.launch(rowSumKernel, { x: part, y }, { rows: 1, C: quads(rows), n: rows, scale });
  return y;
}

/** dx = scale * dy, each value of dy for C neighbours. */
function spreadGradient(x: Tensor, y: Tensor, C: number, scale: number): void {
  const { tape } = x;
  const dy = tape.grad(y);
  const dx = tape.into(x);
  if (dx) tape.launch(spread, { dy, dx: dx.tensor }, { n: x.size, C, scale, acc: dx.acc });
}
