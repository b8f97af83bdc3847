// SSIM (Wang, Bovik, Sheikh and Simoncelli 2004) of grey versions (ITU-R 601): an 11 x 11 Gaussian window of deviation 1.5 at every place where it
// fits whole, K1 = 0.01, K2 = 0.03, range 255, population variances; the mean over places. The same as scikit-image's structural_similarity with
// gaussian_weights=True, use_sample_covariance=False, data_range=255 on grey pictures.
import { WorldlineError } from "../../engine/errors.ts";
import type { Picture } from "../../tokenizer/pixels.ts";
import { fitted } from "./fitted.ts";

const radius = 5;
const window = (() => {
  const w = Float64Array.from({ length: 2 * radius + 1 }, (_, i) => Math.exp(-((i - radius) ** 2) / (2 * 1.5 ** 2)));
  const total = w.reduce((a, v) => a + v, 0);
  return w.map((v) => v / total);
})();

/** SSIM of a prediction against its target; 1 for equal pictures. Both sides must be at least 11 pixels. */
export function ssim(prediction: Picture, target: Picture): number {
  const { a, b, width, height } = fitted(prediction, target);
  if (width <= 2 * radius || height <= 2 * radius)
    throw new WorldlineError(`ssim: a picture of ${width} x ${height} pixels is smaller than its window of 11 x 11; compare larger ones`);
  return greySsim(grey(a), grey(b), width, height);
}

function grey(rgb: Uint8Array): Float64Array {
  return Float64Array.from({ length: rgb.length / 3 }, (_, i) => 0.299 * rgb[3 * i] + 0.587 * rgb[3 * i + 1] + 0.114 * rgb[3 * i + 2]);
}

/** SSIM of two grey pictures of one size, values 0 ... 255. */
export function greySsim(a: Float64Array, b: Float64Array, width: number, height: number): number {
  const product = (p: Float64Array, q: Float64Array) => p.map((v, i) => v * q[i]);
  const [ma, mb, aa, bb, ab] = [a, b, product(a, a), product(b, b), product(a, b)].map((x) => smoothed(x, width, height));
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
  let sum = 0;
  for (let i = 0; i < ma.length; i++) {
    const both = ma[i] * mb[i];
    const squares = ma[i] ** 2 + mb[i] ** 2;
    sum += ((2 * both + c1) * (2 * (ab[i] - both) + c2)) / ((squares + c1) * (aa[i] + bb[i] - squares + c2));
  }
  return sum / ma.length;
}

/** Window means where the window fits whole: (height - 10) x (width - 10). */
function smoothed(x: Float64Array, width: number, height: number): Float64Array {
  const w = width - 2 * radius;
  const h = height - 2 * radius;
  const across = new Float64Array(w * height);
  for (let y = 0; y < height; y++)
    for (let u = 0; u < w; u++) {
      let sum = 0;
      for (let k = 0; k < window.length; k++) sum += window[k] * x[y * width + u + k];
      across[y * w + u] = sum;
    }
  const out = new Float64Array(w * h);
  for (let v = 0; v < h; v++)
    for (let k = 0; k < window.length; k++) for (let u = 0; u < w; u++) out[v * w + u] += window[k] * across[(v + k) * w + u];
  return out;
}
