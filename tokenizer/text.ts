// Byte-level byte-pair encoding as a Hugging Face tokenizer.json states it: text -> ids and back, with the Rust library's results.
// Added tokens first, then the pre-tokenizer's pieces, then merges of UTF-8 bytes (pieces.ts, merge.ts). Padding and truncation in the file are
// not applied. What the file asks for beyond that is refused with a sentence.

import { WorldlineError } from "../engine/errors.ts";
import { fieldsOf } from "../weights/fields.ts";
import { isObject, parseJsonObject, quote } from "../weights/source.ts";
import { byteCharacters, tokenBytes } from "./bytes.ts";
import { Merges, mergePiece } from "./merge.ts";
import { addedTokenFinder, type Cut, parsePreTokenizer, type Run } from "./pieces.ts";

/** How a text is turned into ids. */
export interface EncodeOptions {
  /** Puts the ids of the file's post_processor around the text (`<s>` in front); where it has none, `<s>`. Default false. */
  readonly addBos?: boolean;
  /** false: names of added tokens in the text are plain text, so that data cannot smuggle in marks. Default true. */
  readonly specialTokens?: boolean;
}

export interface Tokenizer {
  /** One more than the largest id. */
  readonly size: number;
  /** Name -> id of every token. */
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Text -> ids. */
  ids(text: string, options?: EncodeOptions): number[];
  /** Ids -> text; what is not valid UTF-8 becomes U+FFFD. Throws for an id that has no token. */
  decode(ids: ArrayLike<number>, options?: { skipSpecial?: boolean }): string;
  /** Ids -> text piece by piece; never gives half a character. */
  stream(options?: { skipSpecial?: boolean }): TextStream;
  /** The id of a token by name; undefined where there is none. */
  id(token: string): number | undefined;
  /** The name of a token; undefined where the id has none. */
  token(id: number): string | undefined;
  isSpecial(id: number): boolean;
}

/** Text out of ids that come one at a time. All `push` results and `end` joined are what `decode` gives. */
export interface TextStream {
  push(id: number): string;
  end(): string;
}

/** Reads a tokenizer.json (text, or the parsed object). Throws a WorldlineError for damaged files and unsupported features. */
export function parseTokenizer(file: string | Record<string, unknown>, where = "tokenizer.json"): Tokenizer {
  const json = typeof file === "string" ? parseJsonObject(file, where) : file;
  refuseUnsupported(json, where);
  const model = fieldsOf(json, where).object("model") as Record<string, unknown>;
  const added = addedTokens(json.added_tokens, where);
  const vocabulary = vocabularyOf(model, added, where);
  const byteIds = byteCharacters.map((character, byte) => {
    const id = vocabulary.get(character);
    if (id === undefined)
      throw new WorldlineError(
        `${where}: the vocabulary has no token for byte ${byte} (${quote(character)}); a byte-level vocabulary needs all 256`,
      );
    return id;
  });
  const names: string[] = [];
  for (const [name, id] of vocabulary) {
    if (names[id] !== undefined)
      throw new WorldlineError(`${where}: ${quote(names[id])} and ${quote(name)} have the same id ${id}; ids must differ`);
    names[id] = name;
  }
  const merges = mergesOf(model.merges, vocabulary, names.length, where);
  const template = templateOf(json.post_processor, vocabulary, where);
  return build({
    vocabulary,
    names,
    added,
    byteIds,
    merges,
    template,
    cut: parsePreTokenizer(json.pre_tokenizer, `${where}: pre_tokenizer`),
  });
}

interface Parts {
  readonly vocabulary: Map<string, number>;
  readonly names: readonly string[];
  readonly added: readonly AddedToken[];
  readonly byteIds: readonly number[];
  readonly merges: Merges;
  readonly template: { readonly before: number[]; readonly after: number[] };
  readonly cut: Cut;
}

