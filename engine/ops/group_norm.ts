// Group norm over pictures with 32 groups of neighbouring channels (Wu and He, arXiv 1803.08494), optionally followed by swish.
// With n = (x - mean) rstd and du the gradient at n w + b: db = sum du, dw = sum du n,
// dx = rstd (w du - mean(w du) - n mean(w du n)), means over the values of a group.
import {
  groupNormDw,
  groupNormDx,
  groupNormMeans,
  groupNormMerge,
  groupNormStats,
  groupNormSums,
  groupNorm as normalise,
  runSpan,
} from "../../kernels/group_norm/group_norm.ts";
import { ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { banded, bands, checkBanded } from "./bands.ts";

export interface GroupNormOptions {
  /** Added to the population variance; 1e-6 unless told. */
  readonly eps?: number;
  /** Multiplies the result by its sigmoid. */
  readonly swish?: boolean;
}

/** x (B, H, W, C), C a multiple of 32, normed per picture over each group of C / 32 channels and all pixels, times w (C), plus b (C). */
export function groupNorm(x: Tensor, w: Tensor, b: Tensor, { eps = 1e-6, swish = false }: GroupNormOptions = {}): Tensor {
  const [B, C] = [x.shape[0], x.shape[x.shape.length - 1]];
  if (C % 32 !== 0) throw new ShapeError("groupNorm", { x }, "the channels (last) must be a multiple of 32, for 32 groups of equal size");
  if (w.size !== C || b.size !== C) throw new ShapeError("groupNorm", { x, w, b }, `w and b need ${C} values, one for each channel`);
  const { tape } = x;
  const P = x.size / (B * C);
  const runs = Math.ceil(P / runSpan);
  const pictures = { B, P, C, span: runSpan };
  const flag = swish ? 1 : 0;
  const [mean, rstd] = [tape.empty([B, C], "f32", "mean"), tape.empty([B, C], "f32", "rstd")];
  const part = tape.empty([B, runs, 2, C], "f32", "group norm parts");
  const y = tape.empty(x.shape, "f32", "group_norm");
  if (banded(tape, x)) {
    normaliseBands(x, { w, b, y, part, mean, rstd }, { B, P, C, eps, flag });
    return y;
  }
  tape.launch(groupNormStats, { x, part }, pictures);
  tape.launch(groupNormMerge, { part, mean, rstd }, { ...pictures, eps });
  tape.launch(normalise, { x, mean, rstd, w, b, y }, { B, P, C, swish: flag });
  tape.onBackward(y, [x, w, b], () => {
    const dy = tape.grad(y);
    const parts = tape.empty([B, runs, 2, C], "f32", "group norm gradient parts");
    const [sums, means] = [tape.empty([B, 2, C], "f32", "sums"), tape.empty([B, 2, C], "f32", "means")];
    tape.launch(groupNormSums, { x, dy, mean, rstd, w, b, part: parts }, { ...pictures, swish: flag });
    tape.launch(groupNormMeans, { part: parts, w, sums, means }, pictures);
    if (tape.requires(w) || tape.requires(b)) {
      const dw = tape.into(w) ?? { tensor: tape.empty([C], "f32", "unused dw"), acc: 0 };
      const db = tape.into(b) ?? { tensor: tape.empty([C], "f32", "unused db"), acc: 0 };
      tape.launch(groupNormDw, { sums, dw: dw.tensor, db: db.tensor }, { B, C, acc: dw.acc, accBias: db.acc });
    }
    const dx = tape.into(x);
    if (dx) tape.launch(groupNormDx, { x, dy, mean, rstd, w, b, means, dx: dx.tensor }, { B, P, C, swish: flag, acc: dx.acc });
  });
  return y;
}

/** The same in bands of whole runs of pixels, so that every sum has the same terms in the same order. */
function normaliseBands(
  x: Tensor,
  { w, b, y, part, mean, rstd }: Record<"w" | "b" | "y" | "part" | "mean" | "rstd", Tensor>,
  { B, P, C, eps, flag }: Record<"B" | "P" | "C" | "eps" | "flag", number>,
): void {
  const { tape } = x;
  checkBanded(tape, "groupNorm", x, B);
  const pixels = (t: Tensor, first: number, count: number) => t.reshape(P, C).rows(first, count);
  const list = bands(tape, "groupNorm", P, [C * 4], { step: runSpan });
  for (const { first, count } of list) {
    const runs = part.reshape(part.size / (2 * C), 2 * C).rows(first / runSpan, Math.ceil(count / runSpan));
    tape.launch(groupNormStats, { x: pixels(x, first, count), part: runs }, { B, P: count, C, span: runSpan });
  }
  tape.launch(groupNormMerge, { part, mean, rstd }, { B, P, C, span: runSpan, eps });
  for (const { first, count } of list) {
    const [from, to] = [pixels(x, first, count), pixels(y, first, count)];
    tape.launch(normalise, { x: from, mean, rstd, w, b, y: to }, { B, P: count, C, swish: flag });
  }
}
