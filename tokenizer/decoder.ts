// The decoder of a tokenizer.json: names of tokens back to text. Every step is a stream: it takes the text of one token and gives what is certain by
// then, so that decoding token by token gives the same text as decoding all at once, and never half a character.

import { WorldlineError } from "../engine/errors.ts";
import { type Fields, fieldsOf } from "../weights/fields.ts";
import { isObject, quote } from "../weights/source.ts";
import { tokenBytes } from "./bytes.ts";
import { parsePattern } from "./pattern.ts";
import { prependScheme, spaceMark } from "./pieces.ts";

/** One step over the tokens of one text. Texts that come out are tokens for the next step. */
interface Step {
  push(token: string): string[];
  end(): string[];
}

/** Makes the steps for one text. */
export type Decoder = () => { push(token: string): string; end(): string };

/** Reads a decoder. Without one, tokens are joined by spaces, as in the Rust library. Throws a WorldlineError for kinds that are not known. */
export function parseDecoder(json: unknown, where: string): Decoder {
  const makers = json === null || json === undefined ? [spaced] : makersOf(json, where, { fused: false });
  return () => {
    const steps = makers.map((make) => make());
    const through = (texts: string[], from: number) => {
      for (const step of steps.slice(from)) texts = texts.flatMap((t) => step.push(t));
      return texts.join("");
    };
    return {
      push: (token) => through([token], 0),
      end: () => steps.map((step, i) => through(step.end(), i + 1)).join(""),
    };
  };
}

/** True where tokens are nothing but bytes: decoding then is joining them. */
export function isByteLevel(json: unknown): boolean {
  return isObject(json) && json.type === "ByteLevel";
}

type Maker = () => Step;

function makersOf(json: unknown, where: string, state: { fused: boolean }, depth = 0): Maker[] {
  const f = fieldsOf(isObject(json) ? json : {}, `${where}: the decoder ${quote(isObject(json) ? json.type : json)}`);
  switch (isObject(json) ? json.type : null) {
    case "Sequence": {
      const list = (json as Record<string, unknown>).decoders;
      if (!Array.isArray(list) || depth > 8) throw new WorldlineError(`${where}: decoders is ${quote(list)}; a list is needed`);
      return list.flatMap((step) => makersOf(step, where, state, depth + 1));
    }
    case "ByteLevel":
      state.fused = true;
      return [byteLevel];
    case "ByteFallback":
      return [byteFallback];
    case "Fuse":
      state.fused = true;
      return [];
    case "Replace": {
      const pattern = parsePattern((json as Record<string, unknown>).pattern, where);
      const content = f.text("content");
      if (state.fused)
        throw new WorldlineError(`${where}: a Replace after Fuse is not supported in the decoder; it may reach across tokens`);
      return [() => mapping((token) => token.replace(pattern, () => content))];
    }
    case "Strip":
      return [strip(f, state.fused)];
    case "WordPiece":
      return [wordPiece(f)];
    case "Metaspace":
      return [metaspace(f, state.fused)];
    default:
      throw new WorldlineError(
        `${where}: the decoder ${quote(json)} is not supported; ByteLevel, ByteFallback, Replace, Fuse, Strip, WordPiece, Metaspace and Sequence are`,
      );
  }
}

function mapping(change: (token: string) => string): Step {
  return { push: (token) => [change(token)], end: () => [] };
}

/** Tokens with a space between them. */
function spaced(): Step {
  let first = true;
  return mapping((token) => {
    const text = first ? token : ` ${token}`;
    first = false;
    return text;
  });
}

const encoder = new TextEncoder();

function byteLevel(): Step {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return { push: (token) => [decoder.decode(tokenBytes(token) ?? encoder.encode(token), { stream: true })], end: () => [decoder.decode()] };
}

/** Runs of tokens like <0x0A> become text where they are UTF-8 together, else one U+FFFD a byte: nothing is certain before the run ends. */
function byteFallback(): Step {
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length === 0) return [];
    const run = Uint8Array.from(bytes);
    bytes = [];
    try {
      return [new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(run)];
    } catch {
      return Array.from(run, () => "\ufffd");
    }
  };
  return {
    push: (token) => {
      const byte = /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1];
      if (byte === undefined) return [...flush(), token];
      bytes.push(Number.parseInt(byte, 16));
      return [];
    },
    end: flush,
  };
}

/** Takes up to `start` characters off the front and `stop` off the back: of every token, or where they are fused of the whole. */
function strip(f: Fields, fused: boolean): Maker {
  const content = f.text("content");
  if ([...content].length !== 1) throw f.refuse("content", "one character");
  const [start, stop] = [f.has("start") ? (f.id("start") ?? 0) : 0, f.has("stop") ? (f.id("stop") ?? 0) : 0];
  const cut = (text: string, left: number, right: number) => {
    let [begin, end] = [0, text.length];
    for (let n = 0; n < left && text.startsWith(content, begin); n++) begin += content.length;
    for (let n = 0; n < right && end - content.length >= begin && text.endsWith(content, end); n++) end -= content.length;
    return text.slice(begin, end);
  };
  if (!fused) return () => mapping((token) => cut(token, start, stop));
  return () => {
    let left = start;
    let held = "";
    return {
      push: (token) => {
        let text = token;
        for (; left > 0 && text.startsWith(content); left--) text = text.slice(content.length);
        if (text !== "") left = 0;
        // What may still turn out to be the end is held back.
        const all = held + text;
        const certain = cut(all, 0, stop);
        held = all.slice(certain.length);
        return [certain];
      },
      end: () => [cut(held, 0, stop)],
    };
  };
}

function metaspace(f: Fields, fused: boolean): Maker {
  const mark = spaceMark(f);
  const drop = prependScheme(f) !== "never";
  return () => {
    let first = true;
    return mapping((token) => {
      const text = first && drop ? token.replaceAll(mark, "") : token.replaceAll(mark, " ");
      // A fused text is one token, and the first.
      first &&= fused;
      return text;
    });
  };
}

const tidied = [
  ...[" .", " ?", " !", " ,"].map((mark) => [mark, mark[1]]),
  [" ' ", "'"],
  ...[" n't", " 'm"].map((end) => [end, end.slice(1)]),
  [" do not", " don't"],
  ...[" 's", " 've", " 're"].map((end) => [end, end.slice(1)]),
];

/** Tokens with a space before each that does not go on with a word; `cleanup` takes spaces before marks off, token by token. */
function wordPiece(f: Fields): Maker {
  const prefix = f.text("prefix", "##");
  const cleanup = f.flag("cleanup", true);
  return () => {
    let first = true;
    return mapping((token) => {
      const text = first ? token : token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
      first = false;
      return cleanup ? tidied.reduce((t, [from, to]) => t.replaceAll(from, to), text) : text;
    });
  };
}
