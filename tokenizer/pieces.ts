// How text is cut before byte pairs are merged: it goes through the steps of tokenizer.json's pre_tokenizer, each of which cuts the pieces of the one
// before. A ByteLevel step, where there is one, is the last: merging then works on bytes, otherwise on characters.

import { WorldlineError } from "../engine/errors.ts";
import { type Fields, fieldsOf } from "../weights/fields.ts";
import { isObject, quote } from "../weights/source.ts";
import { type Behavior, compile, cutAt, isBehavior, parsePattern, punctuation, whiteSpace, wordLetters } from "./pattern.ts";

/** Cuts a text into pieces. `first`: the text stands at the very beginning. */
export type Cut = (text: string, first?: boolean) => string[];

export interface PreTokenizer {
  readonly cut: Cut;
  /** Pieces are merged as UTF-8 bytes, not as characters. */
  readonly byteLevel: boolean;
}

type Step = (piece: string, out: string[], first: boolean) => void;

const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** Reads a pre_tokenizer; null cuts nothing. Throws a WorldlineError for steps that are not known. */
export function parsePreTokenizer(json: unknown, where: string): PreTokenizer {
  if (json === null || json === undefined) return { cut: (text) => (text === "" ? [] : [text]), byteLevel: false };
  if (!isObject(json)) throw new WorldlineError(`${where} is ${quote(json)}; an object is needed, is this a tokenizer.json?`);
  const list = flatten(json, where);
  const at = list.findIndex((s) => s.type === "ByteLevel");
  if (at >= 0 && at !== list.length - 1)
    throw new WorldlineError(`${where} has a step after ByteLevel; ByteLevel is supported as the last step`);
  const steps = list.flatMap((step) => stepOf(step, where));
  return { cut: (text, first = true) => run(steps, text, first), byteLevel: at >= 0 };
}

function run(steps: readonly Step[], text: string, first: boolean): string[] {
  let pieces = text === "" ? [] : [text];
  for (const step of steps) {
    const out: string[] = [];
    for (let i = 0; i < pieces.length; i++) step(pieces[i], out, first && i === 0);
    pieces = out;
  }
  return pieces;
}

function flatten(json: Record<string, unknown>, where: string, depth = 0): Record<string, unknown>[] {
  if (json.type !== "Sequence") return [json];
  const steps = json.pretokenizers;
  if (!Array.isArray(steps) || !steps.every(isObject) || depth > 8)
    throw new WorldlineError(`${where}.pretokenizers is no list of steps; the file is damaged`);
  return steps.flatMap((step) => flatten(step, where, depth + 1));
}

function stepOf(step: Record<string, unknown>, where: string): Step[] {
  const f = fieldsOf(step, `${where}: ${quote(step.type)}`);
  switch (step.type) {
    case "Split":
      return [cutAt(parsePattern(step.pattern, where), behaviorOf(f, "Removed"), f.flag("invert", false))];
    case "Digits":
      return [cutAt(/\p{N}/gu, f.flag("individual_digits", false) ? "Isolated" : "Contiguous")];
    case "Punctuation":
      return [cutAt(new RegExp(`[${punctuation}]`, "gu"), behaviorOf(f, "Isolated"))];
    case "Whitespace":
      return [cutAt(new RegExp(`[${wordLetters}]+|[^${wordLetters}${whiteSpace}]+`, "gu"), "Removed", true)];
    case "BertPreTokenizer":
      return [cutAt(new RegExp(whiteSpace, "gu"), "Removed"), cutAt(new RegExp(`[${punctuation}]`, "gu"), "Isolated")];
    case "WhitespaceSplit":
      return [cutAt(new RegExp(whiteSpace, "gu"), "Removed")];
    case "Metaspace":
      return [metaspace(f)];
    case "ByteLevel":
      return byteLevel(f, where);
    default:
      throw new WorldlineError(
        `${where}: the step ${quote(step.type)} is not supported; Split, Digits, Punctuation, Whitespace, WhitespaceSplit, BertPreTokenizer, Metaspace and ByteLevel are`,
      );
  }
}

function behaviorOf(f: Fields, fallback: Behavior): Behavior {
  const text = f.text("behavior", fallback);
  if (!isBehavior(text)) throw f.refuse("behavior", "Removed, Isolated, MergedWithPrevious, MergedWithNext or Contiguous");
  return text;
}

function byteLevel(f: Fields, where: string): Step[] {
  const prefix: Step = (piece, out) => void out.push(piece.startsWith(" ") ? piece : ` ${piece}`);
  const cut = f.flag("use_regex", true) ? [cutAt(compile(gpt2Pattern, where), "Isolated")] : [];
  return f.flag("add_prefix_space", true) ? [prefix, ...cut] : cut;
}

/** Whether a Metaspace puts its mark in front of every text, of the first one, or of none; older files say it with a flag. */
export function prependScheme(f: Fields): "always" | "first" | "never" {
  const scheme = f.text("prepend_scheme", f.flag("add_prefix_space", true) ? "always" : "never");
  if (scheme !== "always" && scheme !== "first" && scheme !== "never") throw f.refuse("prepend_scheme", '"always", "first" or "never"');
  return scheme;
}

/** The one character that stands for a space. */
export function spaceMark(f: Fields): string {
  const mark = f.text("replacement", "▁");
  if ([...mark].length !== 1) throw f.refuse("replacement", "one character");
  return mark;
}

function metaspace(f: Fields): Step {
  const mark = spaceMark(f);
  const scheme = prependScheme(f);
  const cut = f.flag("split", true) ? cutAt(parsePattern({ String: mark }, "Metaspace"), "MergedWithNext") : null;
  return (piece, out, first) => {
    let text = piece.replaceAll(" ", mark);
    if ((scheme === "always" || (scheme === "first" && first)) && !text.startsWith(mark)) text = mark + text;
    if (cut) cut(text, out);
    else out.push(text);
  };
}
