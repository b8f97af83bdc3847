// Byte pairs or word pieces as a Hugging Face tokenizer.json states them: text -> ids and back, with the Rust library's results. Added tokens are taken
// out first (added.ts), the rest is normalised (normalize.ts), cut into pieces (pieces.ts) and turned into ids (bpe.ts, wordpiece.ts); decoder.ts
// leads back. Padding and truncation in the file are not applied. What is not known is refused with a sentence.

import { WorldlineError } from "../engine/errors.ts";
import { isObject, parseJsonObject, quote } from "../weights/source.ts";
import { type AddedToken, addedTokenFinder, parseAddedTokens, type Run } from "./added.ts";
import { checkIds, type PieceModel, parseBpe } from "./bpe.ts";
import { tokenBytes } from "./bytes.ts";
import { type Decoder, isByteLevel, parseDecoder } from "./decoder.ts";
import { type Normalize, parseNormalizer } from "./normalize.ts";
import { type Cut, parsePreTokenizer } from "./pieces.ts";
import { parseWordPiece } from "./wordpiece.ts";

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
  const { cut, byteLevel } = parsePreTokenizer(json.pre_tokenizer, `${where}: pre_tokenizer`);
  const wordPiece = isObject(json.model) && json.model.type === "WordPiece";
  const model = wordPiece ? parseWordPiece(json.model, where) : parseBpe(json.model, byteLevel, where);
  const added = parseAddedTokens(json.added_tokens, where);
  const vocabulary = withAdded(model.vocabulary, added, where);
  const names: string[] = [];
  for (const [name, id] of vocabulary) {
    if (names[id] !== undefined)
      throw new WorldlineError(`${where}: ${quote(names[id])} and ${quote(name)} have the same id ${id}; ids must differ`);
    names[id] = name;
  }
  return build({
    vocabulary,
    names,
    added,
    model,
    cut,
    normalize: parseNormalizer(json.normalizer, where),
    decoder: parseDecoder(json.decoder, where),
    joinsBytes: isByteLevel(json.decoder),
    template: templateOf(json.post_processor, vocabulary, where),
  });
}

interface Parts {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly names: readonly string[];
  readonly added: readonly AddedToken[];
  readonly model: PieceModel;
  readonly cut: Cut;
  readonly normalize: Normalize;
  readonly decoder: Decoder;
  /** Decoding is nothing but joining the tokens' bytes. */
  readonly joinsBytes: boolean;
  readonly template: Template;
}

function build(p: Parts): Tokenizer {
  const special = new Set(p.added.filter((t) => t.special).map((t) => t.id));
  const nameOf = (id: number) => {
    const name = p.names[id];
    if (name !== undefined) return name;
    throw new WorldlineError(`the id ${id} has no token in this vocabulary of ${p.names.length}; do model and tokenizer belong together?`);
  };
  const bytes: Uint8Array[] = [];
  const utf8 = new TextDecoder("utf-8", { ignoreBOM: true });
  return {
    size: p.names.length,
    vocabulary: p.vocabulary,
    ids: encoder(p),
    decode: (ids, { skipSpecial = false } = {}) => {
      const all = Array.from(ids, (id) => (skipSpecial && special.has(id) ? null : nameOf(id)));
      if (p.joinsBytes)
        return utf8.decode(joined(Array.from(ids, (id, i) => (all[i] === null ? empty : (bytes[id] ??= bytesOf(p.names[id]))))));
      const decoder = p.decoder();
      return all.map((name) => (name === null ? "" : decoder.push(name))).join("") + decoder.end();
    },
    stream: ({ skipSpecial = false } = {}) => {
      const decoder = p.decoder();
      return {
        push: (id) => (nameOf(id) !== undefined && skipSpecial && special.has(id) ? "" : decoder.push(p.names[id])),
        end: () => decoder.end(),
      };
    },
    id: (token) => p.vocabulary.get(token),
    token: (id) => p.names[id],
    isSpecial: (id) => special.has(id),
  };
}

