// Norms of rows: RMSNorm (arXiv 1910.07467), and LayerNorm (arXiv 1607.06450) with one row of weights per head.
import { layerNorm as layerForward, layerNormDw, layerNormDx } from "../../kernels/layer_norm/layer_norm.ts";
import { rmsnorm as rmsForward, rmsnormDw, rmsnormDx } from "../../kernels/rmsnorm/rmsnorm.ts";
import { ShapeError } from "../errors.ts";
import { rowsOf, type Tensor } from "../tensor.ts";

/** Scales each row of x (..., C) to unit mean square, then by w (C). */
export function rmsnorm(x: Tensor, w: Tensor, eps = 1e-5): Tensor {
  const [rows, C] = rowsOf(x);
  if (w.size !== C) throw new ShapeError("rmsnorm", { x, w }, `w needs ${C} values, one per column of x`);
  const { tape } = x;
  const y = tape.empty(x.shape, "f32", "normed");
  const rstd = tape.empty([rows], "f32", "rstd");
  tape.launch(rmsForward, { x, w, y, rstd }, { rows, C, eps });
  tape.onBackward(y, [x, w], () => {
    const dy = tape.grad(y);
    const dx = tape.into(x);
    if (dx) tape.launch(rmsnormDx, { x, w, rstd, dy, dx: dx.tensor }, { rows, C, acc: dx.acc });
    const dw = tape.into(w);
    if (dw) tape.launch(rmsnormDw, { x, rstd, dy, dw: dw.tensor }, { rows, C, acc: dw.acc });
  });
  return y;
}

/** (x - mean) / sqrt(variance + eps) * w + b over the last axis of x (..., H, D); w and b are (H, D), or (1, D) for all heads. */
export function layerNorm(x: Tensor, w: Tensor, b: Tensor, eps = 1e-5): Tensor {
  const [rows, D] = rowsOf(x);
  const heads = w.size / D;
  if (w.size !== b.size || !Number.isInteger(heads) || (heads !== 1 && heads !== x.shape[x.shape.length - 2])) {
    throw new ShapeError("layerNorm", { x, w, b }, `w and b must be (heads, ${D}) or (1, ${D})`);
  }
  const { tape } = x;
  const y = tape.empty(x.shape, "f32", "normed");
  const mean = tape.empty([rows], "f32", "mean");
  const rstd = tape.empty([rows], "f32", "rstd");
  tape.launch(layerForward, { x, w, b, y, mean, rstd }, { rows, D, heads, eps });
  tape.onBackward(y, [x, w, b], () => {
    const dy = tape.grad(y);
    const dx = tape.into(x);
    if (dx) tape.launch(layerNormDx, { x, w, mean, rstd, dy, dx: dx.tensor }, { rows, D, heads, acc: dx.acc });
    const dw = tape.into(w);
    const db = tape.into(b);
    if (!dw && !db) return;
    const spare = () => ({ tensor: tape.empty(w.shape, "f32", "unused gradient"), acc: 0 });
    const [tw, tb] = [dw ?? spare(), db ?? spare()];
    tape.launch(layerNormDw, { x, mean, rstd, dy, dw: tw.tensor, db: tb.tensor }, { rows, D, heads, accw: tw.acc, accb: tb.acc });
  });
  return y;
}
