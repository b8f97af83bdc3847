// The normalizer of a tokenizer.json: what is done to text before it is cut.

import { WorldlineError } from "../engine/errors.ts";
import { fieldsOf } from "../weights/fields.ts";
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
      // Letter by letter: a sigma at the end of a word is no exception there.
      return (text) => Array.from(text, (c) => c.toLowerCase()).join("");
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
        `${where}: the normalizer ${quote(json.type)} is not supported; NFC, NFD, NFKC, NFKD, Lowercase, Strip, Prepend, Replace and Sequence are`,
      );
  }
}
