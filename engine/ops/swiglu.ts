// SwiGLU (arXiv 2002.05202): silu(g) * u.
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { swiglu as forward, swigluBackward } from "../../kernels/swiglu/swiglu.ts";
import { ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";

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
