// Softmax of rows; with dy the gradient of y: dx = y * (dy - sum over the row of dy y).
import { softmaxDx, softmax as softmaxKernel } from "../../kernels/softmax/softmax.ts";
import { rowsOf, type Tensor } from "../tensor.ts";

/** exp(x) / sum exp(x) over the last dimension: x (..., C) -> (..., C). */
export function softmax(x: Tensor): Tensor {
  const [rows, C] = rowsOf(x);
  const { tape } = x;
  const y = tape.empty(x.shape, "f32", "softmax");
  tape.launch(softmaxKernel, { x, y }, { rows, C });
  tape.onBackward(y, [x], () => {
    const dy = tape.grad(y);
    const dx = tape.into(x);
    if (dx) tape.launch(softmaxDx, { y, dy, dx: dx.tensor }, { rows, C, acc: dx.acc });
  });
  return y;
}
