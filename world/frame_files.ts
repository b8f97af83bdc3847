// What the key frames of one video become on disk: <out>/frames/<name>/<frame>.png with video.json, and <out>/sheets/<name>.png.
// A folder appears whole; video.json holds the settings and the file it was made from, so a rerun knows what it may keep.
import { createHash } from "node:crypto";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import type { Picture } from "../tokenizer/pixels.ts";
import { reasonOf, writeFileAtomic, writeFolderAtomic } from "../weights/file_source.ts";
import { contactSheet, thumbnail } from "./contact_sheet.ts";
import * as keys from "./key_frames.ts";
import * as motion from "./motion.ts";
import { encodePng } from "./pictures.ts";
import { type DecodeOptions, decodeFrames, looksLikeVideo, probeVideo, shownSize, type VideoInfo } from "./video.ts";

/** video.json: what was chosen from a video, and from which settings. Picture paths are relative to the output folder. */
export interface VideoResult {
  readonly settings: string;
  readonly keys: readonly number[];
  readonly pairs: readonly keys.KeyFramePair[];
  readonly dropped: keys.Dropped;
  readonly black: number;
  readonly glitches: number;
  readonly cuts: readonly number[];
  readonly threshold?: number;
  readonly curve: readonly number[];
}

/** One video on its way to disk. */
export interface VideoTask {
  readonly video: string;
  readonly name: string;
  readonly out: string;
  readonly settings: string;
  readonly withSheet: boolean;
}

/** A folder name per video: its own without extension; where two would be equal, with eight digits of its path's hash. */
export function uniqueNames(videos: readonly string[]): string[] {
  const plain = videos.map((video) => {
    const name =
      basename(resolve(video))
        .replace(/[^\p{L}\p{N}._ -]/gu, "_")
        .replace(/^\.+/, "_") || "video";
    return looksLikeVideo(name) ? name.slice(0, name.lastIndexOf(".")) : name;
  });
  const count = new Map<string, number>();
  for (const name of plain) count.set(name.toLowerCase(), (count.get(name.toLowerCase()) ?? 0) + 1);
  return plain.map((name, i) => {
    if (count.get(name.toLowerCase()) === 1) return name;
    return `${name}-${createHash("sha256").update(resolve(videos[i])).digest("hex").slice(0, 8)}`;
  });
}

