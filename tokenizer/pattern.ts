// Patterns of a tokenizer.json (`{"Regex": text}` in Oniguruma's syntax, or `{"String": text}`) as ours, and the five ways to cut a text at them.

import { WorldlineError } from "../engine/errors.ts";
import { isObject, quote } from "../weights/source.ts";

/** What the Rust library calls white space, and what it calls punctuation: ASCII's, or category P. */
export const whiteSpace = "\\p{White_Space}";
export const punctuation = "\\p{P}$+<=>^`|~";

/** Letters of words where the library uses Rust's own expressions, not Oniguruma's. */
export const wordLetters = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";

const classes: Record<string, string> = {
  s: whiteSpace,
  d: "\\p{Nd}",
  // Oniguruma counts the six number signs of Latin-1 too.
  w: "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\xb2\\xb3\\xb9\\xbc-\\xbe",
};

/** To Oniguruma only \n ends a line, and ^ and $ hold at every line. */
const lines: Record<string, string> = { ".": "[^\\n]", "^": "(?:(?<![^])|(?<=\\n)(?=[^]))", $: "(?![^\\n])" };

/** A pattern as a global expression. Throws where it uses what is not known here; `where` opens the message. */
export function parsePattern(json: unknown, where: string): RegExp {
  if (isObject(json) && typeof json.String === "string") return new RegExp(json.String.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), "gu");
  if (isObject(json) && typeof json.Regex === "string") return compile(json.Regex, where);
  throw new WorldlineError(`${where}: the pattern is ${quote(json)}; {"Regex": text} or {"String": text} is needed`);
}

/** There \s, \d and \w follow Unicode properties. */
export function compile(pattern: string, where: string): RegExp {
  const refuse = () =>
    new WorldlineError(
      `${where}: the pattern ${quote(pattern)} uses what this tokenizer does not know; only plain Unicode expressions are supported`,
    );
  let inside = false;
  const source = pattern.replace(/\\(.)|[[\].^$]|[*+?][+]|\(\?(?![:=!]|<[=!])/gsu, (whole, letter: string | undefined) => {
    if (whole === "[") {
      // Oniguruma takes a bracket in a class as a class in it.
      if (inside) throw refuse();
      inside = true;
    } else if (whole === "]") inside = false;
    if (whole === "[" || whole === "]") return whole;
    if (whole in lines) return inside ? whole : lines[whole];
    if (letter === undefined) {
      // Possessive quantifiers, flags, named and atomic groups.
      if (inside) return whole;
      throw refuse();
    }
    const plain = classes[letter.toLowerCase()];
    if (plain !== undefined && letter === letter.toLowerCase()) return inside ? plain : `[${plain}]`;
    if (plain !== undefined) {
      if (inside && letter !== "W") return plain.replace("p{", "P{");
      if (inside) throw refuse();
      return `[^${plain}]`;
    }
    if (/[bBAZzGKRXhHkg]/.test(letter)) throw refuse();
    return whole;
  });
  if (source.includes("&&")) throw refuse();
  try {
    return new RegExp(source, "gu");
  } catch {
    throw refuse();
  }
}

/** What becomes of the matches of a pattern. */
export type Behavior = "Removed" | "Isolated" | "MergedWithPrevious" | "MergedWithNext" | "Contiguous";

/** True for the names of the five. */
export function isBehavior(text: string): text is Behavior {
  return ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"].includes(text);
}

/** Cuts a piece at the matches of a pattern; with `invert` at what lies between them. Empty pieces are left out. */
export function cutAt(pattern: RegExp, behavior: Behavior, invert = false): (piece: string, out: string[]) => void {
  if (behavior === "Isolated") return (piece, out) => isolate(pattern, piece, out);
  return (piece, out) => {
    const spans = spansOf(pattern, piece, invert);
    const joined: [begin: number, end: number][] = [];
    let previous: boolean | undefined;
    const next = behavior === "MergedWithNext";
    for (const { begin, end, match } of next ? spans.reverse() : spans) {
      const last = joined.at(-1);
      const join = behavior === "Contiguous" ? match === previous : behavior !== "Removed" && match && previous === false;
      if (last && join) last[next ? 0 : 1] = next ? begin : end;
      else if (!(behavior === "Removed" && match)) joined.push([begin, end]);
      previous = match;
    }
    for (const [begin, end] of next ? joined.reverse() : joined) if (end > begin) out.push(piece.slice(begin, end));
  };
}

interface Span {
  readonly begin: number;
  readonly end: number;
  readonly match: boolean;
}

function spansOf(pattern: RegExp, piece: string, invert: boolean): Span[] {
  const spans: Span[] = [];
  let at = 0;
  for (const match of piece.matchAll(pattern)) {
    if (match[0] === "") continue;
    if (match.index > at) spans.push({ begin: at, end: match.index, match: invert });
    at = match.index + match[0].length;
    spans.push({ begin: match.index, end: at, match: !invert });
  }
  if (at < piece.length) spans.push({ begin: at, end: piece.length, match: invert });
  return spans;
}

/** Matches and what lies between them both become pieces: the common case, kept quick. */
function isolate(pattern: RegExp, piece: string, out: string[]): void {
  let at = 0;
  pattern.lastIndex = 0;
  for (let match = pattern.exec(piece); match; match = pattern.exec(piece)) {
    if (match[0] === "") {
      pattern.lastIndex += (piece.codePointAt(pattern.lastIndex) ?? 0) > 0xffff ? 2 : 1;
      continue;
    }
    if (match.index > at) out.push(piece.slice(at, match.index));
    out.push(match[0]);
    at = pattern.lastIndex;
  }
  if (at < piece.length) out.push(at === 0 ? piece : piece.slice(at));
}
