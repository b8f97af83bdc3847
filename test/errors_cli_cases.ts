// The commands of errors_cli.test.ts and what each must say, with the folder of models, pictures and records that they are given.

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openDevice } from "../engine/node.ts";
import { saveModel } from "../world/model.ts";
import { encodePng } from "../world/pictures.ts";
import { createBase, defaultBase } from "../world/tabletop/base.ts";
import { defaultWorld } from "../world/tabletop/world.ts";
import type { Case } from "./errors_cli_run.ts";
import { goldenPath } from "./goldens.ts";
import { scratchFolder } from "./tiny_model.ts";

/** Everything the commands read, and where they run. */
export const folder = scratchFolder();
const at = (...names: string[]) => join(folder, ...names);

/** A model folder with an untrained transformer of one small layer, and copies of it that lack or damage something. */
async function makeModels(): Promise<void> {
  const device = await openDevice();
  const settings = { ...defaultBase, lm: { ...defaultBase.lm, hidden: 16, intermediate: 24, layers: 1 } };
  await saveModel(device, await createBase(device, defaultWorld, settings, 1), at("model"));
  device.destroy();
}

function damaged(name: string, change: (path: string) => void): string {
  cpSync(at("model"), at(name), { recursive: true });
  change(at(name));
  return at(name);
}

function makeFiles(): void {
  const pixels = Uint8Array.from({ length: 48 * 48 * 3 }, (_, i) => (i * 7) % 256);
  const png = encodePng({ width: 48, height: 48, data: pixels });
  writeFileSync(at("picture.png"), png);
  writeFileSync(at("half.png"), png.subarray(0, png.length / 2));
  writeFileSync(at("text.png"), "hello\n");
  writeFileSync(at("text.mp4"), "hello\n");
  writeFileSync(at("empty.png"), "");
  writeFileSync(at("file"), "");
  mkdirSync(at("folder.png"));
  const lines = (name: string, ...records: unknown[]) => writeFileSync(at(name), records.map((r) => `${JSON.stringify(r)}\n`).join(""));
  const triplet = { id: "a", source: "picture.png", target: "picture.png", action: "move it", mean_logprob: -1 };
  lines("one.jsonl", triplet);
  lines("none.jsonl");
  lines("twins.jsonl", triplet, triplet);
  lines("codes_high.jsonl", { columns: 3, codes: [0, 1, 4800] });
  lines("codes_odd.jsonl", { columns: 3, codes: [0, 1, 2, 3, 4] });
  writeFileSync(at("dot.png"), encodePng({ width: 2, height: 2, data: new Uint8Array(12) }));
  lines("no_target.jsonl", triplet, { id: "b", source: "picture.png" });
  lines("numbers.jsonl", { ...triplet, source: 5 });
  lines("number_action.jsonl", { ...triplet, action: 5 });
  writeFileSync(at("no_model.toml"), 'stage = "annotate"\ndata = "one.jsonl"\ncdm = "nowhere"\n');
  lines("null.jsonl", null);
  lines("bad_picture.jsonl", { ...triplet, target: "text.png" });
  lines("no_picture.jsonl", { ...triplet, target: "nowhere.png" });
  writeFileSync(at("torn.jsonl"), `${JSON.stringify(triplet)}\n{"id": "b", "sour`);
}

await makeModels();
makeFiles();
const modelFiles = "a model folder needs config.json, model.safetensors, tokenizer.json and preprocessor_config.json";
const edit = (model: string, ...more: string[]) => [
  "edit",
  "--cwm",
  model,
  "--image",
  "picture.png",
  "--action",
  "x",
  "--out",
  "out.png",
  "--candidates",
  "2",
  ...more,
];
const picture = (path: string) => ["edit", "--cwm", "model", "--image", path, "--action", "x", "--out", "out.png"];
const annotate = (pairs: string, ...more: string[]) => ["annotate", "--cdm", "model", "--pairs", pairs, "--out", "out.jsonl", ...more];
const train = (data: string, out = "out", ...more: string[]) => [
  "train",
  "cdm",
  "--model",
  "model",
  "--data",
  data,
  "--out",
  out,
  "--max-steps",
  "1",
  ...more,
];
const without = (file: string) => damaged(`without ${file}`, (m) => rmSync(join(m, file)));
const torn = damaged("torn", (m) => truncateSync(join(m, "model.safetensors"), 100_000));
const blank = damaged("blank", (m) => truncateSync(join(m, "model.safetensors"), 0));
const half = (file: string) =>
  damaged(`half ${file}`, (m) => writeFileSync(join(m, file), readFileSync(join(m, file), "utf8").slice(0, 40)));
