// Trains a small byte-level BPE vocabulary on given sentences, in Chameleon's layout: <s> <pad> </s> <unk>, one name per picture code (id = 4 +
// code), end and begin of image, end of turn, <image>, 256 bytes, merges. The most frequent pair of neighbours is merged, again and again.

import { WorldlineError } from "../engine/errors.ts";
import { imageTokenName, specialNames } from "../weights/names.ts";
import { byteCharacters, byteOrder } from "./bytes.ts";
import { parsePreTokenizer } from "./pieces.ts";

export interface TrainBpeOptions {
  /** Picture codes to name; 0 for a text-only vocabulary. */
  readonly codes: number;
  /** Merges wanted; fewer result where the texts hold no more pairs. */
  readonly merges: number;
  /** A pair must occur this often to be merged. Default 2. */
  readonly minCount?: number;
}

/** The pre_tokenizer of Chameleon's tokenizer.json. */
export const chameleonPreTokenizer = {
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: "<sentinel:[0-9]+>" }, behavior: "Isolated", invert: false },
    { type: "Split", pattern: { Regex: "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z" }, behavior: "Isolated", invert: false },
    { type: "Split", pattern: { Regex: "([\\t\\n]|    |  )" }, behavior: "Isolated", invert: false },
    { type: "Digits", individual_digits: true },
    { type: "Punctuation", behavior: "Isolated" },
    { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
  ],
};

/** A tokenizer.json object trained on `texts`. The same texts and options give the same file. Throws for numbers that make no sense. */
export function trainBpe(texts: Iterable<string>, { codes, merges, minCount = 2 }: TrainBpeOptions): Record<string, unknown> {
  for (const [name, value, least] of [
    ["codes", codes, 0],
    ["merges", merges, 0],
    ["minCount", minCount, 1],
  ] as const) {
    if (!Number.isSafeInteger(value) || value < least || value > 2 ** 20)
      throw new WorldlineError(`${name} is ${value}; a whole number from ${least} to 2^20 is needed`);
  }
  const { bos, pad, eos, unk, eoi, boi, sep, image } = specialNames;
  const special = [bos, pad, eos, unk, ...Array.from({ length: codes }, (_, code) => imageTokenName(code)), eoi, boi, sep, image];
  const bytes = byteOrder.map((byte) => byteCharacters[byte]);
  const learned = learnMerges(countPieces(texts), merges, minCount);
  // One token can come out of two merges; it has one id.
  const names = [...new Set([...special, ...bytes, ...learned.map(([left, right]) => left + right)])];
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: chameleonPreTokenizer,
    post_processor: bosTemplate(bos),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(names.map((name, id) => [name, id])),
      merges: learned.map((pair) => pair.join(" ")),
    },
  };
}

function bosTemplate(bos: string): Record<string, unknown> {
  const mark = (type: number) => ({ SpecialToken: { id: bos, type_id: type } });
  const text = (id: string, type: number) => ({ Sequence: { id, type_id: type } });
  return {
    type: "TemplateProcessing",
    single: [mark(0), text("A", 0)],
    pair: [mark(0), text("A", 0), mark(1), text("B", 1)],
    special_tokens: { [bos]: { id: bos, ids: [0], tokens: [bos] } },
  };
}

interface Word {
  symbols: string[];
  readonly count: number;
}

function countPieces(texts: Iterable<string>): Word[] {
  const { cut } = parsePreTokenizer(chameleonPreTokenizer, "pre_tokenizer");
  const counts = new Map<string, number>();
  for (const text of texts) for (const piece of cut(text)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  const encoder = new TextEncoder();
  return [...counts].map(([piece, count]) => ({ symbols: Array.from(encoder.encode(piece), (byte) => byteCharacters[byte]), count }));
}

/** The merges in order. Equal counts go to the pair that sorts first, so the result depends on nothing but the counts. */
function learnMerges(words: Word[], limit: number, minCount: number): [string, string][] {
  const counts = new Map<string, number>();
  const places = new Map<string, Set<Word>>();
  const tally = (word: Word, sign: 1 | -1) => {
    for (let i = 0; i + 1 < word.symbols.length; i++) {
      const pair = `${word.symbols[i]} ${word.symbols[i + 1]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + sign * word.count);
      if (sign === 1) places.set(pair, (places.get(pair) ?? new Set()).add(word));
    }
  };
  for (const word of words) tally(word, 1);
  const merges: [string, string][] = [];
  while (merges.length < limit) {
    const best = mostFrequent(counts, minCount);
    if (best === null) break;
    const [left, right] = best.split(" ") as [string, string];
    merges.push([left, right]);
    for (const word of places.get(best) ?? []) {
      tally(word, -1);
      word.symbols = mergeSymbols(word.symbols, left, right);
      tally(word, 1);
    }
    counts.delete(best);
    places.delete(best);
  }
  return merges;
}

function mostFrequent(counts: Map<string, number>, minCount: number): string | null {
  let best: string | null = null;
  let most = minCount;
  for (const [pair, count] of counts) {
    if (count > most || (count === most && (best === null || pair < best))) {
      best = pair;
      most = count;
    }
  }
  return best;
}

function mergeSymbols(symbols: string[], left: string, right: string): string[] {
  const out: string[] = [];
  for (let i = 0; i < symbols.length; i++) {
    if (symbols[i] === left && symbols[i + 1] === right) {
      out.push(left + right);
      i++;
    } else out.push(symbols[i]);
  }
  return out;
}
