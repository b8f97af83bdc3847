// Added tokens: names that are found in a text wherever they occur, leftmost, of those the longest, before anything else is cut.

import { WorldlineError } from "../engine/errors.ts";
import { fieldsOf } from "../weights/fields.ts";
import { isObject, quote } from "../weights/source.ts";
import { wordLetters } from "./pattern.ts";

export interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  /** Looked for in the normalised text, not in the text as given. */
  readonly normalized: boolean;
  /** White space to the left or right belongs to the token. */
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  /** Not inside a word. */
  readonly singleWord: boolean;
}

/** Reads added_tokens. */
export function parseAddedTokens(list: unknown, where: string): AddedToken[] {
  if (list === undefined || list === null) return [];
  if (!Array.isArray(list)) throw new WorldlineError(`${where}: added_tokens is ${quote(list)}; a list is needed`);
  return list.map((entry: unknown, i) => {
    const f = fieldsOf(isObject(entry) ? entry : {}, `${where}: added_tokens[${i}]`);
    const id = f.id("id");
    const content = f.text("content");
    if (id === null || content === "")
      throw new WorldlineError(`${where}: added_tokens[${i}] needs an id and a content, it is ${quote(entry)}`);
    return {
      id,
      content,
      special: f.flag("special", false),
      normalized: f.flag("normalized", false),
      lstrip: f.flag("lstrip", false),
      rstrip: f.flag("rstrip", false),
      singleWord: f.flag("single_word", false),
    };
  });
}

/** A run of plain text, or one added token by its id. */
export type Run = string | number;

const wordBefore = new RegExp(`[${wordLetters}]$`, "u");
const wordAfter = new RegExp(`^[${wordLetters}]`, "u");
const spaceBefore = /\p{White_Space}+$/u;
const spaceAfter = /^\p{White_Space}+/u;

/** Finds added tokens in text. `contentOf` gives the text that a token is looked for by. */
export function addedTokenFinder(list: readonly AddedToken[], contentOf = (t: AddedToken) => t.content): (text: string) => Run[] {
  const tokens = new Map(list.map((t) => [contentOf(t), t]));
  tokens.delete("");
  const lengths = new Map<string, Set<number>>();
  for (const token of tokens.keys()) lengths.set(token[0], (lengths.get(token[0]) ?? new Set()).add(token.length));
  const longestFirst = new Map([...lengths].map(([first, set]) => [first, [...set].sort((a, b) => b - a)]));
  if (tokens.size === 0) return (text) => (text === "" ? [] : [text]);
  const firsts = [...longestFirst.keys()].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const starts = new RegExp(`[${firsts.join("")}]`, "g");
  return (text) => {
    const runs: Run[] = [];
    let at = 0;
    starts.lastIndex = 0;
    for (let match = starts.exec(text); match; match = starts.exec(text)) {
      const i = match.index;
      const length = longestFirst.get(match[0])?.find((n) => tokens.has(text.slice(i, i + n)));
      if (length === undefined) continue;
      starts.lastIndex = i + length;
      const token = tokens.get(text.slice(i, i + length)) as AddedToken;
      const span = extent(text, i, i + length, token, at);
      if (!span) continue;
      if (span.begin > at) runs.push(text.slice(at, span.begin));
      runs.push(token.id);
      at = span.end;
    }
    if (at < text.length) runs.push(text.slice(at));
    return runs;
  };
}

/** What a token found at [begin, end) takes up; null where it must be a word of its own and is not. Text before `free` is taken. */
function extent(text: string, begin: number, end: number, t: AddedToken, free: number): { begin: number; end: number } | null {
  if (!t.singleWord && !t.lstrip && !t.rstrip) return { begin, end };
  const before = text.slice(0, begin);
  const after = text.slice(end);
  if (t.singleWord && (wordBefore.test(before) || wordAfter.test(after))) return null;
  const left = t.lstrip ? (spaceBefore.exec(before)?.[0].length ?? 0) : 0;
  const right = t.rstrip ? (spaceAfter.exec(after)?.[0].length ?? 0) : 0;
  return { begin: Math.max(begin - left, free), end: end + right };
}
