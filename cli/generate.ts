// worldline generate: what a model writes or draws after a prompt of text and pictures. Text goes to stdout as it is written, pictures to files.
import { type Command, InvalidArgumentError, Option } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import type { SamplingOptions } from "../models/generate.ts";
import type { CacheType } from "../models/kvcache.ts";
import { type Mode, modes } from "../models/rules.ts";
import { checkWritable } from "../weights/file_source.ts";
import { parseGenerationConfig } from "../weights/generation.ts";
import { parseJsonObject } from "../weights/source.ts";
import { type Grid, generate, type Piece, promptIds } from "../world/generation.ts";
import { loadModel, type Model } from "../world/model.ts";
import { readPicture, writePng } from "../world/pictures.ts";
import { folderOf, type StorageFlags, storageOptions, withStorage } from "./shared.ts";
import { count, interruption, number, progress, say, status } from "./terminal.ts";

interface Flags extends StorageFlags {
  model: string;
  prompt: string;
  image: string[];
  out?: string;
  mode?: Mode;
  plain?: boolean;
  grammar: boolean;
  grid?: Grid;
  maxTokens?: number;
  branches: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  repetitionPenalty?: number;
  cfg?: { image: number; full: number };
  seed: number;
  cache: CacheType;
  json?: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("generate")
    .description("continue a prompt of text and pictures with text, pictures or both")
    .requiredOption("-m, --model <model>", "model folder or hub id")
    .option("--prompt <text>", "the prompt; each <image> in it stands for a picture", "")
    .option("--image <files...>", "pictures of the prompt, in order; before the text where it has no <image>", [])
    .option("--out <file>", "draw a picture into this PNG (further ones: name-2.png, ...); alone: one picture and no text")
    .addOption(new Option("--mode <mode>", "what may be written; text-only unless told").choices(modes))
    .option("--plain", "continue the prompt instead of answering it (no end of turn)")
    .option("--no-grammar", "let a picture have any number of codes, as the published modes do")
    .option("--grid <rows>x<columns>", "codes of a drawn picture; the model's square unless told", gridOf)
    .option("--max-tokens <n>", "most new tokens", count(1, 1_000_000))
    .option("--branches <k>", "continuations of the one prompt", count(1, 256), 1)
    .option("--temperature <x>", "0 takes the likeliest token; generation_config.json's or 0.7 unless told", number(0, 100))
    .option("--top-k <n>", "sample from the n likeliest tokens; 0 from all (unless told)", count(0, 2 ** 24))
    .option("--top-p <x>", "sample from the likeliest tokens that make up this probability; 0.9 unless told", number(0, 1))
    .option("--repetition-penalty <x>", "makes tokens already in the sequence less likely, outside pictures", number(0.01, 100))
    .option("--cfg <image,full>", "guidance of a drawn picture: U + image (M - U) + full (F - M); Chameleon's: 1.2,3", guidanceOf)
    .option("--seed <n>", "seed of the sampling", count(0, 2 ** 31), 0)
    .addOption(new Option("--cache <type>", "storage of keys and values").choices(["f32", "f16"]).default("f32"))
    .option("--json", "print one JSON object instead of text");
  withStorage(command).action(run);
}

function gridOf(text: string): Grid {
  const [, rows, columns] = /^(\d{1,4})x(\d{1,4})$/.exec(text) ?? [];
  if (!Number(rows) || !Number(columns)) throw new InvalidArgumentError("rows and columns like 32x32 are needed.");
  return { rows: Number(rows), columns: Number(columns) };
}

function guidanceOf(text: string): { image: number; full: number } {
  const [image, full] = text.split(",").map((part) => (part.trim() === "" ? Number.NaN : Number(part)));
  if (!Number.isFinite(image) || !Number.isFinite(full) || text.split(",").length !== 2)
    throw new InvalidArgumentError("two numbers like 1.2,3 are needed.");
  return { image, full };
}

/** How to sample and where to stop: the flags, else what the model's makers say in generation_config.json, else Chameleon's own numbers. */
function samplingOf(f: Flags, model: Model): { sampling: SamplingOptions; stops?: readonly number[] } {
  const text = model.files["generation_config.json"];
  const where = `${model.folder}/generation_config.json`;
  const said = text === undefined ? {} : parseGenerationConfig(parseJsonObject(text, where), where);
  const sampling = {
    temperature: f.temperature ?? (said.doSample === false ? 0 : said.temperature) ?? 0.7,
    topK: f.topK ?? said.topK ?? 0,
    topP: f.topP ?? said.topP ?? 0.9,
    repetitionPenalty: f.repetitionPenalty ?? said.repetitionPenalty ?? 1,
    seed: f.seed,
    guidance: f.cfg,
  };
  return { sampling, stops: said.eosIds?.filter((id) => id < model.config.vocabSize) };
}

