// Pictures to model input and back, bit for bit as Chameleon's image processor (Pillow) does it: blend on white, resize so that the shorter
// side is S, crop the centre, pixel = float32(byte * 0.0078) - 1.

import { WorldlineError } from "../engine/errors.ts";
import { fieldsOf } from "../weights/fields.ts";
import { isObject, quote } from "../weights/source.ts";
import { type ResampleFilter, resample } from "./resample.ts";

/** Bytes [height, width, channels], rows from the top. `channels` is 3 (RGB) where absent, or 4 (RGB and alpha). */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly channels?: 3 | 4;
  readonly data: Uint8Array;
}

/** preprocessor_config.json as types. `shortestEdge` and `crop` are null where the file switches the step off. */
export interface PixelConfig {
  readonly shortestEdge: number | null;
  /** Resize to this size whatever the picture's proportions; the shortest edge is null then. */
  readonly exact?: { readonly width: number; readonly height: number };
  readonly crop: { readonly width: number; readonly height: number } | null;
  readonly resample: ResampleFilter;
  readonly rescale: number;
  readonly mean: readonly number[];
  readonly std: readonly number[];
}

const largestSide = 65536;

/** Reads preprocessor_config.json; absent fields take the published values. Throws for filters other than Lanczos, bilinear and bicubic. */
export function parsePixelConfig(json: Record<string, unknown>, where = "preprocessor_config.json"): PixelConfig {
  const f = fieldsOf(json, where);
  for (const name of ["do_rescale", "do_normalize"]) if (!f.flag(name, true)) throw f.refuse(name, "true");
  const filter = f.number("resample", 1);
  if (filter !== 1 && filter !== 2 && filter !== 3) throw f.refuse("resample", "1 (Lanczos), 2 (bilinear) or 3 (bicubic)");
  const size = json.size ?? { shortest_edge: 512 };
  const crop = json.crop_size ?? { height: 512, width: 512 };
  const side = (value: unknown, name: string, field: string) => {
    const found = isObject(value) ? value[field] : value;
    if (!Number.isSafeInteger(found) || (found as number) < 1 || (found as number) > largestSide)
      throw f.refuse(name, `a whole number from 1 to ${largestSide} for ${field}`);
    return found as number;
  };
  const triple = (name: string) => {
    const value = json[name] ?? [1, 1, 1];
    if (!Array.isArray(value) || value.length !== 3 || !value.every((v) => Number.isFinite(v)))
      throw f.refuse(name, "a list of three numbers");
    return value as number[];
  };
  const resizes = f.flag("do_resize", true);
  const exact = isObject(size) && size.shortest_edge === undefined && size.height !== undefined;
  const config = {
    shortestEdge: resizes && !exact ? side(size, "size", "shortest_edge") : null,
    ...(resizes && exact && { exact: { width: side(size, "size", "width"), height: side(size, "size", "height") } }),
    crop: f.flag("do_center_crop", true) ? { width: side(crop, "crop_size", "width"), height: side(crop, "crop_size", "height") } : null,
    resample: filter as ResampleFilter,
    rescale: f.number("rescale_factor", 0.0078),
    mean: triple("image_mean"),
    std: triple("image_std"),
  };
  if (!(config.rescale > 0)) throw f.refuse("rescale_factor", "a number above 0");
  if (config.std.includes(0)) throw f.refuse("image_std", "three numbers other than 0");
  return config;
}

/** Throws unless the picture's sizes are whole numbers from 1 up and its data has exactly that many bytes. */
export function checkPicture({ width, height, channels = 3, data }: Picture): void {
  const whole = (n: number) => Number.isSafeInteger(n) && n >= 1;
  if (!whole(width) || !whole(height))
    throw new WorldlineError(`a picture of ${width} x ${height} pixels was given; at least 1 x 1 is needed`);
  if (channels !== 3 && channels !== 4)
    throw new WorldlineError(`a picture with ${quote(channels)} channels was given; 3 (RGB) or 4 (RGBA) are needed`);
  if (data.length !== width * height * channels)
    throw new WorldlineError(
      `a picture of ${width} x ${height} x ${channels} needs ${width * height * channels} bytes, ${data.length} were given`,
    );
}

/** RGB of a picture: alpha is dropped where all of it is 255, else blended on white: (1 - a/255) * 255 + a/255 * rgb, truncated. */
export function blendOnWhite(picture: Picture): Picture {
  checkPicture(picture);
  const { width, height, channels = 3, data } = picture;
  if (channels === 3) return { width, height, data };
  const rgb = new Uint8Array(width * height * 3);
  let opaque = true;
  for (let i = 3; i < data.length && opaque; i += 4) opaque = data[i] === 255;
  for (let i = 0, o = 0; i < data.length; i += 4) {
    const a = data[i + 3] / 255;
    for (let c = 0; c < 3; c++) rgb[o++] = opaque ? data[i + c] : Math.trunc((1 - a) * 255 + a * data[i + c]);
  }
  return { width, height, data: rgb };
}

