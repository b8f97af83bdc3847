// Token agreement: the share of picture tokens (codes of the picture tokenizer, in raster order) that a prediction has in common with its target.
import { WorldlineError } from "../../engine/errors.ts";

/** Share of equal codes, 0 ... 1. */
export function tokenAgreement(prediction: ArrayLike<number>, target: ArrayLike<number>): number {
  if (prediction.length !== target.length || target.length === 0)
    throw new WorldlineError(
      `token agreement: ${prediction.length} codes cannot be compared with ${target.length}; encode both at one size`,
    );
  let same = 0;
  for (let i = 0; i < target.length; i++) if (prediction[i] === target[i]) same++;
  return same / target.length;
}
