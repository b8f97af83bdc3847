// How text is cut before byte pairs are merged: added tokens are taken out whole (leftmost, longest first), the rest goes through the steps of
// tokenizer.json's pre_tokenizer, each of which cuts the pieces of the one before.

import { WorldlineError } from "../engine/errors.ts";
import { fieldsOf } from "../weights/fields.ts";
import { isObject, quote } from "../weights/source.ts";

/** Cuts a text into pieces; joined they are the text again. */
export type Cut = (text: string) => string[];

const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const punctuation = "\\p{P}$+<=>^`|~";

/** Reads a pre_tokenizer: Sequence, Split by a regular expression (isolated), Digits, Punctuation, ByteLevel. Refuses everything else. */
export function parsePreTokenizer(json: unknown, where: string): Cut {
  if (!isObject(json)) throw new WorldlineError(`${where} is ${quote(json)}; an object is needed, is this a Chameleon tokenizer?`);
  const steps = stepsOf(json, where);
  if (steps.length === 0 || steps.at(-1)?.type !== "ByteLevel" || steps.filter((s) => s.type === "ByteLevel").length > 1) {
    throw new WorldlineError(`${where} does not end in one ByteLevel step; byte-level tokenizers are read here`);
  }
  const cuts = steps.map((step) => cutOf(step, where)).filter((cut) => cut !== null);
  return (text) => {
    let pieces = [text];
    for (const cut of cuts) pieces = cut(pieces);
    return pieces;
  };
}

function stepsOf(json: Record<string, unknown>, where: string): Record<string, unknown>[] {
  if (json.type !== "Sequence") return [json];
  const steps = json.pretokenizers;
  if (!Array.isArray(steps) || !steps.every(isObject))
    throw new WorldlineError(`${where}.pretokenizers is no list of steps; the file is damaged`);
  return steps;
}

function cutOf(step: Record<string, unknown>, where: string): ((pieces: string[]) => string[]) | null {
  const f = fieldsOf(step, `${where}: ${quote(step.type)}`);
  const isolated = () => {
    if (f.text("behavior", "Isolated") !== "Isolated") throw f.refuse("behavior", '"Isolated"');
    if (f.flag("invert", false)) throw f.refuse("invert", "false");
  };
  if (step.type === "Split") {
    isolated();
    const pattern = f.object("pattern");
    if (typeof pattern?.Regex !== "string") throw f.refuse("pattern", 'an object {"Regex": text}');
    return isolate(compile(pattern.Regex, where));
  }
  if (step.type === "Digits") return isolate(f.flag("individual_digits", false) ? /\p{N}/gu : /\p{N}+/gu);
  if (step.type === "Punctuation") {
    if (f.text("behavior", "Isolated") === "Contiguous") return isolate(new RegExp(`[${punctuation}]+`, "gu"));
    isolated();
    return isolate(new RegExp(`[${punctuation}]`, "gu"));
  }
  if (step.type === "ByteLevel") {
    if (f.flag("add_prefix_space", true)) throw f.refuse("add_prefix_space", "false");
    return f.flag("use_regex", true) ? isolate(compile(gpt2Pattern, where)) : null;
  }
  throw new WorldlineError(`${where}: the step ${quote(step.type)} is not supported; Split, Digits, Punctuation and ByteLevel are`);
}

/** A pattern of the Rust library as ours: there \s, \d and \w follow Unicode properties. */
function compile(pattern: string, where: string): RegExp {
  const classes: Record<string, string> = { s: "\\p{White_Space}", S: "\\P{White_Space}", d: "\\p{Nd}", D: "\\P{Nd}" };
  const source = pattern.replace(/\\(.)/gsu, (whole, letter: string) => {
    if (letter === "w" || letter === "W" || letter === "b" || letter === "B") throw unsupported(pattern, where);
    return classes[letter] ?? whole;
  });
  try {
    return new RegExp(source, "gu");
  } catch {
    throw unsupported(pattern, where);
  }
}

function unsupported(pattern: string, where: string): WorldlineError {
  return new WorldlineError(
    `${where}: the pattern ${quote(pattern)} uses what this tokenizer does not know; only plain Unicode expressions are supported`,
  );
}

/** Matches and what lies between them both become pieces. */
function isolate(pattern: RegExp): (pieces: string[]) => string[] {
  return (pieces) => {
    const out: string[] = [];
    for (const piece of pieces) {
      let at = 0;
      pattern.lastIndex = 0;
      for (let match = pattern.exec(piece); match; match = pattern.exec(piece)) {
        if (match[0] === "") {
          pattern.lastIndex++;
          continue;
        }
        if (match.index > at) out.push(piece.slice(at, match.index));
        out.push(match[0]);
        at = pattern.lastIndex;
      }
      if (at < piece.length) out.push(at === 0 ? piece : piece.slice(at));
    }
    return out;
  };
}

/** A run of plain text, or one added token by its id. */
export type Run = string | number;

/** Finds added tokens in text: leftmost, of those the longest. */
export function addedTokenFinder(tokens: Map<string, number>): (text: string) => Run[] {
  const lengths = new Map<string, Set<number>>();
  for (const token of tokens.keys()) lengths.set(token[0], (lengths.get(token[0]) ?? new Set()).add(token.length));
  const longestFirst = new Map([...lengths].map(([first, set]) => [first, [...set].sort((a, b) => b - a)]));
  if (tokens.size === 0) return (text) => (text === "" ? [] : [text]);
  const starts = new RegExp(
    `[${[...longestFirst.keys()].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).join("")}]`,
    "g",
  );
  return (text) => {
    const runs: Run[] = [];
    let at = 0;
    starts.lastIndex = 0;
    for (let match = starts.exec(text); match; match = starts.exec(text)) {
      const i = match.index;
      const length = longestFirst.get(match[0])?.find((n) => tokens.has(text.slice(i, i + n)));
      if (length === undefined) continue;
      if (i > at) runs.push(text.slice(at, i));
      runs.push(tokens.get(text.slice(i, i + length)) as number);
      starts.lastIndex = at = i + length;
    }
    if (at < text.length) runs.push(text.slice(at));
    return runs;
  };
}
