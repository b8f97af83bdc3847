// What commands say when something is wrong: run as people run them, each must end with exit code 1, one sentence on stderr, no stack trace and
// nothing half-written. Also what a command says and goes on.

import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { saveModel } from "../world/model.ts";
import { encodePng } from "../world/pictures.ts";
import { createBase, defaultBase } from "../world/tabletop/base.ts";
import { defaultWorld } from "../world/tabletop/world.ts";
import { scratchFolder } from "./tiny_model.ts";

const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
const tsx = import.meta.resolve("tsx");
const folder = scratchFolder();
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
  lines("no_target.jsonl", triplet, { id: "b", source: "picture.png" });
  lines("numbers.jsonl", { ...triplet, source: 5 });
  lines("null.jsonl", null);
  lines("bad_picture.jsonl", { ...triplet, target: "text.png" });
  lines("no_picture.jsonl", { ...triplet, target: "nowhere.png" });
  writeFileSync(at("torn.jsonl"), `${JSON.stringify(triplet)}\n{"id": "b", "sour`);
}

interface Outcome {
  readonly code: number | null;
  readonly out: string;
  /** Lines of stderr but those that Dawn and the Vulkan loader write from native code. */
  readonly said: string[];
}

const native = /^(Warning: (maxDynamic|vk|loader_|Couldn't|DriverLoader|.*libvulkan)|\s+at \w+ \(.*third_party\/dawn)/;

function run(args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, ["--import", tsx, main, ...args], {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [out, err] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => void (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => void (err += text));
    const timer = setTimeout(() => child.kill("SIGKILL"), 120_000);
    child.on("error", fail).on("close", (code) => {
      clearTimeout(timer);
      done({ code, out, said: err.split("\n").filter((line) => line.trim() && !native.test(line)) });
    });
  });
}

interface Case {
  readonly name: string;
  readonly args: readonly string[];
  /** The whole sentence, with {} for the scratch folder, or a pattern. */
  readonly want: string | RegExp;
  readonly env?: Record<string, string>;
  /** Lines before the sentence. */
  readonly before?: RegExp;
  /** The hint that commander puts below usage errors. */
  readonly usage?: true;
  readonly skip?: boolean;
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
const noAdapter = { VK_DRIVER_FILES: at("nowhere.json"), VK_ICD_FILENAMES: at("nowhere.json"), XDG_CACHE_HOME: at("no cache") };
const linux = process.platform === "linux";
const hint = "there is no such file or folder; check the path";

const cases: Case[] = [
  { name: "an unknown command", args: ["frobnicate"], want: "error: unknown command 'frobnicate'", usage: true },
  { name: "an unknown flag", args: edit("model", "--frobnicate", "3"), want: "error: unknown option '--frobnicate'", usage: true },
  { name: "a missing flag", args: ["edit"], want: "error: required option '--cwm <folder>' not specified", usage: true },
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
    name: "an unknown role",
    args: ["train", "painter", "--model", "model", "--data", "one.jsonl", "--out", "out"],
    want: '"painter" is no role; train cdm, cft or cwm',
  },
  {
    name: "edit without picture and data",
    args: ["edit", "--cwm", "model", "--out", "out.png"],
    want: "edit needs --image and --action, or --data with a file of records",
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
    want: /^\S*nowhere\.png cannot be read: .*; check the path in the records$/,
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
    want: "file/kept.jsonl: not written, a part of the path is a file, not a folder; check the path",
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
    want: /^numbers\.jsonl:1 has no "source"; each line needs id, source, target$/,
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
    want: /^model has no expected\/lm\.safetensors or expected\/vq_encode\.safetensors; give a configuration folder/,
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

/** Everything below the scratch folder. */
const listing = () => readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();

/** Three at a time: a command spends most of its start waiting for the disk and the compiler. */
async function sideBySide<T>(work: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async () => {
    while (next < work.length) {
      const i = next++;
      results[i] = await work[i]();
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  return results;
}

const kept = listing();
const wanted = cases.filter((c) => !c.skip);
const outcomes = await sideBySide(wanted.map((c) => () => run(c.args, c.env)));
const left = listing();

for (const [i, c] of wanted.entries()) {
  test(c.name, () => {
    const { code, out, said } = outcomes[i];
    const words = `exit code ${code}, said:\n${said.join("\n")}`;
    assert.is(code, 1, words);
    const lines = [...said];
    if (c.usage) assert.is(lines.pop(), "(see --help)", words);
    const sentence = lines.pop() ?? "";
    if (typeof c.want === "string") assert.is(sentence, c.want.replaceAll("{}", folder), words);
    else assert.match(sentence, c.want, words);
    if (c.before) assert.match(lines.pop() ?? "", c.before, words);
    assert.equal(lines, [], "more than one sentence");
    assert.not.match(out, /\n\s+at /);
  });
}

test("no command that failed left anything behind", () => {
  const made = left.filter((name) => !kept.includes(name) && !name.startsWith("frames"));
  assert.equal(made, []);
  assert.equal(
    kept.filter((name) => !left.includes(name)),
    [],
  );
});

test("an action with unknown words is carried out, and said", async () => {
  const { code, said } = await run([
    "edit",
    "--cwm",
    "model",
    "--image",
    "picture.png",
    "--action",
    "frobnicate the zebra",
    "--out",
    "zebra.png",
    "--candidates",
    "2",
  ]);
  assert.is(code, 0, said.join("\n"));
  assert.is(said[0], 'note: the model\'s vocabulary has no whole token for "frobnicate", "zebra"; spelled out, expect poor results');
  assert.match(said[said.length - 1], /^zebra\.png: 48 x 48, candidate 1 of 2$/);
  assert.equal(
    [...readFileSync(at("zebra.png")).subarray(1, 4)],
    [..."PNG"].map((c) => c.charCodeAt(0)),
  );
});

if (linux) {
  test("doctor says what is missing and how to mend it", async () => {
    const { code, out, said } = await run(["doctor"], noAdapter);
    assert.is(code, 1);
    assert.equal(said, []);
    assert.match(out, /^tried +system drivers: no (driver|loader) /m);
    assert.match(out, /^result +no WebGPU adapter$/m);
    assert.match(out, /^to mend it +npm run doctor -- --install$/m);
  });

  test("doctor --adapter hardware does not take a software adapter", async () => {
    const { code, out } = await run(["doctor", "--adapter", "hardware", "--json"], noAdapter);
    assert.is(code, 1);
    const { ok, adapter, remedy } = JSON.parse(out) as { ok: boolean; adapter: unknown; remedy: string };
    assert.equal(
      { ok, adapter, remedy },
      { ok: false, adapter: null, remedy: "install the graphics card's Vulkan driver, or use --adapter software" },
    );
  });
}

test.run();
