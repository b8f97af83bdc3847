// Brings a prediction to its target's size, as MagicBrush's evaluation does: transparency on white, then Pillow's bicubic resize.
import { blendOnWhite, type Picture, resizePicture } from "../../tokenizer/pixels.ts";

const bicubic = 3;

/** Both pictures as RGB bytes of the target's size. */
export function fitted(
  prediction: Picture,
  target: Picture,
): { readonly a: Uint8Array; readonly b: Uint8Array; width: number; height: number } {
  const { width, height, data: b } = blendOnWhite(target);
  const { data: a } = resizePicture(blendOnWhite(prediction), width, height, bicubic);
  return { a, b, width, height };
}
