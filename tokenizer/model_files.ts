// The small JSON files that stand beside a tokenizer.json in a Chameleon model folder, for a trained vocabulary and a picture size.

import { WorldlineError } from "../engine/errors.ts";
import { specialNames, vocabularyFromTokenizer } from "../weights/names.ts";
import { isObject } from "../weights/source.ts";

export interface ModelFiles {
  /** Fields of ChameleonConfig that the vocabulary decides. */
  readonly configFields: {
    vocabSize: number;
    bosId: number;
    eosId: number;
    padId: number;
    boiId: number;
    eoiId: number;
    imageTokenId: number;
    sepId: number;
    vocabularyMap: Record<string, number>;
  };
  /** File name -> content, ready for saveCheckpoint's `files`. */
  readonly files: Record<string, Record<string, unknown>>;
}

/**
 * Config fields and files for a tokenizer.json object. `size` is the side of the square pictures in pixels, `imageSeqLength` the number of codes
 * per picture. Throws where the vocabulary lacks one of Chameleon's special tokens.
 */
export function modelFiles(
  tokenizer: Record<string, unknown>,
  { size, imageSeqLength }: { size: number; imageSeqLength: number },
): ModelFiles {
  const vocabularyMap = vocabularyFromTokenizer(tokenizer);
  const id = (name: string) => {
    if (!Object.hasOwn(vocabularyMap, name))
      throw new WorldlineError(`the vocabulary has no ${name}; train it with trainBpe or take a Chameleon tokenizer`);
    return vocabularyMap[name];
  };
  for (const [name, value] of Object.entries({ size, imageSeqLength })) {
    if (!Number.isSafeInteger(value) || value < 1) throw new WorldlineError(`${name} is ${value}; a whole number from 1 up is needed`);
  }
  const { bos, eos, pad, boi, eoi, image, sep } = specialNames;
  return {
    configFields: {
      vocabSize: Object.values(vocabularyMap).reduce((most, n) => Math.max(most, n), 0) + 1,
      bosId: id(bos),
      eosId: id(eos),
      padId: id(pad),
      boiId: id(boi),
      eoiId: id(eoi),
      imageTokenId: id(image),
      sepId: id(sep),
      vocabularyMap,
    },
    files: {
      "tokenizer.json": tokenizer,
      "tokenizer_config.json": tokenizerConfig(tokenizer),
      "special_tokens_map.json": specialTokensMap(),
      "processor_config.json": { image_seq_length: imageSeqLength, image_token: image, processor_class: "ChameleonProcessor" },
      "preprocessor_config.json": preprocessorConfig(size),
      "generation_config.json": { _from_model_config: true, bos_token_id: id(bos), eos_token_id: id(eos), pad_token_id: id(pad) },
    },
  };
}

function specialTokensMap(): Record<string, string> {
  const { bos, eos, pad, sep, unk } = specialNames;
  return { bos_token: bos, eos_token: eos, pad_token: pad, sep_token: sep, unk_token: unk };
}

function tokenizerConfig(tokenizer: Record<string, unknown>): Record<string, unknown> {
  const added = Array.isArray(tokenizer.added_tokens) ? tokenizer.added_tokens.filter(isObject) : [];
  return {
    add_bos_token: true,
    add_eos_token: false,
    added_tokens_decoder: Object.fromEntries(added.map(({ id, ...token }) => [String(id), token])),
    ...specialTokensMap(),
    clean_up_tokenization_spaces: false,
    legacy: false,
    model_max_length: 1e30,
    processor_class: "ChameleonProcessor",
    tokenizer_class: "LlamaTokenizer",
    use_default_system_prompt: false,
  };
}

/** preprocessor_config.json for square pictures of `size` pixels, with Chameleon's Lanczos filter and rescaling. */
export function preprocessorConfig(size: number): Record<string, unknown> {
  return {
    crop_size: { height: size, width: size },
    do_center_crop: true,
    do_convert_rgb: true,
    do_normalize: true,
    do_rescale: true,
    do_resize: true,
    image_mean: [1, 1, 1],
    image_processor_type: "ChameleonImageProcessor",
    image_std: [1, 1, 1],
    processor_class: "ChameleonProcessor",
    resample: 1,
    rescale_factor: 0.0078,
    size: { shortest_edge: size },
  };
}
