// Writes clips of the tabletop to disk: one lossless video each through a child process of ffmpeg (FFMPEG_PATH overrides the one on PATH),
// or one folder of PNG frames each where there is no ffmpeg; beside them truth.jsonl with key frames, sentences and tables.
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { WorldlineError } from "../../engine/errors.ts";
import { Rng } from "../../engine/rng.ts";
import { writeFolderAtomic } from "../../weights/file_source.ts";
import type { Progress } from "../codes.ts";
import { encodePng } from "../pictures.ts";
import { type Clip, type ClipOptions, clip } from "./clips.ts";
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
    if (process.env.FFMPEG_PATH)
      throw new WorldlineError(`FFMPEG_PATH is "${ffmpeg}", which does not run as ffmpeg; correct it or unset it`);
    return undefined;
  }
  const offered = new Set(run.stdout.split("\n").map((line) => line.trim().split(/\s+/)[1]));
  const found = LOSSLESS.find(({ codec }) => offered.has(codec));
  return found && { ffmpeg, ...found };
}

/** Writes one clip as `path`.mkv with a writer, as a folder `path` of 0000.png, 0001.png, ... without; returns what was written. */
export async function writeClip(film: Clip, path: string, fps: number, writer?: VideoWriter): Promise<string> {
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
  await pipeInto(writer.ffmpeg, args, Buffer.concat(film.frames.map((frame) => frame.data))).catch((cause: Error) => {
    rmSync(file, { force: true });
    throw new WorldlineError(`${writer.ffmpeg} could not write ${file}: ${cause.message}; choose the format "frames" to do without it`);
  });
  return file;
}

/** Runs a program with bytes on its standard input; rejects with the last line it wrote to stderr. */
function pipeInto(program: string, args: readonly string[], input: Buffer): Promise<void> {
  return new Promise((done, fail) => {
    const child = spawn(program, args, { stdio: ["pipe", "ignore", "pipe"] });
    let said = "";
    child.stderr.on("data", (text: Buffer) => {
      said = (said + text.toString()).slice(-2000);
    });
    child.on("error", fail);
    child.on("close", (code) => (code === 0 ? done() : fail(new Error(said.trim().split("\n").at(-1) || `exit code ${code}`))));
    child.stdin.on("error", () => undefined);
    child.stdin.end(input);
  });
}

/** What `writeClips` is asked for. */
export type ClipFilesOptions = ClipOptions & {
  readonly count: number;
  readonly seed: number;
  readonly fps?: number;
  readonly format?: ClipFormat;
  readonly onProgress?: Progress;
  readonly signal?: AbortSignal;
};

/**
 * Fills a new folder with `count` clips and truth.jsonl. The folder appears only when all is written. Returns the truths and how they were
 * stored, in words. Throws when the folder holds something already, or when "video" is asked for and there is no ffmpeg.
 */
export async function writeClips(
  world: Tabletop,
  folder: string,
  options: ClipFilesOptions,
): Promise<{ truths: ClipTruth[]; stored: string }> {
  const { count, seed, fps = 12, format = "auto", onProgress, signal, ...shape } = options;
  if (!Number.isInteger(count) || count < 1)
    throw new WorldlineError(`tabletop: count is ${count}; give a whole number of clips of at least 1`);
  if (!Number.isFinite(fps) || fps <= 0) throw new WorldlineError(`tabletop: fps is ${fps}; give a positive number of frames a second`);
  if (existsSync(folder) && readdirSync(folder).length > 0)
    throw new WorldlineError(`${folder} is not empty; give a new or empty folder for the clips`);
  const writer = format === "frames" ? undefined : findVideoWriter();
  if (format === "video" && !writer)
    throw new WorldlineError('no ffmpeg with a lossless encoder was found; set FFMPEG_PATH or choose the format "frames"');
  const rng = new Rng(seed, "tabletop clips");
  const truths: ClipTruth[] = [];
  await writeFolderAtomic(folder, true, async (temporary) => {
    let next = 0;
    const work = async () => {
      for (let i = next++; i < count; i = next++) {
        signal?.throwIfAborted();
        const film = clip(world, rng.fork(i), shape);
        const name = `clip_${String(i).padStart(5, "0")}`;
        await writeClip(film, join(temporary, name), fps, writer);
        truths[i] = truthOf(film, writer ? `${name}.mkv` : name, fps);
        onProgress?.(truths.filter(Boolean).length, count);
      }
    };
    await Promise.all(Array.from({ length: availableParallelism() }, work));
    writeFileSync(join(temporary, "truth.jsonl"), truths.map((truth) => `${JSON.stringify(truth)}\n`).join(""));
  });
  const without = format === "frames" ? "as asked" : "no ffmpeg with a lossless encoder was found";
  return { truths, stored: writer ? `video by ${writer.ffmpeg} with ${writer.codec}` : `folders of PNG frames (${without})` };
}

function truthOf(film: Clip, name: string, fps: number): ClipTruth {
  const { rests, keys, texts } = film;
  return { clip: name, frames: film.frames.length, fps, rests, keys, texts, kinds: film.scenes.map((scene) => [...kindsOf(scene)]) };
}
