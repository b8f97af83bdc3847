// Damaged, hostile and odd picture files: a WorldlineError of one sentence or a picture, in bounded time; what is written is whole or not there.

import { existsSync, mkdirSync, readdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { deflateSync } from "node:zlib";
import sharp from "sharp";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { decodePicture, encodePng, writePng } from "../world/pictures.ts";
import { scratchFolder } from "./tiny_model.ts";

const width = 40;
const height = 24;
const rng = new Rng(4, "pictures");
const pixels = Uint8Array.from({ length: width * height * 3 }, () => rng.int(256));
const raw = sharp(pixels, { raw: { width, height, channels: 3 } });
const files: Record<string, Uint8Array> = {
  "a.png": encodePng({ width, height, data: pixels }),
  "interlaced.png": new Uint8Array(await raw.clone().png({ progressive: true }).toBuffer()),
  "palette.png": new Uint8Array(await raw.clone().png({ palette: true }).toBuffer()),
  "a.jpg": new Uint8Array(await raw.clone().jpeg().toBuffer()),
  "a.webp": new Uint8Array(await raw.clone().webp().toBuffer()),
  "a.gif": new Uint8Array(await raw.clone().gif().toBuffer()),
  "a.tif": new Uint8Array(await raw.clone().tiff().toBuffer()),
};

/** What becomes of a file: the sentence, or nothing where a picture came out. */
async function outcome(bytes: Uint8Array, name: string): Promise<string | undefined> {
  try {
    const p = await decodePicture(bytes, name);
    assert.is(p.data.length, p.width * p.height * (p.channels ?? 3), name);
    assert.ok(p.width >= 1 && p.height >= 1);
    return undefined;
  } catch (error) {
    assert.instance(error, WorldlineError, `${name}: ${(error as Error).stack}`);
    const { message } = error as Error;
    assert.ok(message.startsWith(`${name}: `) && message.length < 400 && !/[\n\r]/.test(message), message);
    return message;
  }
}

for (const [name, bytes] of Object.entries(files)) {
  test(`${name} is read whole; cut off at any place it is refused; with flipped bits it is either`, async () => {
    assert.is(await outcome(bytes, name), undefined);
    let refused = 0;
    const rounds = 40;
    for (let i = 0; i < rounds; i++) if (await outcome(bytes.slice(0, Math.floor((bytes.length * i) / (rounds + 4))), name)) refused++;
    assert.ok(refused >= (/png|jpg|webp/.test(name) ? rounds : rounds / 2), `${refused} of ${rounds} were refused`);
    for (let i = 0; i < 100; i++) {
      const damaged = bytes.slice();
      for (let n = 1 + rng.int(4); n > 0; n--) damaged[rng.int(i % 2 ? 60 : damaged.length)] ^= 1 << rng.int(8);
      await outcome(damaged, name);
    }
  });
}

test("a colour profile changes no value, as in Pillow, on which Chameleon's own processor stands", async () => {
  const plain = await sharp(files["a.jpg"]).jpeg({ quality: 100 }).toBuffer();
  const profiled = await sharp(files["a.jpg"]).withIccProfile("p3").jpeg().toBuffer();
  const at = profiled.indexOf(Buffer.from([0xff, 0xe2]));
  const profile = profiled.subarray(at, at + 2 + profiled.readUInt16BE(at + 2));
  const both = Buffer.concat([plain.subarray(0, 2), profile, plain.subarray(2)]);
  assert.ok((await sharp(both).metadata()).icc);
  assert.equal((await decodePicture(new Uint8Array(both), "p3.jpg")).data, (await decodePicture(new Uint8Array(plain), "a.jpg")).data);
});

/** A PNG of one colour that claims a size; `rows` of it are there. */
function claim(w: number, h: number, rows: number, depth = 1): Uint8Array {
  const chunk = (type: string, data: Uint8Array) => {
    const body = Buffer.concat([Buffer.from(type), data]);
    const frame = Buffer.alloc(8);
    frame.writeUInt32BE(data.length, 0);
    frame.writeUInt32BE(crc(body), 4);
    return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)]);
  };
  const ihdr = Buffer.alloc(13);
  ihdr.writeUInt32BE(w >>> 0, 0);
  ihdr.writeUInt32BE(h >>> 0, 4);
  ihdr[8] = depth;
  const row = 1 + Math.ceil((w * depth) / 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", ihdr),
    chunk("IDAT", deflateSync(Buffer.alloc(Math.min(row * rows, 1 << 24)))),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

function crc(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const byte of bytes) {
    c ^= byte;
    for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  }
  return ~c >>> 0;
}

test("sizes: none, too large, and large in one direction", async () => {
  const sizes: [number, number][] = [
    [0, 0],
    [0, 7],
    [20001, 1],
    [1, 20001],
    [20000, 20000],
    [20000, 10000],
    [2 ** 31, 2 ** 31],
  ];
  for (const [w, h] of sizes) {
    const began = performance.now();
    assert.match(
      (await outcome(claim(w, h, Math.min(h, 64)), "x.png")) ?? "",
      new RegExp(`the picture has ${w} x ${h} pixels; 1 to 20000 a side`),
    );
    assert.ok(performance.now() - began < 5000);
  }
  assert.is(await outcome(claim(20000, 9, 9), "x.png"), undefined);
  assert.is(await outcome(claim(3, 20000, 20000), "x.png"), undefined);
});

test("a size that the data does not fill, and data of another kind than the name says", async () => {
  assert.match((await outcome(claim(6000, 6000, 3), "x.png")) ?? "", /cannot be decoded/);
  assert.match((await outcome(claim(8, 8, 8, 3), "x.png")) ?? "", /color type 0 with 3 bits is no PNG's/);
  // pngjs alone would fill these rows with whatever lies in memory.
  for (const rows of [10, 63]) assert.match((await outcome(claim(64, 64, rows, 8), "x.png")) ?? "", /of 4160 bytes are there/);
  for (const text of ["hello", "<svg", "<html><body>not found</body></html>", "GIF89a", "\x89PNG\r\n\x1a\n"])
    assert.match(
      (await outcome(new TextEncoder().encode(text), "x.jpg")) ?? "",
      /^x\.jpg: the picture cannot be decoded \(.+\); is the file whole/,
    );
  assert.match((await outcome(new Uint8Array(0), "x.jpg")) ?? "", /the file is empty/);
});

test("a picture is written whole or not at all", async () => {
  const folder = scratchFolder();
  const picture = { width, height, data: pixels };
  mkdirSync(join(folder, "taken.png"));
  await writePng(join(folder, "a", "b.png"), picture);
  for (const path of ["taken.png", "a/b.png/c.png"]) {
    const error = await writePng(join(folder, path), picture).catch((e: unknown) => e);
    assert.instance(error, WorldlineError);
  }
  if (existsSync("/dev/full")) symlinkSync("/dev/full", join(folder, "full.png"));
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  assert.not.ok(names.some((n) => n.endsWith(".tmp")));
});

test.run();
