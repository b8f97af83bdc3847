// L1: the mean absolute difference of RGB values in 0 ... 1, after the prediction was brought to the target's size (lower is better).
import type { Picture } from "../../tokenizer/pixels.ts";
import { fitted } from "./fitted.ts";

/** L1 of a prediction against its target. */
export function l1(prediction: Picture, target: Picture): number {
  const { a, b } = fitted(prediction, target);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += Math.abs(a[i] - b[i]);
  return sum / a.length / 255;
}