function build(p: Parts): Tokenizer {
  const special = new Set(p.added.filter((t) => t.special).map((t) => t.id));
  const addedIds = new Set(p.added.map((t) => t.id));
  const encodePlain = plainEncoder(p);
  const finders = [false, true].map((normalized) =>
    addedTokenFinder(new Map(p.added.filter((t) => t.normalized === normalized).map((t) => [t.content, t.id]))),
  );
  const bytes = p.names.map((name, id) => (addedIds.has(id) ? null : tokenBytes(name)) ?? new TextEncoder().encode(name));
  const bytesOf = (id: number, skipSpecial: boolean) => {
    const found = bytes[id];
    if (found === undefined)
      throw new WorldlineError(
        `the id ${id} has no token in this vocabulary of ${p.names.length}; do model and tokenizer belong together?`,
      );
    return skipSpecial && special.has(id) ? empty : found;
  };
  return {
    size: p.names.length,
    vocabulary: p.vocabulary,
    ids: (text, { addBos = false, specialTokens = true } = {}) => {
      const ids = addBos ? [...p.template.before] : [];
      let runs: Run[] = [text];
      if (specialTokens) for (const find of finders) runs = runs.flatMap((run) => (typeof run === "string" ? find(run) : run));
      for (const run of runs) {
        if (typeof run === "number") ids.push(run);
        else encodePlain(run, ids);
      }
      if (addBos) ids.push(...p.template.after);
      return ids;
    },
    decode: (ids, { skipSpecial = false } = {}) =>
      new TextDecoder("utf-8", { ignoreBOM: true }).decode(joined(Array.from(ids, (id) => bytesOf(id, skipSpecial)))),
    stream: ({ skipSpecial = false } = {}) => {
      const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
      return { push: (id) => decoder.decode(bytesOf(id, skipSpecial), { stream: true }), end: () => decoder.decode() };
    },
    id: (token) => p.vocabulary.get(token),
    token: (id) => p.names[id],
    isSpecial: (id) => special.has(id),
  };
}

const empty = new Uint8Array(0);
const cachedPieces = 65536;
const longestCached = 64;

/** Appends the ids of text without added tokens; remembers the ids of short pieces. */
function plainEncoder({ cut, byteIds, merges }: Parts): (text: string, ids: number[]) => void {
  const encoder = new TextEncoder();
  const cache = new Map<string, readonly number[]>();
  const merged = (piece: string) =>
    mergePiece(
      Array.from(encoder.encode(piece), (byte) => byteIds[byte]),
      merges,
    );
  return (text, ids) => {
    for (const piece of cut(text)) {
      let found = cache.get(piece);
      if (!found) {
        found = merged(piece);
        if (cache.size >= cachedPieces) cache.clear();
        if (piece.length <= longestCached) cache.set(piece, found);
      }
      for (const id of found) ids.push(id);
    }
  };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}

function refuseUnsupported(json: Record<string, unknown>, where: string): void {
  const refuse = (what: string) => new WorldlineError(`${where}: ${what}; Chameleon's byte-level tokenizers are read here`);
  const model = json.model;
  if (!isObject(model)) throw refuse("model is missing");
  if ((model.type ?? "BPE") !== "BPE") throw refuse(`model.type ${quote(model.type)} is not supported`);
  for (const name of [
    "dropout",
    "unk_token",
    "continuing_subword_prefix",
    "end_of_word_suffix",
    "fuse_unk",
    "byte_fallback",
    "ignore_merges",
  ]) {
    if (![null, undefined, false, "", 0].includes(model[name] as never))
      throw refuse(`model.${name} ${quote(model[name])} is not supported`);
  }
  if (json.normalizer !== null && json.normalizer !== undefined) throw refuse(`the normalizer ${quote(json.normalizer)} is not supported`);
  const decoder = json.decoder;
  if (!isObject(decoder) || decoder.type !== "ByteLevel") throw refuse(`the decoder ${quote(decoder)} is not supported`);
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly normalized: boolean;
}

