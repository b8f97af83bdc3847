// The model of a tokenizer.json: byte-pair encoding of one piece. Symbols are the piece's UTF-8 bytes (byte-level files) or its characters; a character
// that the vocabulary lacks becomes its bytes' tokens (byte_fallback), else the unknown token, else nothing. Where the file has an
// end_of_word_suffix (CLIP's `</w>`), the last symbol of a piece carries it.

import { WorldlineError } from "../engine/errors.ts";
import { fieldsOf } from "../weights/fields.ts";
import { isObject, quote } from "../weights/source.ts";
import { byteCharacters, tokenText } from "./bytes.ts";
import { Merges, mergePiece } from "./merge.ts";

/** What turns pieces into ids: byte pairs here, word pieces in wordpiece.ts. */
export interface PieceModel {
  readonly vocabulary: ReadonlyMap<string, number>;
  /** Appends the ids of one piece. */
  encode(piece: string, ids: number[]): void;
}

interface Parts {
  readonly vocabulary: ReadonlyMap<string, number>;
  readonly merges: Merges;
  /** Ids of the 256 bytes; undefined where the vocabulary lacks one. */
  readonly byteIds: readonly (number | undefined)[] | null;
  /** Ids of <0x00> ... <0xFF>; null without byte_fallback. */
  readonly fallback: readonly (number | undefined)[] | null;
  readonly unknown: number | null;
  readonly fuseUnknown: boolean;
  readonly ignoreMerges: boolean;
  /** Text that the last symbol of a piece has at its end; "" for none. */
  readonly suffix: string;
}

/** Reads model. Throws a WorldlineError for damaged files and for kinds that are not known. */
export function parseBpe(json: unknown, byteLevel: boolean, where: string): PieceModel {
  const refuse = (what: string) => new WorldlineError(`${where}: ${what}; byte-pair (BPE) and WordPiece tokenizers are read here`);
  if (!isObject(json)) throw refuse("model is missing");
  if ((json.type ?? "BPE") !== "BPE") throw refuse(`model.type ${quote(json.type)} is not supported`);
  for (const name of ["dropout", "continuing_subword_prefix"])
    if (![null, undefined, "", 0].includes(json[name] as never)) throw refuse(`model.${name} ${quote(json[name])} is not supported`);
  const f = fieldsOf(json, `${where}: model`);
  const vocab = f.object("vocab");
  if (!vocab) throw new WorldlineError(`${where}: model.vocab is missing; the file is damaged`);
  const vocabulary = new Map(Object.entries(vocab) as [string, number][]);
  checkIds(vocabulary, where);
  const unknown = f.has("unk_token") ? f.text("unk_token") : null;
  if (unknown !== null && !vocabulary.has(unknown))
    throw new WorldlineError(`${where}: model.unk_token is ${quote(unknown)}, which model.vocab lacks; correct the file`);
  const hex = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
  const fallback = f.flag("byte_fallback", false) ? byteCharacters.map((_, byte) => vocabulary.get(hex(byte))) : null;
  const byteIds = byteLevel ? byteCharacters.map((character) => vocabulary.get(character)) : null;
  const lacking = byteIds?.indexOf(undefined) ?? -1;
  if (lacking >= 0 && unknown === null && !fallback)
    throw new WorldlineError(
      `${where}: the vocabulary has no token for byte ${lacking} (${quote(byteCharacters[lacking])}); a byte-level vocabulary needs all 256`,
    );
  const parts: Parts = {
    vocabulary,
    merges: mergesOf(json.merges, vocabulary, where),
    byteIds,
    fallback,
    unknown: unknown === null ? null : (vocabulary.get(unknown) ?? null),
    fuseUnknown: f.flag("fuse_unk", false),
    ignoreMerges: f.flag("ignore_merges", false),
    suffix: f.text("end_of_word_suffix", ""),
  };
  return { vocabulary, encode: cached(encoder(parts)) };
}

/** Throws where an id is no whole number from 0 to 2^24. */
export function checkIds(vocabulary: ReadonlyMap<string, number>, where: string): void {
  for (const [name, id] of vocabulary) {
    if (!Number.isSafeInteger(id) || id < 0 || id >= 2 ** 24)
      throw new WorldlineError(`${where}: ${quote(name)} has the id ${quote(id)}; a whole number from 0 to 2^24 is needed`);
  }
}

const cachedPieces = 65536;
const longestCached = 64;

/** Remembers the ids of short pieces. */
export function cached(encode: (piece: string) => readonly number[]): PieceModel["encode"] {
  const cache = new Map<string, readonly number[]>();
  return (piece, ids) => {
    let found = cache.get(piece);
    if (!found) {
      found = encode(piece);
      if (cache.size >= cachedPieces) cache.clear();
      if (piece.length <= longestCached) cache.set(piece, found);
    }
    for (let i = 0; i < found.length; i++) ids.push(found[i]);
  };
}

function encoder(p: Parts): (piece: string) => readonly number[] {
  const utf8 = new TextEncoder();
  const whole = p.byteIds && p.suffix === "" && !p.byteIds.includes(undefined) ? (p.byteIds as readonly number[]) : null;
  return (piece) => {
    const bytes = p.byteIds ? utf8.encode(piece) : null;
    if (p.ignoreMerges) {
      const id = p.vocabulary.get(bytes ? tokenText(bytes) : piece);
      if (id !== undefined) return [id];
    }
    const symbols = bytes && whole ? Array.from(bytes, (byte) => whole[byte]) : symbolsOf(bytes ? tokenText(bytes) : piece, p, utf8);
    return mergePiece(symbols, p.merges);
  };
}

/** Ids of the characters of a text. An unknown one stands where the next known one comes, as in the Rust library. */
function symbolsOf(text: string, p: Parts, utf8: TextEncoder): number[] {
  const ids: number[] = [];
  let unknown = false;
  let at = 0;
  for (const character of text) {
    at += character.length;
    const symbol = at === text.length ? character + p.suffix : character;
    const id = p.vocabulary.get(symbol);
    if (id !== undefined) {
      if (unknown) ids.push(p.unknown as number);
      unknown = false;
      ids.push(id);
      continue;
    }
    const { fallback } = p;
    const bytes = fallback && Array.from(utf8.encode(symbol), (byte) => fallback[byte]);
    if (bytes && !bytes.includes(undefined)) ids.push(...(bytes as number[]));
    else if (p.unknown !== null) {
      if (unknown && !p.fuseUnknown) ids.push(p.unknown);
      unknown = true;
    }
  }
  if (unknown) ids.push(p.unknown as number);
  return ids;
}

/** Merges in rank order, each "a b" (older files) or ["a", "b"] (newer ones). */
function mergesOf(list: unknown, vocabulary: ReadonlyMap<string, number>, where: string): Merges {
  if (!Array.isArray(list) || list.length >= 2 ** 21)
    throw new WorldlineError(`${where}: model.merges is no list of up to 2^21 merges; the file is damaged`);
  let size = 0;
  for (const id of vocabulary.values()) size = Math.max(size, id + 1);
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
