// Pictures: preprocessing against Pillow's bytes, postprocessing, picture files. Run: node --import tsx test/pixels.test.ts

import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import {
  blendOnWhite,
  centreCrop,
  type Picture,
  parsePixelConfig,
  pixelValues,
  postprocess,
  preparePicture,
  preprocess,
  resizePicture,
  shortestEdgeSize,
} from "../tokenizer/pixels.ts";
import type { Safetensors } from "../weights/safetensors.ts";
import { encodePng, readPicture, writePng } from "../world/pictures.ts";
import { floats, goldenJson, goldenTensors } from "./goldens.ts";

const folder = mkdtempSync(join(tmpdir(), "worldline-pixels-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

async function messageOf(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    assert.instance(error, WorldlineError, String(error));
    assert.not.match((error as Error).message, /\n/);
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}

async function goldenPicture(file: Safetensors, name: string): Promise<Picture> {
  const [height, width, channels] = file.tensors.get(name)?.shape ?? [];
  return { width, height, channels: channels as 3 | 4, data: await file.read(name) };
}

function noise(width: number, height: number, channels: 3 | 4 = 3): Picture {
  const rng = new Rng(1, `${width}x${height}`);
  return { width, height, channels, data: Uint8Array.from({ length: width * height * channels }, () => rng.int(256)) };
}

for (const model of ["tiny-mha", "tiny-gqa"]) {
  const config = parsePixelConfig(goldenJson(`${model}/preprocessor_config.json`));

  test(`${model}: resized bytes and pixel values are equal to the image processor's`, async () => {
    const file = await goldenTensors(`${model}/expected/preprocess.safetensors`);
    const names = [...file.tensors.keys()].filter((name) => name.endsWith(".image_u8")).map((name) => name.split(".")[0]);
    assert.ok(names.length >= 5, names.join());
    for (const name of names) {
      const picture = await goldenPicture(file, `${name}.image_u8`);
      if (file.tensors.has(`${name}.resized_u8`)) {
        const resized = await goldenPicture(file, `${name}.resized_u8`);
        const { width, height } = shortestEdgeSize(picture.width, picture.height, config.shortestEdge ?? 0);
        assert.equal([width, height], [resized.width, resized.height], name);
        assert.equal(resizePicture(blendOnWhite(picture), width, height).data, resized.data, name);
      }
      if (file.tensors.has(`${name}.blended_u8`)) assert.equal(blendOnWhite(picture).data, await file.read(`${name}.blended_u8`), name);
      assert.equal(preprocess(picture, config).values, await floats(file, `${name}.pixel_values`), name);
    }
    await file.close();
  });

  test(`${model}: a picture of real size has the same SHA-256`, () => {
    interface Real {
      input_h_w: [number, number];
      sha256_u8_hwc: string;
      sha256_pixel_values_f32_chw_little_endian: string;
    }
    const real = goldenJson<{ real_size: Real }>(`${model}/expected/preprocess.json`).real_size;
    const [height, width] = real.input_h_w;
    const data = new Uint8Array(width * height * 3);
    for (let y = 0, i = 0; y < height; y++)
      for (let x = 0; x < width; x++) for (let c = 0; c < 3; c++) data[i++] = (x * 7 + y * 13 + c * 31 + ((x * y) % 17)) % 256;
    const full = parsePixelConfig({});
    const prepared = preparePicture({ width, height, data }, full);
    assert.is(createHash("sha256").update(prepared.data).digest("hex"), real.sha256_u8_hwc);
    const values = pixelValues(prepared, full);
    assert.is(createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex"), real.sha256_pixel_values_f32_chw_little_endian);
  });

  test(`${model}: decoded values become the reference's bytes`, async () => {
    const file = await goldenTensors(`${model}/expected/vq_decode.safetensors`);
    const [count, , height, width] = file.tensors.get("pixel_values")?.shape ?? [];
    const values = await floats(file, "pixel_values");
    const expected = await file.read("image_u8_chw");
    const n = 3 * height * width;
    for (let b = 0; b < count; b++) {
      const { data } = postprocess(values.subarray(b * n, (b + 1) * n), width, height, config);
      for (let c = 0; c < 3; c++)
        for (let i = 0; i < height * width; i++) assert.is(data[3 * i + c], expected[b * n + c * height * width + i]);
    }
    await file.close();
  });
}

test("every byte survives preprocessing and postprocessing to within one", () => {
  const config = parsePixelConfig({ do_resize: false, do_center_crop: false });
  const data = Uint8Array.from({ length: 768 }, (_, i) => Math.floor(i / 3));
  const back = postprocess(pixelValues({ width: 16, height: 16, data }, config), 16, 16, config).data;
  for (let i = 0; i < 768; i++) assert.ok(Math.abs(back[i] - data[i]) <= 1, `${data[i]} became ${back[i]}`);
  assert.equal([...postprocess([Number.NaN, 9, -9], 1, 1, config).data], [0, 255, 0]);
});

test("bilinear and bicubic keep flat pictures flat and differ from Lanczos", () => {
  const flat: Picture = { width: 7, height: 5, data: new Uint8Array(105).fill(77) };
  for (const filter of [1, 2, 3] as const) assert.equal(resizePicture(flat, 13, 3, filter).data, new Uint8Array(13 * 3 * 3).fill(77));
  const [a, b, c] = ([1, 2, 3] as const).map((filter) => resizePicture(noise(20, 30), 11, 17, filter).data.join());
  assert.is(new Set([a, b, c]).size, 3);
  // Halving a row of two pixels per step with the triangle filter: weights 1/8 3/8 3/8 1/8, at the border 3/7 3/7 1/7.
  const row: Picture = { width: 4, height: 1, data: Uint8Array.of(0, 0, 0, 80, 80, 80, 160, 160, 160, 240, 240, 240) };
  assert.equal([...resizePicture(row, 2, 1, 2).data], [57, 57, 57, 183, 183, 183]);
});

test("bicubic is Keys' cubic with a = -1/2", () => {
  const keys = (t: number) => {
    const x = Math.abs(t);
    return x < 1 ? 1.5 * x ** 3 - 2.5 * x ** 2 + 1 : x < 2 ? -0.5 * x ** 3 + 2.5 * x ** 2 - 4 * x + 2 : 0;
  };
  for (const [n, out] of [
    [9, 20],
    [31, 12],
  ]) {
    const picture = noise(n, 1);
    const got = resizePicture(picture, out, 1, 3).data;
    const stretch = Math.max(n / out, 1);
    for (let x = 0; x < out; x++) {
      const weights = Array.from({ length: n }, (_, i) => keys((i + 0.5 - ((x + 0.5) * n) / out) / stretch));
      const total = weights.reduce((sum, w) => sum + w, 0);
      for (let c = 0; c < 3; c++) {
        const value = weights.reduce((sum, w, i) => sum + (w / total) * picture.data[3 * i + c], 0);
        assert.ok(Math.abs(got[3 * x + c] - Math.min(Math.max(value, 0), 255)) < 0.5001, `${got[3 * x + c]} is not ${value}`);
      }
    }
  }
});

test("opaque alpha is dropped, other alpha is blended on white", () => {
  assert.equal([...blendOnWhite({ width: 1, height: 1, channels: 4, data: Uint8Array.of(1, 2, 3, 255) }).data], [1, 2, 3]);
  assert.equal(
    [...blendOnWhite({ width: 2, height: 1, channels: 4, data: Uint8Array.of(1, 2, 3, 0, 0, 0, 0, 51) }).data],
    [255, 255, 255, 204, 204, 204],
  );
});

test("pictures and settings that make no sense are refused", async () => {
  const config = parsePixelConfig({});
  const fault = (run: () => unknown) => messageOf(run);
  assert.match(
    await fault(() => preprocess({ width: 2, height: 2, data: new Uint8Array(3) }, config)),
    /2 x 2 x 3 needs 12 bytes, 3 were given/,
  );
  assert.match(await fault(() => preprocess({ width: 0, height: 2, data: new Uint8Array(0) }, config)), /0 x 2 pixels was given/);
  assert.match(
    await fault(() => preprocess({ width: 10000, height: 1, data: new Uint8Array(30000) }, config)),
    /to 5120000 x 512 was asked for/,
  );
  assert.match(await fault(() => centreCrop(noise(4, 4), 5, 4)), /a crop of 5 x 4 from a picture of 4 x 4/);
  assert.match(await fault(() => pixelValues(noise(2, 2, 4), config)), /with alpha was given/);
  assert.match(await fault(() => postprocess([1], 2, 2, config)), /1 values were given for a picture of 2 x 2/);
  assert.match(await fault(() => parsePixelConfig({ resample: 0 })), /resample is 0, 1 \(Lanczos\)/);
  assert.match(await fault(() => parsePixelConfig({ size: { height: 3 } })), /size is \{"height":3\}/);
  assert.match(await fault(() => parsePixelConfig({ image_std: [1, 0, 1] })), /image_std/);
  assert.match(await fault(() => parsePixelConfig({ do_normalize: false })), /do_normalize is false/);
  assert.equal(parsePixelConfig({ size: 8, crop_size: 6 }).crop, { width: 6, height: 6 });
});

test("PNG files round trip, with and without alpha, and nothing else is left", async () => {
  for (const picture of [noise(5, 3), noise(4, 7, 4), { width: 1, height: 1, data: Uint8Array.of(1, 2, 3) }]) {
    const path = join(folder, "round.png");
    await writePng(path, picture);
    const back = await readPicture(path);
    assert.equal({ ...back }, { ...picture, channels: picture.channels ?? 3 });
    const raw = await sharp(path).raw().toBuffer({ resolveWithObject: true });
    assert.equal([raw.info.channels, new Uint8Array(raw.data)], [picture.channels ?? 3, picture.data]);
  }
  assert.equal(readdirSync(folder), ["round.png"]);
  assert.match(await messageOf(() => writePng(join(folder, "x.png"), { width: 2, height: 1, data: new Uint8Array(3) })), /needs 6 bytes/);
});

test("JPEG, WebP, greyscale and rotated pictures are read", async () => {
  const { width, height, data } = noise(12, 8);
  const base = () => sharp(data, { raw: { width, height, channels: 3 } });
  for (const [name, bytes] of [
    ["a.jpg", await base().jpeg({ quality: 95 }).toBuffer()],
    ["a.webp", await base().webp({ lossless: true }).toBuffer()],
    ["grey.jpg", await base().greyscale().jpeg().toBuffer()],
    ["grey.png", await base().greyscale().png().toBuffer()],
    ["palette.png", await base().png({ palette: true }).toBuffer()],
  ] as const) {
    writeFileSync(join(folder, name), bytes);
    const picture = await readPicture(join(folder, name));
    assert.equal([picture.width, picture.height, picture.channels, picture.data.length], [12, 8, 3, 288], name);
    if (name === "a.webp") assert.equal(picture.data, data);
  }
  writeFileSync(join(folder, "turned.jpg"), await base().withMetadata({ orientation: 6 }).jpeg().toBuffer());
  const turned = await readPicture(join(folder, "turned.jpg"));
  assert.equal([turned.width, turned.height], [8, 12]);
});

test("bad picture files are one sentence each", async () => {
  const write = (name: string, bytes: Uint8Array) => {
    writeFileSync(join(folder, name), bytes);
    return messageOf(() => readPicture(join(folder, name)));
  };
  const png = encodePng(noise(40, 40));
  const jpeg = new Uint8Array(
    await sharp(noise(64, 64).data, { raw: { width: 64, height: 64, channels: 3 } })
      .jpeg()
      .toBuffer(),
  );
  assert.match(await messageOf(() => readPicture(join(folder, "none.png"))), /none\.png: there is no such file/);
  assert.match(await messageOf(() => readPicture(folder)), /this is not a file/);
  assert.match(await write("empty.png", new Uint8Array(0)), /empty\.png: the file is empty/);
  assert.match(await write("text.jpg", new TextEncoder().encode("hello there")), /text\.jpg: the picture cannot be decoded/);
  assert.match(await write("cut.jpg", jpeg.slice(0, jpeg.length / 2)), /cut\.jpg: the picture cannot be decoded/);
  for (const length of [8, 20, 33, 60, png.length / 2, png.length - 13])
    assert.match(await write("cut.png", png.slice(0, length)), /cut\.png: the picture cannot be decoded/);
  const wide = png.slice();
  new DataView(wide.buffer).setUint32(16, 20001);
  assert.match(await write("wide.png", wide), /wide\.png: the picture has 20001 x 40 pixels/);
  const rng = new Rng(2, "png");
  for (let round = 0; round < 300; round++) {
    const bytes = png.slice();
    for (let n = 0; n < 3; n++) bytes[8 + rng.int(bytes.length - 8)] ^= 1 << rng.int(8);
    writeFileSync(join(folder, "fuzz.png"), bytes);
    await readPicture(join(folder, "fuzz.png")).catch((error: unknown) => assert.instance(error, WorldlineError, String(error)));
  }
  assert.ok(readFileSync(join(folder, "fuzz.png")).length > 0);
});

test.run();