const missized = damaged("missized", (m) =>
  writeFileSync(
    join(m, "config.json"),
    readFileSync(join(m, "config.json"), "utf8").replace('"intermediate_size": 24', '"intermediate_size": 28'),
  ),
);
/** An environment in which no driver is found. */
export const noAdapter = { VK_DRIVER_FILES: at("nowhere.json"), VK_ICD_FILENAMES: at("nowhere.json"), XDG_CACHE_HOME: at("no cache") };
export const linux = process.platform === "linux";
const hint = "there is no such file or folder; check the path";

/** Every command that must fail, and its sentence. */
export const cases: Case[] = [
  { name: "an unknown command", args: ["frobnicate"], want: "error: unknown command 'frobnicate'", usage: true },
  { name: "an unknown flag", args: edit("model", "--frobnicate", "3"), want: "error: unknown option '--frobnicate'", usage: true },
  { name: "a missing flag", args: ["edit"], want: "error: required option '--cwm <model>' not specified", usage: true },
  {
    name: "a number out of range",
    args: edit("model", "--top-p", "1.5"),
    want: /^error: option '--top-p <x>' argument '1.5' is invalid\. a number from 0 to 1 is needed\.$/,
    usage: true,
  },
  {
    name: "a seed that is no number",
    args: ["demo", "--seed", "abc"],
    want: /^error: option '--seed <n>' argument 'abc' is invalid\. a whole number from 0 to/,
    usage: true,
  },
  {
    name: "a second beta of one, whose correction divides by nothing",
    args: train("one.jsonl", "out", "--adam-beta2", "1"),
    want: "--adam-beta2: adam_beta2 is 1; a number from 0 up and below 1 is needed",
  },
  {
    name: "held-out data without a record",
    args: train("one.jsonl", "out", "--eval-data", "none.jsonl"),
    want: "none.jsonl (eval_data) holds no usable triplet; leave it out to train without evaluations",
  },
  {
    name: "records that share an id",
    args: ["eval", "--data", "twins.jsonl", "--system", "a=.", "--out", "out"],
    want: 'twins.jsonl: the id "a" is given twice; predictions are told apart by it, so each record needs its own',
  },
  {
    name: "a report that would be a folder",
    args: ["bench", "fill", "--json", "folder.png"],
    want: "folder.png: this is a folder, a file is needed; check the path",
  },
  {
    name: "an unknown role",
    args: ["train", "painter", "--model", "model", "--data", "one.jsonl", "--out", "out"],
    want: '"painter" is no role; train cdm, cft or cwm',
  },
  {
    name: "edit without picture and data",
    args: ["edit", "--cwm", "model", "--out", "out.png"],
    want: "edit needs --image and --action or --steps, or --data with a file of records",
  },
  { name: "a picture that is not there", args: picture("nowhere.png"), want: `nowhere.png: ${hint}` },
  { name: "a picture that is a folder", args: picture("folder.png"), want: "folder.png: this is not a file; give the path of a picture" },
  {
    name: "a picture that is none",
    args: picture("text.png"),
    want: /^text\.png: the picture cannot be decoded \(.*\); is the file whole, and is it a PNG, JPEG or WebP\?$/,
  },
  { name: "an empty picture", args: picture("empty.png"), want: "empty.png: the file is empty; was the download or copy cut off?" },
  {
    name: "a picture that is cut off",
    args: picture("half.png"),
    want: /^half\.png: the picture cannot be decoded \(.*\); is the file whole/,
  },
  { name: "a picture in the data that is none", args: train("bad_picture.jsonl"), want: /^\S*text\.png: the picture cannot be decoded/ },
  {
    name: "a picture in the data that is not there",
    args: train("no_picture.jsonl"),
    want: /^no_picture\.jsonl: 1 of 1 triplets name pictures that are missing, the first is \S*nowhere\.png; .* --skip-missing$/,
  },
  {
    name: "a video that is none",
    args: ["frames", "text.mp4", "--out", "frames"],
    want: /^frames: 1 of 1 videos$/,
    before: /^left out: text\.mp4: this is no video or it is damaged \(.*\); check text\.mp4 or leave it out$/,
    skip: !hasFfmpeg(),
  },
  { name: "a model folder that is not there", args: edit("nowhere"), want: `nowhere: ${hint}` },
  {
    name: "a model folder without config.json",
    args: edit(without("config.json")),
    want: "{}/without config.json/config.json is missing: a model folder needs it; is this the right folder?",
  },
  {
    name: "a model folder without weights",
    args: edit(without("model.safetensors")),
    want: "{}/without model.safetensors/model.safetensors is missing: neither is model.safetensors.index.json; a model folder needs one of the two",
  },
  {
    name: "a model folder without tokenizer",
    args: edit(without("tokenizer.json")),
    want: `{}/without tokenizer.json has no tokenizer.json; ${modelFiles}`,
  },
  {
    name: "a model folder without preprocessor",
    args: edit(without("preprocessor_config.json")),
    want: `{}/without preprocessor_config.json has no preprocessor_config.json; ${modelFiles}`,
  },
  ...["config.json", "tokenizer.json", "preprocessor_config.json"].map((file) => ({
    name: `half a ${file}`,
    args: edit(half(file)),
    want: new RegExp(`/half ${file}/${file}: the file is not valid JSON \\(.*\\); was it cut off while copying\\?$`),
  })),
  {
    name: "a torn model.safetensors",
    args: edit(torn),
    want: /\/torn\/model\.safetensors: tensor ".*" claims bytes \d+ to \d+ of \d+ bytes of data; the file is cut off or damaged$/,
  },
  {
    name: "an empty model.safetensors",
    args: edit(blank),
    want: "{}/blank/model.safetensors: the file has 0 bytes, a safetensors file has at least 8; was the download cut off?",
  },
  {
    name: "weights that do not fit the configuration",
    args: edit(missized),
    want: /^model\.layers\.0\.mlp\.gate_proj\.weight has 384 values but \(28, 16\) is needed; config\.json does not fit the weights$/,
  },
  {
    name: "edit into a folder that is a file",
    args: edit("model", "--out", "file/out.png"),
    want: "file/out.png: it could not be written, a part of the path is a file, not a folder; check the path",
  },
  // Node's recursive mkdir never comes back from there.
  {
    name: "weights into a folder where there can be none",
    args: ["weights", "picture.png", "picture.png", "--model", "model", "--out", "/proc/none/at/all.png"],
    want: /^\/proc\/none\/at\/all\.png: it could not be written, /,
  },
  {
    name: "frames into a folder where there can be none",
    args: ["frames", "text.mp4", "--out", "/proc/none/at/all"],
    want: /^frames: \/proc\/none\/at\/all\/report\.html: it could not be written, /,
  },
  {
    name: "annotate into a folder that is a file",
    args: annotate("one.jsonl", "--out", "file/a/out.jsonl"),
    want: "file/a/out.jsonl: it could not be written, a part of the path is a file, not a folder; check the path",
  },
  {
    name: "train into a folder that is a file",
    args: train("one.jsonl", "file"),
    want: /^file\/model\.safetensors: it could not be written, a part of the path is a file/,
  },
  {
    name: "tabletop into a folder that is a file",
    args: ["tabletop", "--out", "file/x", "--triplets", "1"],
    want: /^file\/x\/triplets: not written, a part of the path is a file, not a folder; check the path$/,
  },
  {
    name: "filter into a folder that is a file",
    args: ["filter", "--in", "one.jsonl", "--out", "file/kept.jsonl"],
    want: "file/kept.jsonl: it could not be written, a part of the path is a file, not a folder; check the path",
  },
  {
    name: "filter onto a folder",
    args: ["filter", "--in", "one.jsonl", "--out", "folder.png"],
    want: "folder.png: not written, this is a folder, a file is needed; check the path",
  },
  {
    name: "data that is not there",
    args: ["filter", "--in", "nowhere.jsonl", "--out", "out.jsonl"],
    want: /^nowhere\.jsonl cannot be read: ENOENT: no such file or directory; check the path$/,
  },
  { name: "a line of data that is cut off", args: train("torn.jsonl"), want: "torn.jsonl:2 is no JSON object; each line must be one" },
  { name: "a line of data that is no object", args: annotate("null.jsonl"), want: "null.jsonl:1 is no JSON object; each line must be one" },
  {
    name: "a record without a field",
    args: train("no_target.jsonl"),
    want: 'no_target.jsonl:2 has no "target"; each line needs id, source, target, action',
  },
  {
    name: "a path that is a number",
    args: annotate("numbers.jsonl"),
    want: /^numbers\.jsonl:1: "source" is 5; it must be text in quotes$/,
  },
  {
    name: "said actions that are numbers",
    args: ["eval", "--data", "one.jsonl", "--actions", "x=number_action.jsonl", "--out", "out"],
    want: /^number_action\.jsonl:1: "action" is 5; it must be text in quotes$/,
  },
  {
    name: "jobs with a model that is not there",
    args: ["jobs", "submit", "no_model.toml", "--out", "out"],
    want: /^nowhere cannot be read: ENOENT: no such file or directory; give a model's folder or a hub id \(org\/name\)$/,
  },
  { name: "training on nothing", args: train("none.jsonl"), want: "there are no training examples; give at least one" },
  {
    name: "probing nothing",
    args: ["probe", "--model", "model", "--data", "none.jsonl"],
    want: "probe: there are no records; give at least one",
  },
  {
    name: "goldens of a folder that has none",
    args: ["goldens", "model"],
    want: /^model has no answers to compare with; give a configuration folder with expected\//,
  },
  {
    name: "a prompt and new tokens past the model's positions",
    args: ["generate", "--model", "model", "--prompt", "one red ring", "--max-tokens", "5000"],
    want: /^the prompt has \d+ tokens, with 5000 new ones more than the model's \d+ positions; shorten the prompt or ask for fewer$/,
  },
  {
    name: "a prompt with more places than pictures",
    args: ["generate", "--model", "model", "--prompt", "<image> and <image>", "--image", "picture.png"],
    want: "the prompt has 2 times <image> but 1 pictures were given; both must agree",
  },
  {
    name: "generating from nothing",
    args: ["generate", "--model", "model"],
    want: "generate needs a --prompt, an --image or both",
  },
  {
    name: "guidance without drawing",
    args: ["generate", "--model", "model", "--prompt", "a", "--cfg", "1,2"],
    want: "--cfg guides the drawing of one picture; give --out without --mode",
  },
  {
    name: "generating from half a picture",
    args: ["generate", "--model", "model", "--image", "half.png", "--out", "out.png"],
    want: /^half\.png: the picture cannot be decoded \(.*\); is the file whole, and is it a PNG, JPEG or WebP\?$/,
  },
  {
    name: "drawing with files that have no picture decoder",
    args: ["generate", "--model", goldenPath("tiny-mha/bf16"), "--prompt", "a", "--out", "out.png"],
    want: /has no tokenizer\.json; a model folder needs/,
  },
  {
    name: "encoding what is no picture",
    args: ["encode", "--model", "model", "text.png", "--out", "codes.jsonl"],
    want: /^text\.png: the picture cannot be decoded/,
  },
  {
    name: "encoding less than a code as it is",
    args: ["encode", "--model", "model", "dot.png", "--keep-size"],
    want: "dot.png: the picture has 2 x 2 pixels; at least 16 x 16 are needed",
  },
  {
    name: "decoding codes that the model does not have",
    args: ["decode", "--model", "model", "codes_high.jsonl", "--out", "out.png"],
    want: "4800 is no picture code; this model's codes run from 0 to 47, do codes and model belong together?",
  },
  {
    name: "decoding rows that are not whole",
    args: ["decode", "--model", "model", "codes_odd.jsonl", "--out", "out.png"],
    want: 'codes_odd.jsonl:1: 5 codes do not make rows of 3; lines like {"columns": 32, "codes": [...]} are needed',
  },
  {
    name: "decoding what is no JSON",
    args: ["decode", "--model", "model", "text.png", "--out", "out.png"],
    want: 'text.png:1: this is not JSON; lines like {"columns": 32, "codes": [...]} are needed',
  },
  {
    name: "scoring nothing",
    args: ["score", "--model", "model", "--prompt", "a"],
    want: "score needs at least one continuation: --text or --picture",
  },
  {
    name: "no adapter",
    args: edit("model"),
    env: noAdapter,
    want: /^No WebGPU adapter: system drivers: no (driver|loader) \(.*\)\. Run `npm run doctor -- --install` to install a software driver\.$/,
    skip: !linux,
  },
];

function hasFfmpeg(): boolean {
  const found = (process.env.PATH ?? "").split(":").some((p) => existsSync(join(p, "ffprobe")));
  if (!found) console.log("skipped: a video that is none, ffprobe is not installed");
  return found;
}
if (!linux) console.log("skipped: no adapter, drivers can be hidden on Linux only");
