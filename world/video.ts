// Videos as RGB frames: what a file holds (ffprobe) and its frames one by one (ffmpeg). A folder of pictures, sorted by name, is a video, too.
// Frames come at a fixed rate, so frame i lies at i / fps seconds; they stand upright and have the shape in which players show them.
import { readdir, stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { blendOnWhite, centreCrop, type Picture, resizePicture } from "../tokenizer/pixels.ts";
import { reasonOf } from "../weights/file_source.ts";
import { askFfprobe, lastLine, readPieces } from "./ffmpeg.ts";
import { readPicture } from "./pictures.ts";

/**
 * What a video is. Sizes are in stored pixels after rotation; a pixel is `pixelAspect` times as wide as high. `frames` is exact where the file
 * tells it, else duration times rate, and absent where neither is known. `rotation` is the clockwise turn in degrees that stands it upright.
 */
export interface VideoInfo {
  readonly width: number;
  readonly height: number;
  readonly frames?: number;
  readonly fps: number;
  readonly duration: number;
  readonly codec: string;
  readonly rotation: 0 | 90 | 180 | 270;
  readonly pixelAspect: number;
  /** The stream among those of the file, or the picture files of a folder. */
  readonly stream: number | readonly string[];
  /** The rate as the file writes it, for example 30000/1001. */
  readonly rate: string;
}

/** One frame: RGB bytes (height, width, 3), its number and its time in seconds. */
export interface VideoFrame {
  readonly index: number;
  readonly time: number;
  readonly data: Uint8Array;
}

/**
 * How to decode. `contain` scales into the size and fills up with black, `crop` scales over it and cuts the centre, `stretch` ignores the shape.
 * `only` names the frames wanted, ascending; the others are not scaled. `info` saves a probe.
 */
export interface DecodeOptions {
  readonly width: number;
  readonly height: number;
  readonly fit: "contain" | "crop" | "stretch";
  readonly fps?: number;
  readonly only?: readonly number[];
  readonly info?: VideoInfo;
  readonly signal?: AbortSignal;
}

/** The rate that a folder of pictures is taken to have. */
export const folderRate = 12;
const pictureFile = /\.(png|jpe?g|webp)$/i;
const videoFile = /\.(mp4|m4v|mkv|webm|mov|avi|mpe?g|ts|mts|m2ts|wmv|flv|ogv|3gp|gif|y4m)$/i;
const byName = new Intl.Collator("en", { numeric: true }).compare;

/** Whether a path looks like something `decodeFrames` reads, by its extension. */
export const looksLikeVideo = (name: string): boolean => videoFile.test(name);

/** Replaces each folder that holds no pictures itself by the videos and picture folders in it, sorted by name. */
export async function listVideos(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    const entries = (await stat(path).catch(() => null))?.isDirectory() ? await readdir(path, { withFileTypes: true }) : null;
    if (!entries || entries.some((entry) => entry.isFile() && pictureFile.test(entry.name))) {
      found.push(path);
      continue;
    }
    const inside = entries.filter((entry) => !entry.name.startsWith(".") && (entry.isDirectory() || looksLikeVideo(entry.name)));
    if (inside.length === 0)
      throw new WorldlineError(`${path}: this folder holds no video and no picture; give a video file or a folder of frames`);
    found.push(...inside.map((entry) => join(path, entry.name)).sort(byName));
  }
  return found;
}

/** Size, rate, length and codec of a video or picture folder. Throws a WorldlineError naming the path, or MissingProgramError. */
export async function probeVideo(path: string, signal?: AbortSignal): Promise<VideoInfo> {
  const kind = await stat(path).catch((error: unknown) => {
    throw new WorldlineError(`${path}: ${reasonOf(error)}`);
  });
  if (kind.isDirectory()) return probeFolder(path);
  if (!kind.isFile()) throw new WorldlineError(`${path}: this is neither a file nor a folder; give a video file or a folder of frames`);
  if (kind.size === 0) throw new WorldlineError(`${path}: the file is empty; was the download or copy cut off?`);
  const args = ["-v", "error", "-protocol_whitelist", "file", "-of", "json", "-show_streams", "-show_format", `file:${path}`];
  const { code, out, errors } = await askFfprobe(args, signal);
  if (code !== 0) throw unreadable(path, errors);
  const said = JSON.parse(out) as { streams?: Stream[]; format?: { duration?: string } };
  const stream = said.streams?.find((s) => s.codec_type === "video" && !s.disposition?.attached_pic && s.width && s.height);
  if (!stream) throw new WorldlineError(`${path}: the file holds no video stream; give a video file or a folder of frames`);
  return describe(stream, Number(stream.duration ?? seconds(stream.tags?.DURATION) ?? said.format?.duration ?? 0) || 0);
}

