// Key frames from frames: the curve of motion of a stream of RGB frames, which of them are key frames, and neighbouring ones as pairs.
// Works on frames in memory, in Node and in a browser; world/frames.ts runs it over video files.
import * as motion from "./motion.ts";
import type { PairRecord } from "./records.ts";

/** Two neighbouring key frames of a video: their pictures, frame numbers and times in seconds. */
export interface KeyFramePair extends PairRecord {
  readonly video: string;
  readonly frames: readonly [number, number];
  readonly times: readonly [number, number];
}

/** Pairs left out, by reason: a scene cut or black frames between the two, or two frames that are nearly the same. */
export interface Dropped {
  readonly cut: number;
  readonly duplicate: number;
}

/**
 * `motion`: the `count` frames of most motion, `spacing` apart. `rest`: the middle of each still stretch of `minRest` frames or more.
 * `size` is the side of a square picture or the shorter side of any other (as shown where absent); `square` cuts or fills up to a square.
 * `duplicates` is the structural similarity from which a pair is left out (0.95 for motion; off for rest, where only pairs that differ by no
 * more than still frames do are left out). `sheets`: for how many videos a contact sheet is drawn.
 * `classes`: the folder a video lies in is its class (Kinetics, UCF-101, Moments in Time) and becomes the `family` of its pairs.
 */
export interface KeyFrameOptions {
  readonly keyFrames?: "motion" | "rest";
  readonly count?: number;
  readonly spacing?: number;
  readonly threshold?: number;
  readonly minRest?: number;
  readonly size?: number;
  readonly square?: "crop" | "pad";
  readonly fps?: number;
  readonly duplicates?: number;
  readonly measure?: motion.MotionMeasure;
  readonly sheets?: number;
  readonly classes?: boolean;
  /** Leave decoder glitches in: single frames that differ from both neighbours while these resemble each other. They are never key frames otherwise. */
  readonly keepGlitches?: boolean;
  readonly jobs?: number;
}

/** The curve of a video and what was seen on the way. `kept` holds the frames themselves where they are what will be written and are few. */
export interface Analysis {
  readonly curve: readonly number[];
  /** Differences over minRest - 1 frames for rests, else the curve again. */
  readonly wide: readonly number[];
  readonly cuts: readonly number[];
  readonly black: readonly number[];
  readonly glitches: readonly number[];
  readonly kept?: readonly Uint8Array[];
}

/** Bytes of frames that may be held in memory for one video. */
export const largestKept = 64 * 2 ** 20;
/** Longest side of the frames that motion is measured on. */
export const analysisSide = 64;

/** Neighbouring key frames as pairs, without those that have a scene cut or a black frame between them. `file` names the picture of a frame. */
export function keyFramePairs(
  video: string,
  keys: readonly number[],
  {
    rate,
    file,
    cuts = [],
    black = [],
  }: { rate: number; file: (frame: number) => string; cuts?: readonly number[]; black?: readonly number[] },
): { pairs: KeyFramePair[]; cut: number } {
  const pairs: KeyFramePair[] = [];
  for (const [k, target] of keys.slice(1).entries()) {
    const source = keys[k];
    if ([...cuts, ...black].some((frame) => frame > source && frame <= target)) continue;
    const times = [source / rate, target / rate] as const;
    pairs.push({ id: `${video}/${source}-${target}`, video, source: file(source), target: file(target), frames: [source, target], times });
  }
  return { pairs, cut: Math.max(0, keys.length - 1) - pairs.length };
}

/** The measure of motion where none is given: the mean difference for moments of motion, the root mean square for rests. */
export function measureOf({ measure, keyFrames }: KeyFrameOptions): motion.MotionMeasure {
  if (measure) return measure;
  return keyFrames === "rest"
    ? { name: "root mean square", between: motion.rootMeanSquare }
    : { name: "mean difference", between: motion.meanDifference };
}