/** Sizes after resizing so that the shorter side is `edge`: the longer one is truncated. */
export function shortestEdgeSize(width: number, height: number, edge: number): { width: number; height: number } {
  const long = Math.trunc((edge * Math.max(width, height)) / Math.min(width, height));
  return width <= height ? { width: edge, height: long } : { width: long, height: edge };
}

/** Resizes as Pillow does. */
export function resizePicture(picture: Picture, width: number, height: number, filter: ResampleFilter = 1): Picture {
  checkPicture(picture);
  const fits = (n: number) => Number.isSafeInteger(n) && n >= 1 && n <= largestSide;
  if (!fits(width) || !fits(height)) {
    throw new WorldlineError(
      `resizing ${picture.width} x ${picture.height} pixels to ${width} x ${height} was asked for; sides from 1 to ${largestSide} are possible, crop the picture first`,
    );
  }
  const { channels = 3, data } = picture;
  if (width === picture.width && height === picture.height) return picture;
  return { ...picture, width, height, data: resample(data, picture.width, picture.height, channels, width, height, filter) };
}

/** Cuts out the centre: top = floor((h - height) / 2), left = floor((w - width) / 2). */
export function centreCrop(picture: Picture, width: number, height: number): Picture {
  checkPicture(picture);
  if (width > picture.width || height > picture.height) {
    throw new WorldlineError(
      `a crop of ${width} x ${height} from a picture of ${picture.width} x ${picture.height} was asked for; the crop may not be larger than the picture`,
    );
  }
  const { channels = 3 } = picture;
  const top = Math.floor((picture.height - height) / 2);
  const left = Math.floor((picture.width - width) / 2);
  const data = new Uint8Array(width * height * channels);
  for (let y = 0; y < height; y++) {
    const begin = ((top + y) * picture.width + left) * channels;
    data.set(picture.data.subarray(begin, begin + width * channels), y * width * channels);
  }
  return { ...picture, width, height, data };
}

/** Blend, resize and crop: the RGB bytes that the model sees. */
export function preparePicture(picture: Picture, config: PixelConfig): Picture {
  let out = blendOnWhite(picture);
  if (config.exact) out = resizePicture(out, config.exact.width, config.exact.height, config.resample);
  if (config.shortestEdge !== null) {
    const { width, height } = shortestEdgeSize(out.width, out.height, config.shortestEdge);
    out = resizePicture(out, width, height, config.resample);
  }
  return config.crop ? centreCrop(out, config.crop.width, config.crop.height) : out;
}

/** RGB bytes -> float32 [3, height, width]: (float32(byte * rescale) - mean) / std. */
export function pixelValues(picture: Picture, config: PixelConfig): Float32Array {
  checkPicture(picture);
  if ((picture.channels ?? 3) !== 3)
    throw new WorldlineError("a picture with alpha was given; blend it on white first (preparePicture does)");
  const n = picture.width * picture.height;
  const values = new Float32Array(3 * n);
  for (let c = 0; c < 3; c++) {
    const mean = Math.fround(config.mean[c]);
    const table = Float32Array.from(
      { length: 256 },
      (_, byte) => Math.fround(Math.fround(byte * config.rescale) - mean) / Math.fround(config.std[c]),
    );
    for (let i = 0; i < n; i++) values[c * n + i] = table[picture.data[3 * i + c]];
  }
  return values;
}

/** A picture as model input [3, height, width]. */
export function preprocess(picture: Picture, config: PixelConfig): { values: Float32Array; width: number; height: number } {
  const prepared = preparePicture(picture, config);
  return { values: pixelValues(prepared, config), width: prepared.width, height: prepared.height };
}

/** Decoded values [3, height, width] -> RGB bytes: trunc(clamp((x * std + mean) * (1 / rescale), 0, 255)) in float32; NaN gives 0. */
export function postprocess(values: ArrayLike<number>, width: number, height: number, config: PixelConfig): Picture {
  const n = width * height;
  if (values.length !== 3 * n)
    throw new WorldlineError(
      `${values.length} values were given for a picture of ${width} x ${height}; 3 x ${height} x ${width} = ${3 * n} are needed`,
    );
  const data = new Uint8Array(3 * n);
  const factor = Math.fround(1 / config.rescale);
  for (let c = 0; c < 3; c++) {
    const [mean, std] = [Math.fround(config.mean[c]), Math.fround(config.std[c])];
    for (let i = 0; i < n; i++) {
      const value = Math.fround(Math.fround(Math.fround(Math.fround(values[c * n + i]) * std) + mean) * factor);
      data[3 * i + c] = Math.trunc(Math.min(Math.max(value, 0), 255));
    }
  }
  return { width, height, data };
}
