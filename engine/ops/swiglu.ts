// SwiGLU (arXiv 2002.05202): silu(g) * u.
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { swiglu as forward, gatedProduct, gatedProductPays, swigluBackward } from "../../kernels/swiglu/swiglu.ts";
import { ShapeError } from "../errors.ts";
import { rowsOf, type Tensor } from "../tensor.ts";
import { linear } from "./matmul.ts";

/** silu(g) * u, value by value; g and u have one shape. */
export function swiglu(g: Tensor, u: Tensor): Tensor {
  if (g.size !== u.size) throw new ShapeError("swiglu", { g, u }, "both must have the same shape");
  const { tape } = g;
  const n = g.size;
  const h = tape.empty(g.shape, "f32", "gated");
  tape.launch(forward, { g, u, h }, { n });
  tape.onBackward(h, [g, u], () => {
    const dg = tape.into(g);
    const du = tape.into(u);
    if (!dg && !du) return;
    if (g.root === u.root) {
      // A launch cannot write one tensor twice.
      const part = tape.empty(g.shape, "f32", "gradient of u");
      tape.launch(swigluBackward, { g, u, dh: tape.grad(h), dg: dg!.tensor, du: part }, { n, accg: dg!.acc, accu: 0 });
      tape.launch(accumulate, { x: part, y: du!.tensor }, { n, scale: 1, acc: du!.acc });
      return;
    }
    const spare = () => ({ tensor: tape.empty(g.shape, "f32", "unused gradient"), acc: 0 });
    const [tg, tu] = [dg ?? spare(), du ?? spare()];
    tape.launch(swigluBackward, { g, u, dh: tape.grad(h), dg: tg.tensor, du: tu.tensor }, { n, accg: tg.acc, accu: tu.acc });
  });
  return h;
}

/** silu(x gate^T) * (x up^T): x (..., K), gate and up (N, K) -> (..., N). One launch for one row where no gradient is wanted, else swiglu of two products. */
export function swigluLinear(x: Tensor, gate: Tensor, up: Tensor): Tensor {
  const { tape } = x;
  const { capabilities, bindingBytes } = tape.device;
  const [M, K] = rowsOf(x);
  const N = gate.shape[0];
  const alike = gate.shape.join() === up.shape.join() && gate.shape[1] === K && gate.dtype === up.dtype && !gate.quantized;
  const free = ![x, gate, up].some((t) => tape.requires(t));
  if (M === 1 && alike && free && x.dtype === "f32" && gate.bytes <= bindingBytes && gatedProductPays({ N, K }, capabilities)) {
    const h = tape.empty([...x.shape.slice(0, -1), N], "f32", "gated");
    tape.launch(gatedProduct, { x, gate, up, h }, { N, K });
    return h;
  }
  return swiglu(linear(x, gate), linear(x, up));
}
