// Writes clips of the tabletop to disk: one lossless video each through a child process of ffmpeg (FFMPEG_PATH overrides the one on PATH),
// or one folder of PNG frames each where there is no ffmpeg; beside them truth.jsonl with key frames, sentences and tables.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { PNG } from "pngjs";
import { Rng } from "../../engine/rng.ts";
import { type Clip, type ClipOptions, clip } from "./clips.ts";
import type { Picture } from "./render.ts";
import { kindsOf, type Tabletop } from "./world.ts";

/** One line of truth.jsonl: what a clip shows. `clip` is the video's or frame folder's name, `kinds` one table per rest (-1 empty). */
export type ClipTruth = {
  readonly clip: string;
  readonly frames: number;
  readonly fps: number;
  readonly rests: Clip["rests"];
  readonly keys: readonly number[];
  readonly texts: readonly string[];
  readonly kinds: readonly (readonly number[])[];
};

/** An ffmpeg that can write lossless video, and how. */
export type VideoWriter = { readonly ffmpeg: string; readonly codec: string; readonly args: readonly string[] };

/** How clips are stored; "auto" takes video where ffmpeg can write it. */
export type ClipFormat = "auto" | "video" | "frames";

const LOSSLESS = [
  { codec: "ffv1", args: ["-pix_fmt", "bgr0", "-level", "3", "-threads", "1"] },
  { codec: "libx264rgb", args: ["-qp", "0", "-pix_fmt", "bgr0"] },
  { codec: "libx264", args: ["-qp", "0", "-pix_fmt", "yuv444p"] },
] as const;

/**
 * The ffmpeg at FFMPEG_PATH, else on PATH, with the first lossless encoder it offers. Undefined where none is on PATH;
 * an FFMPEG_PATH that does not run is an error.
 */
export function findVideoWriter(): VideoWriter | undefined {
  const ffmpeg = process.env.FFMPEG_PATH || "ffmpeg";
  const run = spawnSync(ffmpeg, ["-hide_banner", "-encoders"], { encoding: "utf8" });
  if (run.error || run.status !== 0) {
    if (process.env.FFMPEG_PATH) throw new Error(`FFMPEG_PATH is "${ffmpeg}", which does not run as ffmpeg; correct it or unset it`);
    return undefined;
  }
  const offered = new Set(run.stdout.split("\n").map((line) => line.trim().split(/\s+/)[1]));
  const found = LOSSLESS.find(({ codec }) => offered.has(codec));
  return found && { ffmpeg, ...found };
}

/** A picture as the bytes of a PNG file. */
export function encodePng(picture: Picture): Buffer {
  const { width, height, data } = picture;
  const png = new PNG({ width, height });
  for (let i = 0, j = 0; i < data.length; i += 3, j += 4) png.data.set([data[i], data[i + 1], data[i + 2], 255], j);
  return PNG.sync.write(png, { colorType: 2 });
}

/** Writes one clip as `path`.mkv with a writer, as a folder `path` of 0000.png, 0001.png, ... without; returns what was written. */
export function writeClip(film: Clip, path: string, fps: number, writer?: VideoWriter): string {
  if (!writer) {
    mkdirSync(path, { recursive: true });
    for (const [i, frame] of film.frames.entries()) writeFileSync(join(path, `${String(i).padStart(4, "0")}.png`), encodePng(frame));
    return path;
  }
  const file = `${path}.mkv`;
  const { width, height } = film.frames[0];
  const source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", `${width}x${height}`, "-r", String(fps), "-i", "pipe:0"];
  const args = [
    "-hide_banner",
    "-loglevel",
    "error",
    "-y",
    ...source,
    "-c:v",
    writer.codec,
    ...writer.args,
    "-bitexact",
    "-f",
    "matroska",
    file,
  ];
  const run = spawnSync(writer.ffmpeg, args, { input: Buffer.concat(film.frames.map((frame) => frame.data)) });
  if (run.error || run.status !== 0) {
    rmSync(file, { force: true });
    const why = run.error?.message ?? run.stderr.toString().trim().split("\n").at(-1);
    throw new Error(`${writer.ffmpeg} could not write ${file}: ${why}; choose the format "frames" to do without it`);
  }
  return file;
}

/** What `writeClips` is asked for. */
export type ClipFilesOptions = ClipOptions & {
  readonly count: number;
  readonly seed: number;
  readonly fps?: number;
  readonly format?: ClipFormat;
};

/**
 * Fills a new folder with `count` clips and truth.jsonl. The folder appears only when all is written. Returns the truths and how they were
 * stored, in words. Throws when the folder holds something already, or when "video" is asked for and there is no ffmpeg.
 */
export function writeClips(world: Tabletop, folder: string, options: ClipFilesOptions): { truths: ClipTruth[]; stored: string } {
  const { count, seed, fps = 12, format = "auto", ...shape } = options;
  if (!Number.isInteger(count) || count < 1)
    throw new RangeError(`tabletop: count is ${count}; give a whole number of clips of at least 1`);
  if (!Number.isFinite(fps) || fps <= 0) throw new RangeError(`tabletop: fps is ${fps}; give a positive number of frames a second`);
  const target = resolve(folder);
  if (existsSync(target) && readdirSync(target).length > 0)
    throw new Error(`${folder} is not empty; give a new or empty folder for the clips`);
  const writer = format === "frames" ? undefined : findVideoWriter();
  if (format === "video" && !writer)
    throw new Error('no ffmpeg with a lossless encoder was found; set FFMPEG_PATH or choose the format "frames"');
  mkdirSync(dirname(target), { recursive: true });
  const part = `${target}.part-${process.pid}`;
  mkdirSync(part);
  try {
    const rng = new Rng(seed, "tabletop clips");
    const truths = Array.from({ length: count }, (_, i) => {
      const film = clip(world, rng.fork(i), shape);
      const name = `clip_${String(i).padStart(5, "0")}`;
      writeClip(film, join(part, name), fps, writer);
      return truthOf(film, writer ? `${name}.mkv` : name, fps);
    });
    writeFileSync(join(part, "truth.jsonl"), truths.map((truth) => `${JSON.stringify(truth)}\n`).join(""));
    if (existsSync(target)) rmdirSync(target);
    renameSync(part, target);
    const without = format === "frames" ? "as asked" : "no ffmpeg with a lossless encoder was found";
    return { truths, stored: writer ? `video by ${writer.ffmpeg} with ${writer.codec}` : `folders of PNG frames (${without})` };
  } finally {
    rmSync(part, { recursive: true, force: true });
  }
}

function truthOf(film: Clip, name: string, fps: number): ClipTruth {
  const { rests, keys, texts } = film;
  return { clip: name, frames: film.frames.length, fps, rests, keys, texts, kinds: film.scenes.map((scene) => [...kindsOf(scene)]) };
}