/** Text -> ids: added tokens of the text as given, then those of the normalised text, then pieces. */
function encoder({ added, normalize, cut, model, template }: Parts): Tokenizer["ids"] {
  const raw = addedTokenFinder(added.filter((t) => !t.normalized));
  const normal = addedTokenFinder(
    added.filter((t) => t.normalized),
    (t) => normalize(t.content),
  );
  return (text, { addBos = false, specialTokens = true } = {}) => {
    const ids = addBos ? [...template.before] : [];
    const runs: Run[] = specialTokens ? raw(text) : [text];
    runs.forEach((run, i) => {
      const parts: Run[] = typeof run === "number" ? [run] : specialTokens ? normal(normalize(run)) : [normalize(run)];
      parts.forEach((part, j) => {
        if (typeof part === "number") ids.push(part);
        else for (const piece of cut(part, i === 0 && j === 0)) model.encode(piece, ids);
      });
    });
    if (addBos) ids.push(...template.after);
    return ids;
  };
}

const empty = new Uint8Array(0);
const bytesOf = (name: string): Uint8Array => tokenBytes(name) ?? new TextEncoder().encode(name);

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.byteLength;
  }
  return all;
}

/** The model's vocabulary and the added tokens. */
function withAdded(model: ReadonlyMap<string, number>, added: readonly AddedToken[], where: string): ReadonlyMap<string, number> {
  const vocabulary = new Map(model);
  for (const { content, id } of added) {
    const known = vocabulary.get(content);
    if (known !== undefined && known !== id)
      throw new WorldlineError(`${where}: ${quote(content)} has id ${known} in model.vocab and ${id} in added_tokens; they must agree`);
    vocabulary.set(content, id);
  }
  checkIds(vocabulary, where);
  return vocabulary;
}

/** Ids around a single text. */
interface Template {
  readonly before: number[];
  readonly after: number[];
}

/** Ids that the post_processor puts before and after a single text; without one that does, `<s>` in front. */
function templateOf(json: unknown, vocabulary: ReadonlyMap<string, number>, where: string): Template {
  const list = isObject(json) && json.type === "Sequence" && Array.isArray(json.processors) ? (json.processors as unknown[]) : [json];
  const working = list.filter((step) => step !== null && step !== undefined && !(isObject(step) && step.type === "ByteLevel"));
  const bos = vocabulary.get("<s>");
  if (working.length === 0) return { before: bos === undefined ? [] : [bos], after: [] };
  const refuse = () =>
    new WorldlineError(
      `${where}: the post_processor ${quote(json)} is not supported; BertProcessing, RobertaProcessing and a TemplateProcessing of special tokens around one text are`,
    );
  const [step] = working;
  if (working.length === 1 && isObject(step) && (step.type === "BertProcessing" || step.type === "RobertaProcessing"))
    return { before: [pairId(step.cls, refuse)], after: [pairId(step.sep, refuse)] };
  if (working.length > 1 || !isObject(step) || step.type !== "TemplateProcessing" || !Array.isArray(step.single)) throw refuse();
  const template: Template = { before: [], after: [] };
  let seen = 0;
  for (const part of step.single as unknown[]) {
    if (!isObject(part)) throw refuse();
    if (isObject(part.Sequence)) seen++;
    else template[seen === 0 ? "before" : "after"].push(...templateIds(part.SpecialToken, step.special_tokens, vocabulary, refuse));
  }
  if (seen !== 1) throw refuse();
  return template;
}

/** The id of a [name, id]. */
function pairId(pair: unknown, refuse: () => WorldlineError): number {
  const id: unknown = Array.isArray(pair) && pair.length === 2 ? pair[1] : undefined;
  if (!Number.isSafeInteger(id) || (id as number) < 0) throw refuse();
  return id as number;
}

function templateIds(token: unknown, specials: unknown, vocabulary: ReadonlyMap<string, number>, refuse: () => WorldlineError): number[] {
  if (!isObject(token) || typeof token.id !== "string") throw refuse();
  const entry = isObject(specials) ? specials[token.id] : undefined;
  const ids = isObject(entry) ? entry.ids : [vocabulary.get(token.id)];
  if (!Array.isArray(ids) || !ids.every((id) => Number.isSafeInteger(id) && id >= 0)) throw refuse();
  return ids;
}