/** Everything that decides a video's result, as text: the options and the file's size and time. */
export async function settingsOf(video: string, options: keys.KeyFrameOptions): Promise<string> {
  const file = await stat(video).catch((error: unknown) => {
    throw new WorldlineError(`${video}: ${reasonOf(error)}`);
  });
  const { measure, jobs: _, sheets: __, classes: ___, ...rest } = options;
  const sorted = Object.entries(rest)
    .filter(([, value]) => value !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  // A folder's own time does not change when a picture in it is written over.
  const times = file.isDirectory()
    ? await Promise.all((await readdir(video)).sort().map(async (n) => [n, (await stat(join(video, n))).mtimeMs]))
    : [];
  const inside = times.length ? [createHash("sha256").update(JSON.stringify(times)).digest("hex")] : [];
  return JSON.stringify([
    2,
    resolve(video),
    file.size,
    Math.round(file.mtimeMs),
    measure?.name ?? "",
    Object.fromEntries(sorted),
    ...inside,
  ]);
}

/** The result of an earlier run with the same settings, unless a contact sheet is wanted and was not drawn. */
export async function readResult({ out, name, settings, withSheet }: VideoTask): Promise<VideoResult | undefined> {
  try {
    const result = JSON.parse(await readFile(join(out, "frames", name, "video.json"), "utf8")) as VideoResult;
    if (withSheet && result.keys.length) await stat(sheetPath(out, name));
    return result.settings === settings ? result : undefined;
  } catch {
    return undefined;
  }
}

const sheetPath = (out: string, name: string) => join(out, "sheets", `${name}.png`);

/** Decodes one video, chooses its key frames and writes them. Throws a WorldlineError where the video cannot be read; then nothing is written. */
export async function writeVideo(task: VideoTask, options: keys.KeyFrameOptions, signal?: AbortSignal): Promise<VideoResult> {
  const { video, name, out, settings, withSheet } = task;
  const rests = options.keyFrames === "rest";
  const info = await probeVideo(video, signal);
  const common = { fps: options.fps, info, signal };
  const target = outputSize(info, options);
  const { size, keep } = analysisSize(info, target, Math.max(keys.analysisSide, keys.measureOf(options).side ?? 0));
  const analysis = await keys.analyseFrames(decodeFrames(video, { ...size, fit: "stretch", ...common }), size, options, keep);
  const chosen = keys.chooseKeyFrames(analysis, options);
  const rate = options.fps ?? info.fps;
  const file = (frame: number) => `frames/${name}/${String(frame).padStart(6, "0")}.png`;
  const { pairs: all, cut } = keys.keyFramePairs(name, chosen.keys, { rate, file, ...analysis });
  const { kept } = analysis;
  const frames = kept
    ? chosen.keys.map((index) => ({ index, data: kept[index] }))
    : decodeFrames(video, { ...target, only: chosen.keys, ...common });
  const same =
    rests && options.duplicates === undefined
      ? stillness(keys.measureOf(options), chosen.threshold!)
      : likeness(options.duplicates ?? 0.95);
  const write = async (folder: string): Promise<VideoResult> => {
    const twins = new Set<number>();
    const shown: { index: number; time: number; picture: Picture }[] = [];
    for await (const { index, data } of frames) {
      const picture = { width: target.width, height: target.height, data };
      if (await same(picture)) twins.add(index);
      if (withSheet) shown.push({ index, time: index / rate, picture: thumbnail(picture) });
      await writeFile(join(folder, basename(file(index))), encodePng(picture), { flush: true });
    }
    const pairs = all.filter((pair) => !twins.has(pair.frames[1]));
    const dropped = { cut, duplicate: all.length - pairs.length };
    const { cuts, black, glitches } = analysis;
    const curve = analysis.curve.map((value) => Math.round(value * 1000) / 1000);
    const result = { settings, ...chosen, pairs, dropped, black: black.length, glitches: glitches.length, cuts, curve };
    if (shown.length) await writeFileAtomic(sheetPath(out, name), [encodePng(contactSheet({ ...result, frames: shown }))]);
    await writeFileAtomic(join(folder, "video.json"), [Buffer.from(`${JSON.stringify(result)}\n`)]);
    return result;
  };
  let result: VideoResult | undefined;
  await writeFolderAtomic(join(out, "frames", name), true, async (folder) => {
    result = await write(folder);
  });
  return result!;
}

type Target = Pick<DecodeOptions, "width" | "height" | "fit">;

function outputSize(info: VideoInfo, { size, square }: keys.KeyFrameOptions): Target {
  const { width, height } = shownSize(info);
  if (square) {
    const side = size ?? Math[square === "crop" ? "min" : "max"](width, height);
    return { width: side, height: side, fit: square === "crop" ? "crop" : "contain" };
  }
  const scale = size === undefined ? 1 : size / Math.min(width, height);
  return { width: Math.round(width * scale), height: Math.round(height * scale), fit: "stretch" };
}

/** The size to analyse at, and whether those frames are the ones to be written and few enough to be kept. */
function analysisSize(info: VideoInfo, target: Target, side: number): { size: { width: number; height: number }; keep: boolean } {
  const shown = shownSize(info);
  const same = target.width === shown.width && target.height === shown.height;
  const keep = same && (info.frames ?? Number.POSITIVE_INFINITY) * shown.width * shown.height * 3 <= keys.largestKept;
  const scale = Math.min(1, side / Math.max(shown.width, shown.height));
  const scaled = (n: number) => Math.max(1, Math.round(n * scale));
  return { size: keep ? shown : { width: scaled(shown.width), height: scaled(shown.height) }, keep };
}

/** Tells of each picture whether it differs from the one before by no more than still frames do. */
function stillness({ side, between }: motion.MotionMeasure, threshold: number): (picture: Picture) => Promise<boolean> {
  let before: motion.SmallFrame | undefined;
  return async ({ data, width, height }) => {
    const previous = before;
    before = side ? motion.shrunkFrame(data, width, height, side) : motion.smallFrame(data, width, height, keys.analysisSide);
    return previous !== undefined && (await between(previous, before)) <= threshold;
  };
}

/** Tells of each picture whether its similarity to the one before, at 256 pixels or fewer, reaches `least`. */
function likeness(least: number): (picture: Picture) => boolean {
  let before: motion.SmallFrame | undefined;
  return ({ data, width, height }) => {
    const previous = before;
    before = motion.shrunkFrame(data, width, height, 256);
    return previous !== undefined && motion.similarity(previous, before) >= least;
  };
}
