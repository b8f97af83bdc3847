// Motion per frame and what follows from it: curve[i] is how much frame i differs from frame i - 1 (curve[0] = 0), in steps of 1/255.
// Key frames are the strongest moments of motion (the paper: the top K_f frames at least I_f apart) or the middles of still stretches.
// Pure functions over numbers; world/frames.ts feeds them from videos.

import { WorldlineError } from "../engine/errors.ts";

/** A small, lightly blurred frame: (height, width, 3) values in 0 ... 255. */
export interface SmallFrame {
  readonly width: number;
  readonly height: number;
  readonly data: Float32Array;
}

/** How much two successive frames differ, 0 for equal ones. May be a promise, so that a GPU can measure. */
export interface MotionMeasure {
  readonly name: string;
  /** Longest side of the unblurred frames it wants; absent, it gets small blurred ones. */
  readonly side?: number;
  readonly between: (previous: SmallFrame, current: SmallFrame) => number | Promise<number>;
}

/**
 * Shrinks an RGB frame until neither side exceeds `longest`, then blurs it by (1 4 6 4 1)/16 on both axes. Colour is kept: a thing repainted in
 * an equally bright colour has changed, too.
 */
export function smallFrame(rgb: Uint8Array, width: number, height: number, longest = 64): SmallFrame {
  return blur(shrunkFrame(rgb, width, height, longest));
}

/** Shrinks an RGB frame by a whole factor, the mean of each block, until neither side exceeds `longest`. */
export function shrunkFrame(rgb: Uint8Array, width: number, height: number, longest: number): SmallFrame {
  const factor = Math.ceil(Math.max(width, height) / longest);
  return factor === 1 ? { width, height, data: Float32Array.from(rgb) } : shrink(rgb, width, height, factor);
}

function shrink(rgb: Uint8Array, width: number, height: number, factor: number): SmallFrame {
  const w = Math.ceil(width / factor);
  const h = Math.ceil(height / factor);
  const data = new Float32Array(w * h * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0, i = y * width * 3; x < width; x++) {
      const o = (Math.floor(y / factor) * w + Math.floor(x / factor)) * 3;
      for (let c = 0; c < 3; c++) data[o + c] += rgb[i++];
    }
  for (let y = 0, o = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      const count = Math.min(factor, width - x * factor) * Math.min(factor, height - y * factor);
      for (let c = 0; c < 3; c++) data[o++] /= count;
    }
  return { width: w, height: h, data };
}

function blur({ width, height, data }: SmallFrame): SmallFrame {
  const across = new Float32Array(data.length);
  const out = new Float32Array(data.length);
  const row = width * 3;
  const inner = Math.max(0, width - 4);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x += x === 2 && inner > 0 ? inner : 1)
      weigh(data, across, y * row, x, width, 3, x === 2 && inner > 0 ? 3 * inner : 3);
  for (let y = 0; y < height; y++) weigh(across, out, 0, y, height, row, row);
  return { width, height, data: out };
}

/** (1 4 6 4 1)/16 around place `at` of `places` that are `step` values apart, for `length` values from there; the ends are repeated. */
function weigh(from: Float32Array, to: Float32Array, start: number, at: number, places: number, step: number, length: number): void {
  const a = start + step * Math.max(0, at - 2);
  const b = start + step * Math.max(0, at - 1);
  const c = start + step * at;
  const d = start + step * Math.min(places - 1, at + 1);
  const e = start + step * Math.min(places - 1, at + 2);
  for (let i = 0; i < length; i++) to[c + i] = (from[a + i] + from[e + i] + 4 * (from[b + i] + from[d + i]) + 6 * from[c + i]) / 16;
}

/** Mean absolute difference over all pixels and channels, in steps of 1/255. */
export function meanDifference(a: SmallFrame, b: SmallFrame): number {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) sum += Math.abs(a.data[i] - b.data[i]);
  return sum / a.data.length;
}

/** Root of the mean squared difference, in steps of 1/255: a small thing that moves stands out of pixel noise more than in the mean. */
export function rootMeanSquare(a: SmallFrame, b: SmallFrame): number {
  let sum = 0;
  for (let i = 0; i < a.data.length; i++) {
    const d = a.data[i] - b.data[i];
    sum += d * d;
  }
  return Math.sqrt(sum / a.data.length);
}