interface Stream {
  readonly index: number;
  readonly codec_type: string;
  readonly codec_name?: string;
  readonly width?: number;
  readonly height?: number;
  readonly avg_frame_rate?: string;
  readonly r_frame_rate?: string;
  readonly nb_frames?: string;
  readonly duration?: string;
  readonly sample_aspect_ratio?: string;
  readonly disposition?: { readonly attached_pic?: number };
  readonly tags?: { readonly rotate?: string; readonly DURATION?: string };
  readonly side_data_list?: readonly { readonly rotation?: number }[];
}

function describe(stream: Stream, duration: number): VideoInfo {
  const turned = -(stream.side_data_list?.find((side) => side.rotation !== undefined)?.rotation ?? -Number(stream.tags?.rotate ?? 0));
  const rotation = (((Math.round(turned / 90) * 90) % 360) + 360) % 360;
  const onSide = rotation % 180 === 90;
  const rate = [stream.avg_frame_rate, stream.r_frame_rate].find((text) => ratio(text, "/") > 0) ?? "25/1";
  const fps = ratio(rate, "/");
  const aspect = ratio(stream.sample_aspect_ratio, ":") || 1;
  const frames = Number(stream.nb_frames) || Math.round(duration * fps);
  return {
    width: (onSide ? stream.height : stream.width)!,
    height: (onSide ? stream.width : stream.height)!,
    ...(frames > 0 && { frames }),
    fps,
    duration: duration || frames / fps,
    codec: stream.codec_name ?? "unknown",
    rotation: rotation as VideoInfo["rotation"],
    pixelAspect: onSide ? 1 / aspect : aspect,
    stream: stream.index,
    rate,
  };
}

function ratio(text: string | undefined, sign: string): number {
  const [over, under = 1] = (text ?? "").split(sign).map(Number);
  const value = over / under;
  return Number.isFinite(value) && value > 0 ? value : 0;
}

/** Seconds of Matroska's "00:00:10.333". */
function seconds(text: string | undefined): number | undefined {
  const parts = text?.split(":").map(Number);
  return parts?.length === 3 && parts.every(Number.isFinite) ? parts[0] * 3600 + parts[1] * 60 + parts[2] : undefined;
}

async function probeFolder(path: string): Promise<VideoInfo> {
  const files = (await readdir(path)).filter((name) => pictureFile.test(name) && !name.startsWith(".")).sort(byName);
  if (files.length === 0) throw new WorldlineError(`${path}: this folder holds no pictures; give a video file or a folder of frames`);
  const { width, height } = await readPicture(join(path, files[0]));
  const codec = extname(files[0]).slice(1).toLowerCase();
  const clock = { fps: folderRate, duration: files.length / folderRate, rate: `${folderRate}/1` };
  return { width, height, frames: files.length, ...clock, codec, rotation: 0, pixelAspect: 1, stream: files };
}

/** Size in which a video is shown: square pixels, the stored height. */
export function shownSize({ width, height, pixelAspect }: VideoInfo): { width: number; height: number } {
  return { width: Math.max(1, Math.round(width * pixelAspect)), height };
}

/**
 * Yields the frames of a video in order, decoded as they are read: memory holds one frame and the pipe's buffer. A folder of pictures has no
 * clock: `fps` says at which rate they were taken, and none is left out. Throws a WorldlineError for files that are missing, no video or damaged.
 */
