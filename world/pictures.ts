// Picture files: PNG through pngjs, everything else (JPEG, WebP, AVIF, GIF, TIFF) through sharp. Decoding only; resizing for the model is
// tokenizer/pixels.ts, because it must match Pillow bit for bit.

import { readFile, stat } from "node:fs/promises";
import { inflateSync } from "node:zlib";
import { PNG } from "pngjs";
import sharp from "sharp";
import { WorldlineError } from "../engine/errors.ts";
import { checkPicture, type Picture } from "../tokenizer/pixels.ts";
import { reasonOf, writeFileAtomic } from "../weights/file_source.ts";

const largestSide = 20000;
/** As in Pillow, which warns of a decompression bomb above it. */
const largestPixels = 89478485;

/**
 * Reads a picture file: RGB, or RGBA where some pixel is not opaque. EXIF orientation is applied. Throws a WorldlineError that names the path
 * where the file is missing, empty, damaged, no picture, or over 20,000 pixels wide or high.
 */
export async function readPicture(path: string): Promise<Picture> {
  const bytes = await readBytes(path);
  return decodePicture(bytes, path);
}

/** Decodes the bytes of a picture file; `name` opens error messages. */
export async function decodePicture(bytes: Uint8Array, name: string): Promise<Picture> {
  if (bytes.length === 0) throw new WorldlineError(`${name}: the file is empty; was the download or copy cut off?`);
  const isPng = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a].every((byte, i) => bytes[i] === byte);
  const picture = isPng ? decodePng(bytes, name) : await decodeOther(bytes, name);
  return withoutOpaqueAlpha(picture);
}

/** PNG bytes of a picture, lossless. */
export function encodePng(picture: Picture): Uint8Array {
  checkPicture(picture);
  checkSize(picture.width, picture.height, "the picture to be written");
  const { width, height, channels = 3, data } = picture;
  const alpha = channels === 4;
  const png = new PNG({ width, height, colorType: alpha ? 6 : 2, inputColorType: alpha ? 6 : 2, inputHasAlpha: alpha, bitDepth: 8 });
  png.data = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  return new Uint8Array(
    PNG.sync.write(png, { colorType: alpha ? 6 : 2, inputColorType: alpha ? 6 : 2, inputHasAlpha: alpha, bitDepth: 8 }),
  );
}

/** Writes a PNG through a temporary file, so that the path never holds half a picture. */
export async function writePng(path: string, picture: Picture): Promise<void> {
  await writeFileAtomic(path, [encodePng(picture)]);
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    if (!(await stat(path)).isFile()) throw new WorldlineError(`${path}: this is not a file; give the path of a picture`);
    return await readFile(path);
  } catch (error) {
    throw error instanceof WorldlineError ? error : new WorldlineError(`${path}: ${reasonOf(error)}`);
  }
}

function decodePng(bytes: Uint8Array, name: string): Picture {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33) throw damaged(name, "the file is cut off");
  checkSize(view.getUint32(16), view.getUint32(20), name);
  checkFilled(bytes, view, name);
  try {
    const { width, height, data } = PNG.sync.read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    const picture = { width, height, channels: 4 as const, data: new Uint8Array(data) };
    checkPicture(picture);
    return picture;
  } catch (error) {
    throw damaged(name, String(error instanceof Error ? error.message : error));
  }
}

/** Throws where a PNG's data has fewer bytes than its size needs: the decoder would fill up with black. */
function checkFilled(bytes: Uint8Array, view: DataView, name: string): void {
  const [width, height, depth, color, interlaced] = [view.getUint32(16), view.getUint32(20), bytes[24], bytes[25], bytes[28] === 1];
  const channels = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[color] ?? 0;
  if (channels === 0 || ![1, 2, 4, 8, 16].includes(depth)) throw damaged(name, `color type ${color} with ${depth} bits is no PNG's`);
  const passBytes = (w: number, h: number) => (w && h ? h * (1 + Math.ceil((w * depth * channels) / 8)) : 0);
  const part = (n: number, from: number, step: number) => Math.max(0, Math.ceil((n - from) / step));
  const needed = interlaced
    ? adam7.reduce((sum, [x, y, dx, dy]) => sum + passBytes(part(width, x, dx), part(height, y, dy)), 0)
    : passBytes(width, height);
  const data: Uint8Array[] = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    if (String.fromCharCode(...bytes.subarray(at + 4, at + 8)) === "IDAT") data.push(bytes.subarray(at + 8, at + 8 + length));
    at += 12 + length;
  }
  let filled = 0;
  try {
    filled = inflateSync(Buffer.concat(data), { maxOutputLength: needed + 65536 }).length;
  } catch (error) {
    throw damaged(name, String(error instanceof Error ? error.message : error));
  }
  if (filled < needed) throw damaged(name, `${filled} of ${needed} bytes are there`);
}

/** First column and row, and steps, of the seven passes of an interlaced PNG. */
const adam7 = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

async function decodeOther(bytes: Uint8Array, name: string): Promise<Picture> {
  try {
    const image = sharp(bytes, { limitInputPixels: largestPixels, failOn: "error", ignoreIcc: true });
    const { width, height } = await image.metadata();
    checkSize(width, height, name);
    const { data, info } = await image
      .autoOrient()
      .toColourspace("srgb")
      .ensureAlpha()
      .raw({ depth: "uchar" })
      .toBuffer({ resolveWithObject: true });
    const picture = { width: info.width, height: info.height, channels: 4 as const, data: new Uint8Array(data) };
    checkPicture(picture);
    return picture;
  } catch (error) {
    throw error instanceof WorldlineError ? error : damaged(name, String(error instanceof Error ? error.message : error));
  }
}

function checkSize(width: number, height: number, name: string): void {
  if (width >= 1 && height >= 1 && width <= largestSide && height <= largestSide && width * height <= largestPixels) return;
  throw new WorldlineError(
    `${name}: the picture has ${width} x ${height} pixels; 1 to ${largestSide} a side and ${largestPixels} in all are read, scale it first`,
  );
}

function withoutOpaqueAlpha(picture: Picture): Picture {
  const { width, height, data } = picture;
  for (let i = 3; i < data.length; i += 4) if (data[i] !== 255) return picture;
  const rgb = new Uint8Array(width * height * 3);
  for (let i = 0, o = 0; i < data.length; i += 4) {
    rgb[o++] = data[i];
    rgb[o++] = data[i + 1];
    rgb[o++] = data[i + 2];
  }
  return { width, height, channels: 3, data: rgb };
}

function damaged(name: string, reason: string): WorldlineError {
  const line = reason.replace(/\s+/g, " ").trim().slice(0, 120);
  return new WorldlineError(`${name}: the picture cannot be decoded (${line}); is the file whole, and is it a PNG, JPEG or WebP?`);
}
