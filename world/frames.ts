// Key frames of videos and the pairs of neighbouring ones: decode once for the curve of motion, choose frames, write them as PNG.
//   <out>/frames/<video>/<frame>.png and video.json, <out>/pairs.jsonl, <out>/sheets/<video>.png
// A rerun keeps what was done with the same settings, so hundreds of videos can be stopped and resumed.
import { mkdir } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { clearLeftovers, reasonOf } from "../weights/file_source.ts";
import { MissingProgramError } from "./ffmpeg.ts";
import { readResult, settingsOf, uniqueNames, type VideoResult, writeVideo } from "./frame_files.ts";
import { type Dropped, type KeyFrameOptions, optionFault } from "./key_frames.ts";
import { type PairRecord, writeRecords } from "./records.ts";
import { sideBySide } from "./side_by_side.ts";

export * from "./key_frames.ts";
export * from "./motion.ts";

/** One video done: how it went and what the run has reached. */
export interface FramesProgress {
  readonly done: number;
  readonly total: number;
  readonly video: string;
  readonly state: "written" | "kept" | "failed";
  readonly reason?: string;
}

/** What a run gave. `black` counts black frames and `glitches` broken single ones, neither of which is ever chosen. */
export interface FramesReport {
  readonly videos: number;
  readonly written: number;
  readonly kept: number;
  readonly failed: readonly { readonly video: string; readonly reason: string }[];
  readonly keyFrames: number;
  readonly pairs: number;
  readonly black: number;
  readonly glitches: number;
  readonly dropped: Dropped;
}

/**
 * Writes the key frames of videos (files, or folders of pictures) below `out`, and pairs.jsonl at the end. Videos run side by side; one that
 * cannot be read is reported and left out. Picture paths in pairs.jsonl are relative to it. Throws for wrong options, an `out` that cannot be
 * written, a missing ffmpeg and an abort; what was done by then is kept for the next run.
 */
export async function extractKeyFrames(
  videos: readonly string[],
  out: string,
  options: KeyFrameOptions = {},
  watch: FramesWatch = {},
): Promise<FramesReport> {
  const { report, pairs } = await keyFramesOf(videos, uniqueNames(videos), out, options, watch);
  await writeRecords(join(out, "pairs.jsonl"), pairs);
  return report;
}

/** What a run tells and hears. */
export interface FramesWatch {
  readonly onProgress?: (progress: FramesProgress) => void;
  readonly signal?: AbortSignal;
}

/** Throws where a video could not be read. */
export function allRead({ failed }: FramesReport): void {
  if (failed.length === 0) return;
  const more = failed.length > 1 ? ` (and ${failed.length - 1} more)` : "";
  throw new WorldlineError(`${failed[0].reason}${more}; make that video anew, or run the same command again`);
}

/** The same under given names, one for each video, with the pairs handed back and not written: a part of a longer list of videos. */
export async function keyFramesOf(
  videos: readonly string[],
  names: readonly string[],
  out: string,
  options: KeyFrameOptions = {},
  { onProgress, signal }: FramesWatch = {},
): Promise<{ report: FramesReport; pairs: PairRecord[] }> {
  const fault = videos.length === 0 ? "no video was given; give at least one" : optionFault(options);
  if (fault) throw new WorldlineError(`key frames: ${fault}`);
  await mkdir(join(out, "frames"), { recursive: true }).catch((error: unknown) => {
    throw new WorldlineError(`${out}: the folder cannot be made, ${reasonOf(error)}`);
  });
  await clearLeftovers(join(out, "frames"));
  const ends: VideoEnd[] = [];
  let done = 0;
  await sideBySide(videos.length, options.jobs ?? availableParallelism(), async (i) => {
    ends[i] = await oneVideo(videos[i], names[i], out, options, i < (options.sheets ?? 0), signal);
    onProgress?.({ done: ++done, total: videos.length, video: videos[i], state: ends[i].state, reason: ends[i].reason });
  });
  const report = reportOf(videos, ends);
  const place = (file: string) => join(out, file);
  const pairs = ends.flatMap((end) => end.result?.pairs ?? []);
  const families = new Map(videos.map((video, i) => [names[i], basename(dirname(resolve(video)))]));
  const placed = pairs.map((pair) => ({
    ...pair,
    source: place(pair.source),
    target: place(pair.target),
    ...(options.classes && { family: families.get(pair.video) }),
  }));
  return { report, pairs: placed };
}

interface VideoEnd {
  readonly state: FramesProgress["state"];
  readonly reason?: string;
  readonly result?: VideoResult;
}

function reportOf(videos: readonly string[], ends: readonly VideoEnd[]): FramesReport {
  const count = (state: VideoEnd["state"]) => ends.filter((end) => end.state === state).length;
  const sum = (of: (result: VideoResult) => number) => ends.reduce((total, { result }) => total + (result ? of(result) : 0), 0);
  return {
    videos: videos.length,
    written: count("written"),
    kept: count("kept"),
    failed: ends.flatMap(({ reason }, i) => (reason === undefined ? [] : [{ video: videos[i], reason }])),
    keyFrames: sum((result) => result.keys.length),
    pairs: sum((result) => result.pairs.length),
    black: sum((result) => result.black),
    glitches: sum((result) => result.glitches),
    dropped: { cut: sum((result) => result.dropped.cut), duplicate: sum((result) => result.dropped.duplicate) },
  };
}

async function oneVideo(
  video: string,
  name: string,
  out: string,
  options: KeyFrameOptions,
  withSheet: boolean,
  signal?: AbortSignal,
): Promise<VideoEnd> {
  signal?.throwIfAborted();
  try {
    const task = { video, name, out, settings: await settingsOf(video, options), withSheet };
    const before = await readResult(task);
    if (before) return { state: "kept", result: before };
    return { state: "written", result: await writeVideo(task, options, signal) };
  } catch (error) {
    if (signal?.aborted || error instanceof MissingProgramError || !(error instanceof WorldlineError)) throw error;
    return { state: "failed", reason: error.message };
  }
}