export async function* decodeFrames(path: string, options: DecodeOptions): AsyncGenerator<VideoFrame> {
  const { width, height, fps, fit, only } = options;
  for (const [name, value] of Object.entries({ width, height }))
    if (!Number.isInteger(value) || value < 1 || value > 16384)
      throw new WorldlineError(`decodeFrames: ${name} is ${value}; give a whole number of pixels from 1 to 16384`);
  if (!["contain", "crop", "stretch"].includes(fit))
    throw new WorldlineError(`decodeFrames: fit is "${fit}"; give contain, crop or stretch`);
  if (fps !== undefined && !(fps > 0 && fps <= 1000))
    throw new WorldlineError(`decodeFrames: fps is ${fps}; give a rate above 0, up to 1000`);
  if (only?.some((n, i) => !Number.isInteger(n) || n < 0 || (i > 0 && n <= only[i - 1])))
    throw new WorldlineError("decodeFrames: only must hold whole frame numbers in ascending order");
  if (only?.length === 0) return;
  const info = options.info ?? (await probeVideo(path, options.signal));
  if (typeof info.stream !== "number") return yield* pictureFrames(path, info.stream, options);
  const args = decodeArguments(path, info, options);
  const rate = fps ?? info.fps;
  let count = 0;
  for await (const data of readPieces(args, width * height * 3, (errors) => unreadable(path, errors), options.signal)) {
    const index = only ? only[count] : count;
    count++;
    yield { index, time: index / rate, data };
  }
  if (count === 0 && !only) throw new WorldlineError(`${path}: the video holds no frame that can be decoded; is the file whole?`);
}

function decodeArguments(path: string, info: VideoInfo, { width, height, fps, fit, only }: DecodeOptions): string[] {
  const inner = fitted(shownSize(info), width, height, fit);
  const chosen = only ? [`select='${balancedSum(only.map((n) => `eq(n,${n})`))}'`, `setpts=N/(${fps ?? info.rate})/TB`] : [];
  const exact = "flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp";
  const edge = { contain: `,pad=${width}:${height}:(ow-iw)/2:(oh-ih)/2:black`, crop: `,crop=${width}:${height}:exact=1`, stretch: "" }[fit];
  const filter = [
    "setpts=PTS-STARTPTS",
    `fps=${fps ?? info.rate}`,
    ...chosen,
    `scale=${inner.width}:${inner.height}:${exact}`,
    `format=rgb24${edge}`,
    "setsar=1",
  ].join(",");
  const read = ["-xerror", "-protocol_whitelist", "file", "-i", `file:${path}`];
  const write = ["-map", `0:${info.stream}`, "-vf", filter, ...(only ? ["-frames:v", String(only.length)] : [])];
  return ["-hide_banner", "-nostdin", "-v", "error", ...read, ...write, "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"];
}

/** A sum as nested pairs: ffmpeg's expression parser recurses, so a flat sum of hundreds of terms would be too deep. */
function balancedSum(terms: readonly string[]): string {
  if (terms.length <= 2) return terms.join("+");
  const half = terms.length >> 1;
  return `(${balancedSum(terms.slice(0, half))})+(${balancedSum(terms.slice(half))})`;
}

/** Size to scale to before filling up or cutting. */
function fitted(shown: { width: number; height: number }, width: number, height: number, fit: DecodeOptions["fit"]) {
  if (fit === "stretch") return { width, height };
  const scale = Math[fit === "contain" ? "min" : "max"](width / shown.width, height / shown.height);
  const side = (n: number, limit: number) => Math.max(1, Math[fit === "contain" ? "min" : "max"](limit, Math.round(n * scale)));
  return { width: side(shown.width, width), height: side(shown.height, height) };
}

async function* pictureFrames(path: string, files: readonly string[], options: DecodeOptions): AsyncGenerator<VideoFrame> {
  const { width, height, fps = folderRate, fit } = options;
  const wanted = options.only?.filter((n) => n < files.length) ?? files.keys();
  for (const index of wanted) {
    options.signal?.throwIfAborted();
    const picture = blendOnWhite(await readPicture(join(path, files[index])));
    const inner = fitted(picture, width, height, fit);
    const scaled = resizePicture(picture, inner.width, inner.height);
    const whole = fit === "crop" ? centreCrop(scaled, width, height) : fit === "contain" ? padded(scaled, width, height) : scaled;
    yield { index, time: index / fps, data: whole.data };
  }
}

function padded({ width: w, height: h, data }: Picture, width: number, height: number): Picture {
  const out = new Uint8Array(width * height * 3);
  const left = (width - w) >> 1;
  const top = (height - h) >> 1;
  for (let y = 0; y < h; y++) out.set(data.subarray(y * w * 3, (y + 1) * w * 3), ((top + y) * width + left) * 3);
  return { width, height, channels: 3, data: out };
}

function unreadable(path: string, errors: string): WorldlineError {
  const line = lastLine(errors, path);
  return new WorldlineError(
    `${path}: this is no video or it is damaged (${line || "ffmpeg stopped without a word"}); check ${basename(path)} or leave it out`,
  );
}
