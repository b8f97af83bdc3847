// Names in a Chameleon vocabulary: special tokens, and one name per picture code (digits written as the letters A to J).

import { WorldlineError } from "../engine/errors.ts";
import { fieldsOf } from "./fields.ts";
import { isObject, quote } from "./source.ts";

/** Names of special tokens in a Chameleon vocabulary. */
export const specialNames = {
  bos: "<s>",
  pad: "<pad>",
  eos: "</s>",
  unk: "<unk>",
  eoi: "<eoss>",
  boi: "<racm3:break>",
  sep: "<reserved08706>",
  image: "<image>",
  imageBefore: "<reserved08707>",
} as const;

/**
 * Picture code -> vocabulary id, by name: code 15 is `IMGIMGBFZ` (digits written as A ... J, then Z). Empty where no name starts with IMGIMG.
 * Throws where a code is missing or named twice.
 */
export function imageTokenTable(vocabularyMap: Record<string, number>): Uint32Array {
  const ids = new Map<number, number>();
  for (const [name, id] of Object.entries(vocabularyMap)) {
    if (!name.startsWith("IMGIMG")) continue;
    const code = imageCode(name);
    if (code === null)
      throw new WorldlineError(
        `the vocabulary name ${quote(name)} starts with IMGIMG but is no picture code; letters A to J and then Z are needed`,
      );
    if (ids.has(code)) throw new WorldlineError(`the vocabulary names picture code ${code} twice; every code needs one name`);
    ids.set(code, id);
  }
  const table = new Uint32Array(ids.size);
  for (let code = 0; code < table.length; code++) {
    const id = ids.get(code);
    if (id === undefined)
      throw new WorldlineError(
        `the vocabulary names ${ids.size} picture codes but not code ${code} (${imageTokenName(code)}); codes must run from 0 without gaps`,
      );
    table[code] = id;
  }
  return table;
}

/** The code that a vocabulary name stands for, or null where the name is no picture code's. */
export function imageCode(name: string): number | null {
  const letters = /^IMGIMG([A-J]{1,9})Z$/.exec(name)?.[1];
  return letters === undefined ? null : Number([...letters].map((letter) => letter.charCodeAt(0) - 65).join(""));
}

/** The vocabulary name of a picture code. */
export function imageTokenName(code: number): string {
  return `IMGIMG${[...String(code)].map((digit) => String.fromCharCode(65 + Number(digit))).join("")}Z`;
}

/** The vocabulary of a tokenizer.json (model.vocab and added tokens), for files whose config.json has no vocabulary_map. */
export function vocabularyFromTokenizer(tokenizer: Record<string, unknown>, where = "tokenizer.json"): Record<string, number> {
  const model = fieldsOf(tokenizer, where).object("model");
  const vocab = model && fieldsOf(model, `${where}: model`).object("vocab");
  if (!vocab) throw new WorldlineError(`${where}: model.vocab is missing; is this the right file?`);
  const added = Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens.filter(isObject).map((t) => [t.content, t.id]) : [];
  const entries = [...Object.entries(vocab), ...added];
  for (const [name, id] of entries) {
    if (typeof name !== "string" || !Number.isSafeInteger(id))
      throw new WorldlineError(`${where}: ${quote(name)} has the id ${quote(id)}; a name and a whole number are needed`);
  }
  return Object.fromEntries(entries) as Record<string, number>;
}

/**
 * Throws where a tokenizer's vocabulary (`names`) and a model's do not belong together: an id beyond the model's vocabulary, or a name that
 * both know under different ids.
 */
export function checkVocabulary(
  model: { readonly vocabSize: number; readonly vocabularyMap?: Record<string, number> },
  names: Record<string, number>,
  where = "tokenizer.json",
): void {
  const map = model.vocabularyMap ?? {};
  for (const [name, id] of Object.entries(names)) {
    if (id >= model.vocabSize)
      throw new WorldlineError(
        `${where}: ${quote(name)} has the id ${id}, the model's vocabulary ends at ${model.vocabSize - 1}; tokenizer and model do not belong together`,
      );
    if (map !== names && Object.hasOwn(map, name) && map[name] !== id)
      throw new WorldlineError(
        `${where}: ${quote(name)} has the id ${id}, but ${map[name]} in config.json's vocabulary_map; tokenizer and model do not belong together`,
      );
  }
}