/**
 * Structural similarity of two grey versions, the mean over 8 x 8 windows in steps of 4 (Wang et al. 2004, K1 = 0.01, K2 = 0.03); 1 for equal
 * frames. Frames must have one size.
 */
export function similarity(a: SmallFrame, b: SmallFrame): number {
  const [p, q] = [a, b].map(greyFrame);
  const side = Math.min(8, a.width, a.height);
  let sum = 0;
  let count = 0;
  for (let top = 0; top + side <= a.height; top += 4)
    for (let left = 0; left + side <= a.width; left += 4, count++) sum += windowSimilarity(p, q, a.width, left, top, side);
  return sum / count;
}

function windowSimilarity(p: Float32Array, q: Float32Array, width: number, left: number, top: number, side: number): number {
  const [c1, c2] = [(0.01 * 255) ** 2, (0.03 * 255) ** 2];
  let [sp, sq, pp, qq, pq] = [0, 0, 0, 0, 0];
  for (let y = top; y < top + side; y++)
    for (let x = left, i = y * width + left; x < left + side; x++, i++) {
      sp += p[i];
      sq += q[i];
      pp += p[i] * p[i];
      qq += q[i] * q[i];
      pq += p[i] * q[i];
    }
  const n = side * side;
  const [mp, mq] = [sp / n, sq / n];
  const together = (2 * mp * mq + c1) * (2 * (pq / n - mp * mq) + c2);
  return together / ((mp * mp + mq * mq + c1) * (pp / n - mp * mp + qq / n - mq * mq + c2));
}

/** Grey levels (height, width) of a frame, 0 ... 255. */
export function greyFrame({ width, height, data }: SmallFrame): Float32Array {
  const grey = new Float32Array(width * height);
  for (let i = 0, j = 0; i < grey.length; i++, j += 3) grey[i] = 0.299 * data[j] + 0.587 * data[j + 1] + 0.114 * data[j + 2];
  return grey;
}

/** Whether at least `share` of an RGB frame's pixels are near black: every channel below 10. */
export function isBlack(rgb: Uint8Array, share = 0.98): boolean {
  let lit = 0;
  for (let i = 0; i < rgb.length; i += 3) if (rgb[i] >= 10 || rgb[i + 1] >= 10 || rgb[i + 2] >= 10) lit++;
  return lit <= (1 - share) * (rgb.length / 3);
}

/**
 * The frames with the most motion, at most `count` of them and at least `spacing` frames apart, in order of time: the strongest first, then the
 * strongest that keeps the distance, and so on. Frames without any motion are never taken. Defaults are the paper's K_f and I_f.
 */
export function motionPeaks(curve: ArrayLike<number>, { count = 6, spacing = 20 }: { count?: number; spacing?: number } = {}): number[] {
  for (const [name, value] of Object.entries({ count, spacing }))
    if (!Number.isInteger(value) || value < 1)
      throw new WorldlineError(`motionPeaks: ${name} is ${value}; give a whole number of frames from 1 on`);
  const order = Array.from(curve, (_, i) => i).filter((i) => curve[i] > 0);
  order.sort((i, j) => curve[j] - curve[i] || i - j);
  const taken: number[] = [];
  for (const i of order) {
    if (taken.length === count) break;
    if (taken.every((j) => Math.abs(i - j) >= spacing)) taken.push(i);
  }
  return taken.sort((i, j) => i - j);
}

/**
 * The middle frame of every still stretch: `minRest` or more frames in a row whose successive differences are all at most `threshold`. A stretch
 * from a to b gives floor((a + b) / 2). `wide`, where given, holds the differences over minRest - 1 frames (wide[i] of frames i - minRest + 1 and
 * i), which a still stretch must keep to as well: motion too slow to stand out of the noise from one frame to the next has gone further by then.
 * Without a threshold it is the `restThreshold` of `wide`, else of the curve.
 */
export function restFrames(
  curve: ArrayLike<number>,
  { threshold, minRest = 3, wide }: { threshold?: number; minRest?: number; wide?: ArrayLike<number> } = {},
): number[] {
  if (!Number.isInteger(minRest) || minRest < 2)
    throw new WorldlineError(`restFrames: minRest is ${minRest}; give a whole number of frames from 2 on`);
  const limit = threshold ?? restThreshold(wide ? Array.from(wide).slice(minRest - 2) : curve);
  const middles: number[] = [];
  const close = (first: number, last: number) => {
    if (last - first + 1 >= minRest) middles.push(Math.floor((first + last) / 2));
  };
  let first = 0;
  for (let i = 1; i < curve.length; i++) {
    const moved = curve[i] > limit;
    const drifted = wide !== undefined && i - first >= minRest - 1 && wide[i] > limit;
    if (!moved && !drifted) continue;
    close(first, i - 1);
    first = moved ? i : i - minRest + 2;
  }
  if (curve.length) close(first, curve.length - 1);
  return middles;
}