/** What --json prints of one branch. */
interface Written {
  text: string;
  pictures: { file?: string; codes: number[]; columns: number }[];
  ids: number[];
  logprob: number;
  stopped: boolean;
}

async function run(f: Flags): Promise<void> {
  if (f.prompt === "" && f.image.length === 0) throw new WorldlineError("generate needs a --prompt, an --image or both");
  const draw = f.out !== undefined && f.mode === undefined;
  if (f.cfg && !draw) throw new WorldlineError("--cfg guides the drawing of one picture; give --out without --mode");
  if (f.out) await checkWritable(f.out);
  const pictures = await Promise.all(f.image.map((path) => readPicture(path)));
  const signal = interruption();
  const folder = await folderOf(f.model, signal);
  const device = await openDevice();
  const model = await loadModel(device, folder, storageOptions(f));
  if (f.out && !model.vqgan.decoder)
    throw new WorldlineError(
      `${f.model} has no picture decoder, as the official Chameleon files: it can read pictures but not draw them; take an Anole conversion`,
    );
  const prompt = await promptIds(model, f.prompt, pictures, { plain: f.plain });
  const { sampling, stops } = samplingOf(f, model);
  const options = { ...f, draw, sampling, stops, signal, onProgress: draw ? progress("drawing, codes") : undefined };
  const sink = new Sink(f, model);
  const begin = performance.now();
  const slow = setTimeout(() => status(`reading the prompt of ${prompt.length} tokens`), 1000);
  for await (const piece of generate(device, model, prompt, options)) {
    clearTimeout(slow);
    await sink.take(piece);
  }
  sink.finish(prompt, performance.now() - begin);
}

/** Where pieces go: stdout, picture files, or one JSON object. */
class Sink {
  private readonly flags: Flags;
  private readonly model: Model;
  private readonly branches: Written[];
  private files = 0;

  constructor(flags: Flags, model: Model) {
    this.flags = flags;
    this.model = model;
    this.branches = Array.from({ length: flags.branches }, () => ({ text: "", pictures: [], ids: [], logprob: 0, stopped: false }));
  }

  async take(piece: Piece): Promise<void> {
    const b = this.branches[piece.branch];
    if (piece.kind === "text") {
      b.text += piece.text;
      if (!this.flags.json && this.flags.branches === 1) process.stdout.write(piece.text);
    } else if (piece.kind === "picture") {
      const file = piece.whole ? await this.draw(piece.codes, piece.columns) : undefined;
      b.pictures.push({ ...(file ? { file } : {}), codes: [...piece.codes], columns: piece.columns });
      const told = `${piece.codes.length} codes${piece.whole ? "" : ", not a whole picture"}`;
      say(file ? `${file}: picture of ${told}` : `a picture of ${told}${piece.whole ? " (--out writes it)" : ""}`);
    } else Object.assign(b, { ids: [...piece.ids], logprob: piece.logprob, stopped: piece.stopped });
  }

  private async draw(codes: Uint32Array, columns: number): Promise<string | undefined> {
    const { out } = this.flags;
    if (!out) return undefined;
    const file = ++this.files === 1 ? out : numbered(out, this.files);
    await writePng(file, (await this.model.pictures.decode([codes], columns))[0]);
    return file;
  }

  finish(prompt: Uint32Array, ms: number): void {
    const { flags, branches } = this;
    const steps = Math.max(...branches.map((b) => b.ids.length));
    if (flags.json) {
      const { seed } = flags;
      const ms_per_token = Number((ms / Math.max(1, steps)).toFixed(3));
      console.log(JSON.stringify({ seed, prompt_tokens: prompt.length, ms_per_token, continuations: branches }));
      return;
    }
    if (flags.branches > 1) branches.forEach((b, i) => void (b.text && console.log(`[${i + 1}] ${b.text}`)));
    else if (branches[0].text) process.stdout.write("\n");
    say(
      `${prompt.length} prompt tokens, ${steps} new ones${branches.length > 1 ? ` x ${branches.length}` : ""} in ${(ms / 1000).toFixed(1)} s, seed ${flags.seed}`,
    );
  }
}

/** name.png -> name-2.png. */
export function numbered(path: string, n: number): string {
  return /\.[^./\\]+$/.test(path) ? path.replace(/(\.[^./\\]+)$/, `-${n}$1`) : `${path}-${n}`;
}
