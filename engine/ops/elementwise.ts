// Sums and multiples, value by value.
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { add as addKernel } from "../../kernels/elementwise/elementwise.ts";
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

function passGradient(y: Tensor, x: Tensor, factor: number): void {
  const { tape } = y;
  const d = tape.into(x);
  if (d) tape.launch(accumulate, { x: tape.grad(y), y: d.tensor }, { n: x.size, scale: factor, acc: d.acc });
}