/**
 * The difference that parts stillness from motion. Stillness is the lowest group of values, a narrow one, as noise averages out over a frame:
 * it grows from the lowest tenth by all values within 4.5 deviations (by the median distance) of its median, and the threshold is the geometric
 * middle of the gap above it. Where that group is too wide for noise, Otsu's threshold on the logarithms parts calm from lively frames. Where all values are one narrow
 * group, all is still if the median is below 3 steps of 1/255, else nothing is.
 */
export function restThreshold(curve: ArrayLike<number>): number {
  const sorted = Float64Array.from(Array.from(curve).slice(1)).sort();
  if (sorted.length === 0) return 0;
  let size = 0;
  let middle = 0;
  let deviation = 0;
  for (let next = Math.min(sorted.length, Math.max(3, Math.ceil(sorted.length / 10))); next > size; ) {
    size = next;
    middle = sorted[size >> 1];
    deviation =
      1.4826 *
      sorted
        .slice(0, size)
        .map((v) => Math.abs(v - middle))
        .sort()[size >> 1];
    const limit = middle + 4.5 * Math.max(deviation, leastSpread * middle, leastDeviation);
    while (next < sorted.length && sorted[next] <= limit) next++;
  }
  if (middle > 0.5 && deviation > 0.35 * middle) return otsu(sorted);
  if (size === sorted.length) return middle < 3 ? sorted[size - 1] : 0;
  return Math.sqrt(Math.max(sorted[size - 1], leastDeviation) * sorted[size]);
}

const leastSpread = 0.01;
const leastDeviation = 0.02;

/** Otsu's threshold on the logarithms of sorted values: the split with the largest variance between its two sides. */
function otsu(sorted: Float64Array): number {
  const logs = sorted.map((v) => Math.log(Math.max(v, leastDeviation)));
  const total = logs.reduce((sum, v) => sum + v, 0);
  let best = 0;
  let at = logs.length;
  for (let k = 1, below = 0; k < logs.length; k++) {
    below += logs[k - 1];
    const apart = (total - below) / (logs.length - k) - below / k;
    const between = k * (logs.length - k) * apart * apart;
    if (between > best) [best, at] = [between, k];
  }
  return at === logs.length ? sorted[at - 1] : Math.exp((logs[at - 1] + logs[at]) / 2);
}

/**
 * Frames that open a new scene: one single jump of the mean difference, of `least` or more steps of 1/255 and well above both neighbours and
 * its surroundings. The curve must be of `meanDifference`: an action changes a part of the picture, a cut nearly all of it.
 */
export function sceneCuts(curve: ArrayLike<number>, least = 20): number[] {
  const cuts: number[] = [];
  for (let i = 1; i < curve.length; i++) {
    if (curve[i] < least) continue;
    const around = [];
    for (let j = Math.max(1, i - 8); j <= Math.min(curve.length - 1, i + 8); j++) if (j !== i) around.push(curve[j]);
    around.sort((a, b) => a - b);
    const beside = Math.max(i > 1 ? curve[i - 1] : 0, i + 1 < curve.length ? curve[i + 1] : 0);
    if (curve[i] >= 2.5 * beside && curve[i] >= 4 * (around[around.length >> 1] ?? 0)) cuts.push(i);
  }
  return cuts;
}

/**
 * Frames a decoder broke: unlike the frame before (`difference[i]`) and the one after, by `least` or more steps of 1/255, while those two resemble each
 * other: `skip[i + 1]`, their mean difference, is less than half of either. A movement there and back within two frames looks the same.
 */
export function glitchFrames(difference: ArrayLike<number>, skip: ArrayLike<number>, least = 4): number[] {
  const glitches: number[] = [];
  for (let i = 1; i + 1 < difference.length; i++) {
    const smaller = Math.min(difference[i], difference[i + 1]);
    if (smaller >= least && skip[i + 1] < smaller / 2) glitches.push(i);
  }
  return glitches;
}
