// The normalizer of a tokenizer.json: what is done to text before it is cut.

import { WorldlineError } from "../engine/errors.ts";
import { type Fields, fieldsOf } from "../weights/fields.ts";
import { isObject, quote } from "../weights/source.ts";
import { parsePattern, whiteSpace } from "./pattern.ts";

export type Normalize = (text: string) => string;

/** Reads a normalizer; null leaves text as it is. Throws a WorldlineError for kinds that are not known. */
export function parseNormalizer(json: unknown, where: string, depth = 0): Normalize {
  if (json === null || json === undefined) return (text) => text;
  if (!isObject(json)) throw new WorldlineError(`${where}: the normalizer is ${quote(json)}; an object is needed`);
  const f = fieldsOf(json, `${where}: the normalizer ${quote(json.type)}`);
  switch (json.type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const form = json.type;
      return (text) => text.normalize(form);
    }
    case "Lowercase":
      return lowercase;
    case "BertNormalizer":
      return bertNormalizer(f);
    case "Strip": {
      const ends = [f.flag("strip_left", true) ? `^${whiteSpace}+` : "", f.flag("strip_right", true) ? `${whiteSpace}+$` : ""].filter(
        Boolean,
      );
      const pattern = ends.length ? new RegExp(ends.join("|"), "gu") : null;
      return (text) => (pattern ? text.replace(pattern, "") : text);
    }
    case "Prepend": {
      const prefix = f.text("prepend");
      return (text) => (text === "" ? text : prefix + text);
    }
    case "Replace": {
      const pattern = parsePattern(json.pattern, where);
      const content = f.text("content");
      return (text) => text.replace(pattern, () => content);
    }
    case "Sequence": {
      const list = json.normalizers;
      if (!Array.isArray(list) || depth > 8) throw new WorldlineError(`${where}: normalizers is ${quote(list)}; a list is needed`);
      const steps = list.map((step) => parseNormalizer(step, where, depth + 1));
      return (text) => steps.reduce((t, step) => step(t), text);
    }
    default:
      throw new WorldlineError(
        `${where}: the normalizer ${quote(json.type)} is not supported; NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace, BertNormalizer and Sequence are`,
      );
  }
}

/** Letter by letter: a sigma at the end of a word is no exception there. */
const lowercase: Normalize = (text) => Array.from(text, (c) => c.toLowerCase()).join("");

/** Chinese, Japanese and Korean ideographs by BERT's ranges. */
const ideographs =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

/** BERT's: control characters out and white space to spaces, spaces around ideographs, accents off, lower case; each may be switched off. */
function bertNormalizer(f: Fields): Normalize {
  const lower = f.flag("lowercase", true);
  const steps: Normalize[] = [];
  const spaces = new RegExp(`${whiteSpace}`, "gu");
  if (f.flag("clean_text", true))
    steps.push((text) => text.replace(/[\0\ufffd]|(?![\t\n\r])[\p{Cc}\p{Cf}\p{Co}]/gu, "").replace(spaces, " "));
  if (f.flag("handle_chinese_chars", true)) steps.push((text) => text.replace(ideographs, " $& "));
  if (f.flag("strip_accents", lower)) steps.push((text) => text.normalize("NFD").replace(/\p{Mn}/gu, ""));
  if (lower) steps.push(lowercase);
  return (text) => steps.reduce((t, step) => step(t), text);
}
