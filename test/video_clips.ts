// What the tests of videos share: clips written by ffmpeg, frames read back, and tests that are skipped where ffmpeg or the clips are missing.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Rng } from "../engine/rng.ts";
import { type DecodeOptions, decodeFrames } from "../world/video.ts";

export const shared = fileURLToPath(new URL("../../shared/data/videos/", import.meta.url));
export const ffmpeg = process.env.FFMPEG_PATH || "ffmpeg";
export const hasFfmpeg = spawnSync(ffmpeg, ["-version"]).status === 0;
const hasVideos = hasFfmpeg && existsSync(shared);
/** A folder for one test file; `test.after` removes it. */
export const folder = mkdtempSync(join(tmpdir(), "frames-"));

/** A test that needs ffmpeg, or ffmpeg and the videos beside the repository. */
export function videoTest(name: string, run: () => Promise<void>, needed = hasFfmpeg, what = "ffmpeg is not on this machine"): void {
  test(name, async () => (needed ? run() : console.log(`skipped: ${name}: ${what}`)));
}
export const sharedTest = (name: string, run: () => Promise<void>) =>
  videoTest(name, run, hasVideos, "../shared/data/videos or ffmpeg is missing");

/** Writes raw frames as a video, lossless. */
export function encode(
  name: string,
  pixels: Uint8Array,
  size: string,
  format: string,
  rate: number,
  tags: readonly string[] = [],
  output: readonly string[] = [],
): string {
  const path = join(folder, name);
  const input = ["-f", "rawvideo", "-pix_fmt", format, "-s", size, "-r", String(rate), ...tags, "-i", "pipe:0"];
  const run = spawnSync(ffmpeg, ["-v", "error", "-y", ...input, "-c:v", "ffv1", ...tags, ...output, path], { input: pixels });
  assert.is(run.status, 0, String(run.stderr));
  return path;
}

export async function decodeAll(path: string, options: DecodeOptions): Promise<Uint8Array[]> {
  const frames: Uint8Array[] = [];
  for await (const { data, index } of decodeFrames(path, options)) {
    if (!options.only) assert.is(index, frames.length);
    frames.push(data);
  }
  return frames;
}

/** The message of the error that is thrown: a single sentence of a kind that users are shown. */
export async function messageOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    assert.match((error as Error).name, /^(Worldline|MissingProgram)Error$/, String((error as Error).stack));
    assert.not.match((error as Error).message, /\n/);
    return (error as Error).message;
  }
  throw new Error("no error was thrown");
}

/** Grey noise with a square that jumps about in bursts of `length` frames around the given moments. */
export function bursts(count: number, side: number, moments: readonly number[]): Uint8Array[] {
  const rng = new Rng(8, "bursts");
  let place = 4;
  return Array.from({ length: count }, (_, f) => {
    const strength = Math.max(0, ...moments.map((m) => 3 - Math.abs(f - m)));
    place = (place + 3 * strength) % (side - 12);
    const data = new Uint8Array(side * side * 3).map(() => 120 + rng.int(5));
    for (let y = 10; y < 22; y++) for (let x = place; x < place + 12; x++) data.set([230, 40, 40], (y * side + x) * 3);
    return data;
  });
}
