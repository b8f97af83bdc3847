// Sums and multiples, value by value; copies in another element type or order of axes.
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { add as addKernel, cast as castKernel, permute as permuteKernel } from "../../kernels/elementwise/elementwise.ts";
import type { DType } from "../../kernels/kernel.ts";
import { ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";

/** a + b of one shape. */
export function add(a: Tensor, b: Tensor): Tensor {
  if (a.size !== b.size) throw new ShapeError("add", { a, b }, "both must have the same shape");
  const { tape } = a;
  const y = tape.empty(a.shape, "f32", "sum");
  tape.launch(addKernel, { a, b, y }, { n: a.size });
  tape.onBackward(y, [a, b], () => {
    for (const t of [a, b]) passGradient(y, t, 1);
  });
  return y;
}

/** x times a number. */
export function scale(x: Tensor, factor: number): Tensor {
  const { tape } = x;
  const y = tape.empty(x.shape, "f32", "scaled");
  tape.launch(accumulate, { x, y }, { n: x.size, scale: factor, acc: 0 });
  tape.onBackward(y, [x], () => passGradient(y, x, factor));
  return y;
}

/** x stored as f32 or f16; x itself where it already is. The gradient is f32. */
export function cast(x: Tensor, dtype: Exclude<DType, "u32">): Tensor {
  if (x.dtype === dtype) return x;
  const { tape } = x;
  const y = tape.empty(x.shape, dtype, "cast");
  tape.launch(castKernel, { x, y }, { n: x.size, acc: 0 });
  tape.onBackward(y, [x], () => passGradient(y, x, 1));
  return y;
}

/** The axes of x, at most four, in another order: axis i of the result is axis order[i] of x. permute(x, [1, 0]) transposes. */
export function permute(x: Tensor, order: readonly number[]): Tensor {
  const rank = x.shape.length;
  if (rank > 4 || order.length !== rank || [...order].sort().some((axis, i) => axis !== i)) {
    throw new ShapeError("permute", { x }, `order (${order.join(", ")}) must name each of at most four axes once`);
  }
  const { tape } = x;
  const y = tape.empty(
    order.map((axis) => x.shape[axis]),
    x.dtype,
    "permuted",
  );
  tape.launch(permuteKernel, { x, y }, moved(x.shape, order, 0));
  tape.onBackward(y, [x], () => {
    const d = tape.into(x);
    const back = order.map((_, i) => order.indexOf(i));
    if (d) tape.launch(permuteKernel, { x: tape.grad(y), y: d.tensor }, moved(y.shape, back, d.acc));
  });
  return y;
}

/** Numbers of a permute launch: sizes of the result and the strides of x in their order, with leading axes of 1 up to four. */
function moved(shape: readonly number[], order: readonly number[], acc: 0 | 1) {
  const lead = 4 - shape.length;
  const full = [1, 1, 1, 1].slice(0, lead).concat(shape);
  const axes = [0, 1, 2, 3].slice(0, lead).concat(order.map((axis) => axis + lead));
  const stride = full.map((_, i) => full.slice(i + 1).reduce((a, b) => a * b, 1));
  const [, s1, s2, s3] = axes.map((axis) => full[axis]);
  const [t0, t1, t2, t3] = axes.map((axis) => stride[axis]);
  return { n: full.reduce((a, b) => a * b, 1), s1, s2, s3, t0, t1, t2, t3, acc };
}

function passGradient(y: Tensor, x: Tensor, factor: number): void {
  const { tape } = y;
  const d = tape.into(x);
  if (d) tape.launch(accumulate, { x: tape.grad(y), y: d.tensor }, { n: x.size, scale: factor, acc: d.acc });
}
