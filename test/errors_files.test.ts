// Bad files given to the commands that read models, pictures and codes: torn, hostile, missing, of another model, and outputs that cannot be written.

import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { encodePng } from "../world/pictures.ts";
import { type Case, testCases } from "./errors_cli_run.ts";
import { goldenPath } from "./goldens.ts";
import { scratchFolder } from "./tiny_model.ts";

const folder = scratchFolder();
const at = (...names: string[]) => join(folder, ...names);
const noHub = { HF_HUB_CACHE: at("no cache"), HF_HOME: at("no home") };

/** A copy of a golden model without its answers. */
function model(name: string, change: (path: string) => void = () => undefined, from = "tiny-mha"): string {
  cpSync(goldenPath(from), at(name), {
    recursive: true,
    filter: (path) => !/expected|lora|bf16$/.test(path.slice(goldenPath(from).length)),
  });
  change(at(name));
  return name;
}

const edit = (file: string, change: (text: string) => string) => (path: string) =>
  writeFileSync(join(path, file), change(readFileSync(join(path, file), "utf8")));

/** Changes the header of a model's safetensors file, keeping its length. */
const header = (change: (bytes: Buffer, length: number) => void) => (path: string) => {
  const bytes = readFileSync(join(path, "model.safetensors"));
  change(bytes, Number(bytes.readBigUInt64LE()));
  writeFileSync(join(path, "model.safetensors"), bytes);
};
const replaced = (from: string, to: string) =>
  header((bytes, n) => void bytes.write(bytes.toString("latin1", 8, 8 + n).replace(from, to), 8, "latin1"));