/** The curve of motion, the scene cuts and the black frames of RGB frames of one size, taken as they come. */
export async function analyseFrames(
  frames: AsyncIterable<{ readonly data: Uint8Array }> | Iterable<{ readonly data: Uint8Array }>,
  { width, height }: { width: number; height: number },
  options: KeyFrameOptions = {},
  keep = false,
): Promise<Analysis> {
  const [curve, wide, difference, skip, black]: [number[], number[], number[], number[], number[]] = [[], [], [], [], []];
  const kept: Uint8Array[] = [];
  const measure = measureOf(options);
  const span = options.keyFrames === "rest" ? (options.minRest ?? 3) - 1 : 1;
  let older: motion.SmallFrame | undefined;
  const before: { small: motion.SmallFrame; seen: motion.SmallFrame }[] = [];
  for await (const { data } of frames) {
    const small = motion.smallFrame(data, width, height, analysisSide);
    if (motion.isBlack(data)) black.push(curve.length);
    const seen = measure.side ? motion.shrunkFrame(data, width, height, measure.side) : small;
    const previous = before.at(-1);
    curve.push(previous ? await measure.between(previous.seen, seen) : 0);
    skip.push(older ? motion.meanDifference(older, small) : 0);
    older = previous?.small;
    difference.push(previous ? motion.meanDifference(previous.small, small) : 0);
    wide.push(span === 1 ? curve.at(-1)! : before.length === span ? await measure.between(before[0].seen, seen) : 0);
    if (keep && kept.length * data.length <= largestKept) kept.push(data);
    before.push({ small, seen });
    if (before.length > span) before.shift();
  }
  const glitches = options.keepGlitches ? [] : motion.glitchFrames(difference, skip);
  // The jumps into and out of a glitch are no cuts.
  const jumps = new Set(glitches.flatMap((frame) => [frame, frame + 1]));
  const cuts = motion.sceneCuts(difference.map((value, frame) => (jumps.has(frame) ? (skip[frame] || 0) / 2 : value)));
  return { curve, wide, cuts, black, glitches, ...(kept.length === curve.length && { kept }) };
}

/** Frame numbers of the key frames; the threshold of stillness, too, where rests are looked for. */
export function chooseKeyFrames(
  { curve, wide, cuts, black, glitches }: Analysis,
  options: KeyFrameOptions = {},
): { keys: number[]; threshold?: number } {
  const dark = new Set([...black, ...glitches]);
  if (options.keyFrames === "rest") {
    const { minRest = 3, threshold = motion.restThreshold(wide.slice(minRest - 2)) } = options;
    return { keys: motion.restFrames(curve, { wide, minRest, threshold }).filter((frame) => !dark.has(frame)), threshold };
  }
  // The jump of a cut, or into and out of black or a glitch, is no motion.
  const still = new Set([...cuts, ...dark, ...[...dark].map((frame) => frame + 1)]);
  return {
    keys: motion.motionPeaks(
      curve.map((value, frame) => (still.has(frame) ? 0 : value)),
      options,
    ),
  };
}

/** What is wrong with the options, in words; undefined where nothing is. */
export function optionFault(options: KeyFrameOptions): string | undefined {
  const { keyFrames = "motion", square, size, fps, duplicates, threshold } = options;
  if (!["motion", "rest"].includes(keyFrames)) return `keyFrames is "${keyFrames}"; give motion or rest`;
  if (square !== undefined && !["crop", "pad"].includes(square)) return `square is "${square}"; give crop or pad, or leave it out`;
  if (size !== undefined && !(Number.isInteger(size) && size >= 8 && size <= 4096)) return `size is ${size}; give 8 to 4096 pixels`;
  if (fps !== undefined && !(fps > 0 && fps <= 1000)) return `fps is ${fps}; give a rate above 0, up to 1000`;
  if (duplicates !== undefined && !(duplicates > 0))
    return `duplicates is ${duplicates}; give a similarity above 0 (over 1 keeps every pair)`;
  if (threshold !== undefined && !(threshold >= 0)) return `threshold is ${threshold}; give a difference of 0 or more, in steps of 1/255`;
  for (const [name, least] of Object.entries({ count: 1, spacing: 1, minRest: 2, sheets: 0, jobs: 1 }) as ["count", number][]) {
    const value = options[name];
    if (value !== undefined && !(Number.isInteger(value) && value >= least))
      return `${name} is ${value}; give a whole number from ${least} on`;
  }
  return undefined;
}
