// PSNR: 10 log10(255^2 / mean squared difference) in dB over RGB (higher is better). Equal pictures count as 100 dB, so that means stay finite.
import type { Picture } from "../../tokenizer/pixels.ts";
import { fitted } from "./fitted.ts";

/** What equal pictures, and those that differ by less than 1e-10 of the range, count as. */
export const largestPsnr = 100;

/** PSNR of a prediction against its target, in dB. */
export function psnr(prediction: Picture, target: Picture): number {
  const { a, b } = fitted(prediction, target);
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] - b[i]) ** 2;
  return sum === 0 ? largestPsnr : Math.min(largestPsnr, 10 * Math.log10((255 ** 2 * a.length) / sum));
}
