// The small files of a model folder that several subjects read: vocabulary, tokenizer, and how pictures are prepared.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type PixelConfig, parsePixelConfig } from "../../tokenizer/pixels.ts";
import { parseTokenizer, type Tokenizer } from "../../tokenizer/text.ts";
import { type Vocab, vocabOf } from "../../tokenizer/vocab.ts";
import { parseConfig } from "../../weights/names.ts";
import { parseJsonObject } from "../../weights/source.ts";
import { readSideFiles } from "../../world/model.ts";
import { isFile } from "./answers.ts";

async function object(folder: string, name: string): Promise<Record<string, unknown>> {
  return parseJsonObject(await readFile(join(folder, name), "utf8"), join(folder, name));
}

export async function pixelConfigOf(folder: string): Promise<PixelConfig> {
  const path = join(folder, "preprocessor_config.json");
  const text = (await readSideFiles(folder))["preprocessor_config.json"] ?? (await readFile(path, "utf8"));
  return parsePixelConfig(parseJsonObject(text, path), path);
}

/** The folder's tokenizer, if it has one. */
export async function tokenizerIn(folder: string): Promise<Tokenizer | undefined> {
  const path = join(folder, "tokenizer.json");
  return (await isFile(path)) ? parseTokenizer(await readFile(path, "utf8"), path) : undefined;
}

/** The id space of config.json's vocabulary_map or of the tokenizer; undefined where there is neither. */
export async function vocabIn(folder: string): Promise<Vocab | undefined> {
  const tokenizer = await tokenizerIn(folder);
  const names = tokenizer && Object.fromEntries(tokenizer.vocabulary);
  const config = parseConfig(await object(folder, "config.json"), join(folder, "config.json"), names);
  const known = config.vocabularyMap ?? names;
  return known && vocabOf(config, known);
}