model("model");
model("gqa", undefined, "tiny-gqa");
const shards = model("shards", (path) => rmSync(join(path, "model.safetensors")));
const index = (map: Record<string, unknown>) =>
  writeFileSync(at(shards, "model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
index({ a: "model-00001-of-00002.safetensors" });
const outside = model("outside", (path) => {
  rmSync(join(path, "model.safetensors"));
  writeFileSync(join(path, "model.safetensors.index.json"), JSON.stringify({ weight_map: { a: "../model/model.safetensors" } }));
});
const strangers = model(
  "strangers",
  edit("tokenizer.json", (text) => text.replace(/"<s>":\s*0,/, '"<s>": 0, "<new>": 4000,')),
);
const official = model("official", (path) => cpSync(goldenPath("tiny-mha/bf16/model.safetensors"), join(path, "model.safetensors")));

const pixels = Uint8Array.from({ length: 32 * 32 * 3 }, (_, i) => (i * 7) % 256);
const png = encodePng({ width: 32, height: 32, data: pixels });
writeFileSync(at("picture.png"), png);
writeFileSync(at("half.png"), png.subarray(0, png.length / 2));
writeFileSync(at("junk.jpg"), Uint8Array.from([0xff, 0xd8, 0xff, 0xe0, ...pixels.subarray(0, 500)]));
const resized = (width: number, height: number) => {
  const bytes = Buffer.from(png);
  bytes.writeUInt32BE(width, 16);
  bytes.writeUInt32BE(height, 20);
  return bytes;
};
writeFileSync(at("zero.png"), resized(0, 0));
writeFileSync(at("huge.png"), resized(20000, 20000));
writeFileSync(at("codes.jsonl"), '{"columns": 8, "codes": [1, 2, 999]}\n');
writeFileSync(at("right.jsonl"), `${JSON.stringify({ columns: 8, codes: Array(64).fill(1) })}\n`);
writeFileSync(at("wrong.jsonl"), `${JSON.stringify({ columns: 8, codes: Array(64).fill(999) })}\n`);
writeFileSync(at("file"), "");
mkdirSync(at("taken"));
mkdirSync(at("empty"));
const cut = model("cut", (path) => truncateSync(join(path, "model.safetensors"), 200_000));

const belongs = "tokenizer and model do not belong together";
const encode = (picture: string) => ["encode", "-m", "model", picture, "--out", "out.jsonl"];
const generate = (...more: string[]) => ["generate", "-m", "model", "--prompt", "a", ...more];

const cases: Case[] = [
  { name: "inspect: nothing there", args: ["inspect", "nowhere"], want: "nowhere: there is no such file or folder; check the path" },
  { name: "inspect: an empty folder", args: ["inspect", "empty"], want: /^empty\/config\.json is missing: a model folder needs it/ },
  {
    name: "inspect: a header that claims more than the file",
    args: [
      "inspect",
      model(
        "long",
        header((b) => void b.writeBigUInt64LE(90_000_000n)),
      ),
    ],
    want: /^long\/model\.safetensors: the header claims 90000000 bytes but the file has \d+; the file is cut off or not safetensors$/,
  },
  {
    name: "inspect: a header of 2^63 bytes",
    args: [
      "inspect",
      model(
        "longest",
        header((b) => void b.writeBigUInt64LE(2n ** 63n)),
      ),
    ],
    want: /^longest\/model\.safetensors: the header claims 9223372036854776000 bytes, at most 100000000 are allowed/,
  },
  {
    name: "inspect: offsets that overlap",
    args: ["inspect", model("overlap", replaced('"data_offsets":[131072,', '"data_offsets":[131068,'))],
    want: /^overlap\/model\.safetensors: tensor ".*" of shape .* needs \d+ bytes but claims \d+; the file is damaged$/,
  },
  {
    name: "inspect: a dtype that is none",
    args: ["inspect", model("dtype", replaced('"F32"', '"Q32"'))],
    want: /^dtype\/model\.safetensors: tensor ".*" has dtype "Q32"; known are F64, F32, /,
  },
  {
    name: "inspect: a shape beyond any file",
    args: ["inspect", model("shape", replaced('"shape":[512,64]', '"shape":[9e15,9]'))],
    want: /^shape\/model\.safetensors: tensor "lm_head\.weight" has shape \[9000000000000000,9\], more than any file can hold; the file is damaged$/,
  },
  {
    name: "inspect: a header that is not UTF-8",
    args: [
      "inspect",
      model(
        "utf8",
        header((b) => void b.writeUInt8(0xff, 20)),
      ),
    ],
    want: "utf8/model.safetensors: the header is not UTF-8; the file is damaged or not safetensors",
  },
  {
    name: "inspect: a name twice",
    args: ["inspect", model("twice", replaced("layers.1.input_layernorm", "layers.0.input_layernorm"))],
    want: 'twice/model.safetensors: the header names "model.layers.0.input_layernorm.weight" twice; each name may occur once, write the file anew',
  },
  {
    name: "inspect: a shard that is missing",
    args: ["inspect", shards],
    want: "shards/model-00001-of-00002.safetensors is missing: model.safetensors.index.json names it; download it again",
  },
  {
    name: "inspect: an index that leads out of the folder",
    args: ["inspect", outside],
    want: /^outside\/model\.safetensors\.index\.json: tensor "a" is said to be in "\.\.\/model\/model\.safetensors"; the name of a/,
  },
  {
    name: "generate: a vocabulary of another model",
    args: ["generate", "-m", strangers, "--prompt", "a"],
    want: new RegExp(`"<new>" has the id 4000, the model's vocabulary ends at 511; ${belongs}$`),
  },
  {
    name: "generate: torn weights",
    args: ["generate", "-m", cut, "--prompt", "a"],
    want: /^cut\/model\.safetensors: tensor .* the file is cut off/,
  },
  {
    name: "generate: a prompt longer than the cache",
    args: generate("--max-tokens", "300"),
    want: /^the prompt has \d+ tokens, with 300 new ones more than the model's 256 positions; shorten the prompt or ask for fewer$/,
  },
  {
    name: "generate: an output that cannot be written",
    args: generate("--out", "file/x.png"),
    want: "file/x.png: it could not be written, a part of the path is a file, not a folder; check the path",
  },
  { name: "encode: half a PNG", args: encode("half.png"), want: /^half\.png: the picture cannot be decoded \(.*\); is the file whole/ },
  { name: "encode: a broken JPEG", args: encode("junk.jpg"), want: /^junk\.jpg: the picture cannot be decoded \(.*\); is the file whole/ },
  { name: "encode: no pixels", args: encode("zero.png"), want: /^zero\.png: the picture has 0 x 0 pixels; 1 to 20000 a side/ },
  {
    name: "encode: 20,000 pixels a side",
    args: encode("huge.png"),
    want: /^huge\.png: the picture has 20000 x 20000 pixels; .*scale it first$/,
  },
  {
    name: "encode: an output that cannot be written",
    args: ["encode", "-m", "model", "picture.png", "--out", "file/x.jsonl"],
    want: "file/x.jsonl: it could not be written, a part of the path is a file, not a folder; check the path",
  },
  {
    name: "score: a picture without pixels",
    args: ["score", "-m", "model", "--prompt", "a", "--picture", "zero.png"],
    want: /^zero\.png: the picture has 0/,
  },
  {
    name: "decode: official weights, which cannot draw",
    args: ["decode", "-m", official, "right.jsonl", "--out", "out.png"],
    want: /hold no VQ decoder, as the official .*Anole/,
  },
  {
    name: "decode: codes that are none",
    args: ["decode", "-m", "model", "codes.jsonl", "--out", "out.png"],
    want: /^codes\.jsonl:1: 3 codes do not make rows of 8/,
  },
  {
    name: "decode: codes beyond the codebook",
    args: ["decode", "-m", "model", "wrong.jsonl", "--out", "out.png"],
    want: /999 .*codes run from 0 to 63/,
  },
  {
    name: "decode: a picture for codes",
    args: ["decode", "-m", "model", "picture.png", "--out", "out.png"],
    want: /^picture\.png:1: this is not JSON/,
  },
  {
    name: "convert: into something that exists",
    args: ["convert", "-m", "model", "--out", "taken"],
    want: "taken: there is something at this path already; choose another folder or allow overwriting",
  },
  {
    name: "convert: below a file",
    args: ["convert", "-m", "model", "--out", "file/x"],
    want: "file/x: it could not be written, a part of the path is a file, not a folder; check the path",
  },
  {
    name: "convert: torn weights",
    args: ["convert", "-m", cut, "--out", "out"],
    want: /^cut\/model\.safetensors: tensor .* the file is cut off/,
  },
  {
    name: "convert: an adapter of another model",
    args: ["convert", "-m", "gqa", "--adapter", goldenPath("tiny-mha/lora"), "--out", "out"],
    want: /belongs to another base$/,
  },
  {
    name: "convert: an unknown type",
    args: ["convert", "-m", "model", "--out", "out", "--dtype", "fp8"],
    want: /^error: option '--dtype <type>' argument 'fp8' is invalid\. Allowed choices are f32, bf16, f16, int8, int4\.$/,
    usage: true,
  },
  {
    name: "convert: a size that is none",
    args: ["convert", "-m", "model", "--out", "out", "--shard-size", "big"],
    want: /^error: option '--shard-size <bytes>' argument 'big' is invalid\. a size such as 5GB/,
    usage: true,
  },
  {
    name: "tokenize: no tokenizer",
    args: ["tokenize", "-m", "gqa", "a"],
    want: "gqa/tokenizer.json: there is no such file or folder; check the path",
  },
  {
    name: "tokenize: half a tokenizer.json",
    args: [
      "tokenize",
      "-m",
      model(
        "half",
        edit("tokenizer.json", (text) => text.slice(0, 500)),
      ),
      "a",
    ],
    want: /^half\/tokenizer\.json: the file is not valid JSON \(.*\); was it cut off while copying\?$/,
  },
  {
    name: "a hub id without the hub",
    args: ["inspect", "org/name"],
    env: { ...noHub, HF_ENDPOINT: "http://127.0.0.1:9" },
    want: /^org\/name: there is no such folder, and 127\.0\.0\.1:9 cannot be reached \(.*\); check the network and try again$/,
  },
  {
    name: "a hub id offline",
    args: ["tokenize", "-m", "org/name@v1", "a"],
    env: { ...noHub, HF_HUB_OFFLINE: "1" },
    want: "org/name@v1: there is no such folder, it is not in the cache {}/no cache, and HF_HUB_OFFLINE forbids to fetch it; unset it or check the name",
  },
];

const listing = () => readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
const kept = listing();
await testCases(folder, cases);
const left = listing();

test("nothing is left behind", () => assert.equal(left, kept));

test.run();