function addedTokens(list: unknown, where: string): AddedToken[] {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw new WorldlineError(`${where}: added_tokens is ${quote(list)}; a list is needed`);
  return list.map((entry: unknown, i) => {
    const f = fieldsOf(isObject(entry) ? entry : {}, `${where}: added_tokens[${i}]`);
    const id = f.id("id");
    const content = f.text("content");
    if (id === null || content === "")
      throw new WorldlineError(`${where}: added_tokens[${i}] needs an id and a content, it is ${quote(entry)}`);
    for (const name of ["lstrip", "rstrip", "single_word"]) if (f.flag(name, false)) throw f.refuse(name, "false");
    return { id, content, special: f.flag("special", false), normalized: f.flag("normalized", false) };
  });
}

function vocabularyOf(model: Record<string, unknown>, added: readonly AddedToken[], where: string): Map<string, number> {
  const vocab = fieldsOf(model, `${where}: model`).object("vocab");
  if (!vocab) throw new WorldlineError(`${where}: model.vocab is missing; the file is damaged`);
  const vocabulary = new Map(Object.entries(vocab) as [string, number][]);
  for (const { content, id } of added) {
    const known = vocabulary.get(content);
    if (known !== undefined && known !== id)
      throw new WorldlineError(`${where}: ${quote(content)} has id ${known} in model.vocab and ${id} in added_tokens; they must agree`);
    vocabulary.set(content, id);
  }
  for (const [name, id] of vocabulary) {
    if (!Number.isSafeInteger(id) || id < 0 || id >= 2 ** 24)
      throw new WorldlineError(`${where}: ${quote(name)} has the id ${quote(id)}; a whole number from 0 to 2^24 is needed`);
  }
  return vocabulary;
}

/** Merges in rank order, each "a b" (older files) or ["a", "b"] (newer ones). */
function mergesOf(list: unknown, vocabulary: Map<string, number>, size: number, where: string): Merges {
  if (!Array.isArray(list) || list.length >= 2 ** 21)
    throw new WorldlineError(`${where}: model.merges is no list of up to 2^21 merges; the file is damaged`);
  const merges = new Merges(size);
  list.forEach((entry: unknown, i) => {
    const pair = typeof entry === "string" ? entry.split(" ") : entry;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((part) => typeof part === "string")) {
      throw new WorldlineError(`${where}: model.merges[${i}] is ${quote(entry)}; "a b" or ["a", "b"] is needed`);
    }
    const [left, right, result] = [pair[0], pair[1], pair[0] + pair[1]].map((token: string) => {
      const id = vocabulary.get(token);
      if (id === undefined)
        throw new WorldlineError(`${where}: model.merges[${i}] ${quote(entry)} needs the token ${quote(token)}, which model.vocab lacks`);
      return id;
    });
    if (!merges.add(left, right, result))
      throw new WorldlineError(`${where}: model.merges[${i}] ${quote(entry)} occurs twice; the file is damaged`);
  });
  return merges;
}

/** Ids that the post_processor puts before and after a single text. */
function templateOf(json: unknown, vocabulary: Map<string, number>, where: string): Parts["template"] {
  const bos = vocabulary.get("<s>");
  if (!isObject(json) || json.type === "ByteLevel") return { before: bos === undefined ? [] : [bos], after: [] };
  const single = json.single;
  const refuse = () =>
    new WorldlineError(
      `${where}: the post_processor ${quote(json)} is not supported; a TemplateProcessing of special tokens around one text is`,
    );
  if (json.type !== "TemplateProcessing" || !Array.isArray(single)) throw refuse();
  const template = { before: [] as number[], after: [] as number[] };
  let seen = 0;
  for (const part of single as unknown[]) {
    if (!isObject(part)) throw refuse();
    if (isObject(part.Sequence)) seen++;
    else template[seen === 0 ? "before" : "after"].push(...templateIds(part.SpecialToken, json.special_tokens, vocabulary, refuse));
  }
  if (seen !== 1) throw refuse();
  return template;
}

function templateIds(token: unknown, specials: unknown, vocabulary: Map<string, number>, refuse: () => WorldlineError): number[] {
  if (!isObject(token) || typeof token.id !== "string") throw refuse();
  const entry = isObject(specials) ? specials[token.id] : undefined;
  const ids = isObject(entry) ? entry.ids : [vocabulary.get(token.id)];
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id) && id >= 0)) throw refuse();
  return ids;
}
