// worldline dtypes: what storing the matrices as f16, bf16, int8 or int4 does to a model's answers.
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { parseConfig } from "../weights/names.ts";
import { defaultGroupSize } from "../weights/stored.ts";
import { compareTypes, type Questions, randomQuestions, type TypeReport } from "../world/dtypes.ts";
import { loadModel } from "../world/model.ts";
import { readPicture } from "../world/pictures.ts";
import { folderOf } from "./shared.ts";
import { count, interruption, status } from "./terminal.ts";

interface Flags {
  text?: string;
  image?: string[];
  groupSize: number;
  seed: number;
  json?: true;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("dtypes")
    .argument("<model>", "a folder or a hub id")
    .description("logit error, perplexity and picture-code agreement of every storage type against f32")
    .option("--text <file>", "text for the perplexity, one sequence a line (default: seeded random ids)")
    .option("--image <files...>", "pictures whose codes are predicted (default: seeded random codes)")
    .option("--group-size <n>", "values that share a scale in int8 and int4", count(8, 65536), defaultGroupSize)
    .option("--seed <n>", "seed of the random sequences", count(0, 2 ** 31), 0)
    .option("--json", "print one JSON object a type")
    .action(run);
}

async function run(name: string, f: Flags): Promise<void> {
  const folder = await folderOf(name, interruption());
  const device = await openDevice();
  const checkpoint = await openCheckpoint(folder);
  const model = f.text || f.image || !checkpoint.config.vocabulary_map ? await loadModel(device, folder) : undefined;
  const config = model?.config ?? parseConfig(checkpoint.config, `${folder}/config.json`);
  await checkpoint.close();
  const names = config.vocabularyMap ?? (model && Object.fromEntries(model.tokenizer.vocabulary));
  const random = randomQuestions(config, f.seed, names);
  const asked: Questions = {
    texts: f.text ? await lines(f.text, (text) => [config.bosId, ...model!.tokenizer.ids(text)]) : random.texts,
    pictures: f.image
      ? (await model!.pictures.encode(await Promise.all(f.image.map(readPicture)))).map((e) =>
          Uint32Array.from([config.bosId, config.boiId, ...Array.from(e.codes, (c) => model!.vocab.imageIds[c]), config.eoiId]),
        )
      : random.pictures,
  };
  const results = await compareTypes(device, folder, asked, { ...f, names, onProgress: (dtype) => status(`${name}: ${dtype}`) });
  if (f.json) for (const r of results) console.log(JSON.stringify(r));
  else console.log(table(results).join("\n"));
}

async function lines(path: string, ids: (text: string) => number[]): Promise<Uint32Array[]> {
  const text = await readFile(path, "utf8").catch(() => {
    throw new WorldlineError(`${path}: there is no such file or it cannot be read; check the path`);
  });
  const all = text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean)
    .map((line) => Uint32Array.from(ids(line)));
  if (all.length === 0) throw new WorldlineError(`${path}: the file has no text; a line or more is needed`);
  return all;
}

function table(results: readonly TypeReport[]): string[] {
  const head = "type                  weights    logit difference: largest, rms    of their size    perplexity    same picture code";
  const rows = results.map((r) =>
    [
      (r.dtype.startsWith("int") ? `${r.dtype}, groups of ${r.groupSize}` : r.dtype).padEnd(20),
      `${(r.bytes / 2 ** 20).toFixed(2)} MiB`.padStart(10),
      r.largest.toExponential(2).padStart(26),
      r.rms.toExponential(2).padStart(11),
      `${((100 * r.rms) / r.size).toFixed(3)}%`.padStart(12),
      r.perplexity.toFixed(4).padStart(14),
      `${(100 * r.agreement).toFixed(1)}%`.padStart(15),
    ].join(" "),
  );
  return [head, ...rows];
}
