// One id space for text and pictures: which ids are picture codes, which are marks, and masks of the ids that may come next.

import { WorldlineError } from "../engine/errors.ts";
import { type ChameleonConfig, imageTokenTable } from "../weights/names.ts";

/** Ids by meaning. Picture code c has the id `imageIds[c]`; `codes[id]` is the code of an id, or -1. */
export interface Vocab {
  readonly size: number;
  readonly bos: number;
  readonly eos: number;
  readonly pad: number;
  /** Begin of image. */
  readonly boi: number;
  /** End of image. */
  readonly eoi: number;
  /** Placeholder for one picture code in a prompt. */
  readonly image: number;
  /** End of turn; null where the vocabulary has none. */
  readonly sep: number | null;
  readonly imageIds: Uint32Array;
  readonly codes: Int32Array;
  /** 1 for every id that has a name. */
  readonly named: Uint8Array;
}

/** What may be generated next: picture codes only; text (no picture code, no begin or end of image); everything. */
export type AllowedMode = "image" | "text" | "all";

/** The id space of a model. `names` (name -> id) is needed where config.json has no vocabulary_map: a tokenizer's vocabulary. */
export function vocabOf(config: ChameleonConfig, names: Record<string, number> | undefined = config.vocabularyMap): Vocab {
  if (!names)
    throw new WorldlineError(
      "the config has no vocabulary_map and no tokenizer's vocabulary was given; picture codes are found by name, pass one of the two",
    );
  const imageIds = imageTokenTable(names);
  const codes = new Int32Array(config.vocabSize).fill(-1);
  const named = new Uint8Array(config.vocabSize);
  for (const id of Object.values(names)) if (id < config.vocabSize) named[id] = 1;
  imageIds.forEach((id, code) => {
    if (id >= config.vocabSize)
      throw new WorldlineError(
        `picture code ${code} has id ${id}, outside the model's vocabulary of ${config.vocabSize}; do model and tokenizer belong together?`,
      );
    codes[id] = code;
  });
  const { bosId: bos, eosId: eos, padId: pad, boiId: boi, eoiId: eoi, imageTokenId: image, sepId } = config;
  return { size: config.vocabSize, bos, eos, pad, boi, eoi, image, sep: sepId ?? null, imageIds, codes, named };
}

/** Picture codes -> ids. Throws for a number that is no code. */
export function codesToIds(vocab: Vocab, codes: ArrayLike<number>): Uint32Array {
  return Uint32Array.from(codes, (code) => {
    const id = vocab.imageIds[code];
    if (id === undefined) throw new WorldlineError(`${code} is no picture code; codes run from 0 to ${vocab.imageIds.length - 1}`);
    return id;
  });
}

/** Ids -> picture codes. Throws for an id that is no picture code's. */
export function idsToCodes(vocab: Vocab, ids: ArrayLike<number>): Uint32Array {
  return Uint32Array.from(ids, (id) => {
    const code = vocab.codes[id] ?? -1;
    if (code < 0) throw new WorldlineError(`the id ${id} is no picture code; only ids between begin and end of a picture are codes`);
    return code;
  });
}

/** 1 for every id that `mode` allows, 0 for the others. Ids without a name are never allowed in text. */
export function allowedIds(vocab: Vocab, mode: AllowedMode): Uint8Array {
  if (mode === "all") return new Uint8Array(vocab.size).fill(1);
  if (mode === "image") return Uint8Array.from(vocab.codes, (code) => (code >= 0 ? 1 : 0));
  const allowed = Uint8Array.from(vocab.codes, (code, id) => (code < 0 ? vocab.named[id] : 0));
  allowed[vocab.boi] = allowed[vocab.eoi] = 0;
  return allowed;
}
