// worldline score: how likely given continuations of a prompt are, text or pictures; all share the prefilled prompt.
import { type Command, Option } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import type { CacheType } from "../models/kvcache.ts";
import { type Scored, Scorer } from "../models/score.ts";
import { codesToIds } from "../tokenizer/vocab.ts";
import { promptIds } from "../world/generation.ts";
import { loadModel } from "../world/model.ts";
import { readPicture } from "../world/pictures.ts";
import { folderOf, type StorageFlags, storageOptions, withStorage } from "./shared.ts";

interface Flags extends StorageFlags {
  model: string;
  prompt: string;
  image: string[];
  text: string[];
  picture: string[];
  plain?: boolean;
  eos?: boolean;
  cache: CacheType;
  json?: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("score")
    .description("log-probabilities of given continuations of a prompt")
    .requiredOption("-m, --model <model>", "model folder or hub id")
    .option("--prompt <text>", "the prompt; each <image> in it stands for a picture", "")
    .option("--image <files...>", "pictures of the prompt, in order; before the text where it has no <image>", [])
    .option("--text <words...>", "continuations in words", [])
    .option("--picture <files...>", "continuations that are pictures", [])
    .option("--plain", "continue the prompt instead of answering it (no end of turn)")
    .option("--eos", "count the end of the sequence behind each text")
    .addOption(new Option("--cache <type>", "storage of keys and values").choices(["f32", "f16"]).default("f32"))
    .option("--json", "print one JSON object a line");
  withStorage(command).action(run);
}

async function run(f: Flags): Promise<void> {
  if (f.text.length + f.picture.length === 0) throw new WorldlineError("score needs at least one continuation: --text or --picture");
  const images = await Promise.all(f.image.map((path) => readPicture(path)));
  const targets = await Promise.all(f.picture.map((path) => readPicture(path)));
  const folder = await folderOf(f.model);
  const device = await openDevice();
  const model = await loadModel(device, folder, storageOptions(f));
  const { vocab, tokenizer, config } = model;
  const asked = await promptIds(model, f.prompt, images, { plain: f.plain });
  if (asked.length < 2) throw new WorldlineError("score: the prompt is empty; give a --prompt or an --image");
  const all = (ids: Uint32Array): Scored => ({ ids, weights: new Float32Array(ids.length).fill(1) });
  const words = f.text.map((text) => all(Uint32Array.from([...tokenizer.ids(text), ...(f.eos ? [vocab.eos] : [])])));
  const empty = words.findIndex((c) => c.ids.length === 0);
  if (empty >= 0) throw new WorldlineError(`score: continuation ${empty + 1} is empty; give words, or --eos to count the end alone`);
  const encoded = await model.pictures.encode(targets);
  // The begin mark says that a picture comes; like the end mark it is part of the sequence but not counted.
  const pictures = encoded.map(({ codes }): Scored => {
    const ids = Uint32Array.from([vocab.boi, ...codesToIds(vocab, codes)]);
    return { ids, weights: Float32Array.from(ids, (_, i) => (i ? 1 : 0)) };
  });
  const candidates = [...words, ...pictures];
  const longest = Math.max(...candidates.map((c) => c.ids.length));
  if (asked.length + longest > config.maxPositions && !config.ropeScaling)
    throw new WorldlineError(
      `the prompt has ${asked.length} tokens and a continuation ${longest}, more than the model's ${config.maxPositions} positions; shorten one`,
    );
  const scored = Math.max(...candidates.map((c) => c.weights.filter((w) => w).length));
  const shape = { prompts: 1, branches: candidates.length, prefixTokens: asked.length, tokens: longest, scored, cache: f.cache };
  const scorer = await Scorer.make(device, model.lm, shape);
  const [scores] = await scorer.run([{ prefix: asked, candidates }]);
  scorer.destroy();
  const named = [...f.text.map((text) => ({ text })), ...f.picture.map((picture) => ({ picture }))];
  for (const [i, s] of scores.entries()) {
    if (f.json) console.log(JSON.stringify({ ...named[i], sum: s.sum, mean: s.mean, tokens: s.tokens }));
    else
      console.log(
        `${s.sum.toFixed(4).padStart(12)} sum ${s.mean.toFixed(4).padStart(10)} mean ${String(s.tokens).padStart(6)} tokens  ${Object.values(named[i])[0]}`,
      );
  }
}
