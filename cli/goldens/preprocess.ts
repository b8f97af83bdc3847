// The preparation of pictures against reference answers: blended, resized and cropped bytes and pixel values, all of them equal.
import { createHash } from "node:crypto";
import {
  blendOnWhite,
  type Picture,
  type PixelConfig,
  preparePicture,
  preprocess,
  resizePicture,
  shortestEdgeSize,
} from "../../tokenizer/pixels.ts";
import { type AnswerFile, type Case, type Golden, largest, type Row, unequal } from "./answers.ts";
import { pixelConfigOf } from "./model_files.ts";

interface Facts {
  readonly input_h_w: [number, number];
  readonly resized_h_w?: [number, number];
  readonly crop_top_left?: [number, number];
}
interface RealSize extends Facts {
  readonly formula: string;
  readonly output: string;
  readonly sha256_u8_hwc: string;
  readonly sha256_pixel_values_f32_chw_little_endian: string;
}

export async function preprocessing({ folder, answers }: Case): Promise<Row[]> {
  if (!(await answers.has("preprocess.safetensors"))) return [];
  const file = await answers.file("preprocess.safetensors");
  const config = await pixelConfigOf(folder);
  const facts = (await answers.has("preprocess.json"))
    ? await answers.json<Record<string, Facts> & { real_size?: RealSize }>("preprocess.json")
    : {};
  const rows: Row[] = [];
  for (const name of file.names.filter((n) => n.endsWith(".image_u8")).map((n) => n.slice(0, -".image_u8".length)))
    rows.push(...one(name, file, config, facts[name]));
  if (facts.real_size) rows.push(...realSize(facts.real_size, config));
  return rows;
}

function pictureOf({ shape: [height, width, channels], data }: Golden): Picture {
  return { width, height, channels: channels as 3 | 4, data: Uint8Array.from(data) };
}

function one(name: string, file: AnswerFile, config: PixelConfig, facts: Facts | undefined): Row[] {
  const picture = pictureOf(file.get(`${name}.image_u8`));
  const rows: Row[] = [];
  const equal = (what: string, got: ArrayLike<number>) => {
    if (!file.has(`${name}.${what}`)) return;
    rows.push({ quantity: `preprocess ${name}.${what}`, error: unequal(got, file.get(`${name}.${what}`).data), limit: 0 });
  };
  const blended = blendOnWhite(picture);
  equal("blended_u8", blended.data);
  const size = config.shortestEdge === null ? blended : shortestEdgeSize(blended.width, blended.height, config.shortestEdge);
  const resized = resizePicture(blended, size.width, size.height, config.resample);
  equal("resized_u8", resized.data);
  const values = preprocess(picture, config).values;
  const want = file.get(`${name}.pixel_values`).data;
  rows.push({ quantity: `preprocess ${name}.pixel_values`, error: largest(values, want), limit: 1e-6 });
  if (facts?.resized_h_w)
    rows.push({ quantity: `preprocess ${name}: sizes`, error: unequal([resized.height, resized.width], facts.resized_h_w), limit: 0 });
  if (facts?.crop_top_left && config.crop) {
    const corner = [Math.floor((resized.height - config.crop.height) / 2), Math.floor((resized.width - config.crop.width) / 2)];
    rows.push({ quantity: `preprocess ${name}: corner of the crop`, error: unequal(corner, facts.crop_top_left), limit: 0 });
  }
  return rows;
}

/** The picture that the answers give by a formula, at the published model's size, as hashes. */
function realSize(facts: RealSize, config: PixelConfig): Row[] {
  const known = "u8[y][x][c] = (x*7 + y*13 + c*31 + (x*y) % 17) % 256";
  const side = Number(/shortest edge (\d+)/.exec(facts.output)?.[1]);
  if (facts.formula !== known || !side) return [{ quantity: `preprocess real_size: unknown formula ${facts.formula}`, error: 1, limit: 0 }];
  const [height, width] = facts.input_h_w;
  const data = Uint8Array.from({ length: height * width * 3 }, (_, i) => {
    const [y, x, c] = [Math.floor(i / 3 / width), Math.floor(i / 3) % width, i % 3];
    return (x * 7 + y * 13 + c * 31 + ((x * y) % 17)) % 256;
  });
  const large = { ...config, shortestEdge: side, crop: { width: side, height: side } };
  const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
  const bytes = hash(preparePicture({ width, height, data }, large).data);
  const values = hash(new Uint8Array(preprocess({ width, height, data }, large).values.buffer));
  return [
    { quantity: "preprocess real_size: bytes", error: Number(bytes !== facts.sha256_u8_hwc), limit: 0 },
    { quantity: "preprocess real_size: pixel values", error: Number(values !== facts.sha256_pixel_values_f32_chw_little_endian), limit: 0 },
  ];
}
