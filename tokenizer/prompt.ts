// Sequences for the two roles: bos, then pictures (begin mark, codes, end mark) and words in a template's order, then perhaps eos; with the
// ranges that the loss and the sampler need. And Chameleon's own prompt: text with <image> placeholders.

import { WorldlineError } from "../engine/errors.ts";
import { quote } from "../weights/source.ts";
import { parseTemplate, type Template } from "./templates.ts";
import type { Tokenizer } from "./text.ts";
import { codesToIds, type Vocab } from "./vocab.ts";

/**
 * Words, or a picture as codes. `slot` names its role; `completes` marks the one to be learned and generated; without `text` or `codes` it is
 * left open for the model. Names of special tokens count in `text` only where `phrase` is set, so data cannot smuggle in marks.
 */
export type Segment =
  | { readonly kind: "text"; readonly text: string | null; readonly slot?: string; readonly completes?: boolean; readonly phrase?: boolean }
  | { readonly kind: "image"; readonly codes: ArrayLike<number> | null; readonly slot?: string; readonly completes?: boolean };

/** Positions [begin, end) in a sequence. */
export interface Range {
  readonly begin: number;
  readonly end: number;
}

/** One segment's positions. `begin` to `end` includes a picture's marks; `codes` are its codes alone. */
export interface Span extends Range {
  readonly kind: "text" | "image";
  readonly slot: string | null;
  readonly codes: Range | null;
}

export interface Layout {
  readonly ids: Uint32Array;
  /** What is learned: words and eos, or picture codes and the end mark (the begin mark belongs to the prompt). Empty at the end for a prompt. */
  readonly completion: Range;
  /** Positions of the codes to be learned; null where the completion is text. */
  readonly targetCodes: Range | null;
  readonly spans: readonly Span[];
}

/** What turns words and codes into ids. */
export interface Coder {
  readonly vocab: Vocab;
  readonly tokenizer: Pick<Tokenizer, "ids">;
}

export interface LayoutOptions {
  /** Put bos in front. Default true. */
  readonly bos?: boolean;
  /** Put eos after a completion. Default "none". */
  readonly end?: "eos" | "none";
  /** Close the completed picture with the end mark. Default true. */
  readonly closeTarget?: boolean;
}

/** Ids of `segments` in order and their ranges. Where no segment completes, the whole is a prompt. */
export function layout(
  segments: readonly Segment[],
  { vocab, tokenizer }: Coder,
  { bos = true, end = "none", closeTarget = true }: LayoutOptions = {},
): Layout {
  const ids: number[] = bos ? [vocab.bos] : [];
  const spans: Span[] = [];
  let completed: Span | null = null;
  for (const [i, segment] of segments.entries()) {
    const open = segment.kind === "text" ? segment.text === null : segment.codes === null;
    if ((segment.completes || open) && i !== segments.length - 1)
      throw new WorldlineError(`segment ${i} of ${segments.length} is ${open ? "open" : "the completion"}; only the last one can be`);
    const span =
      segment.kind === "text" ? addText(ids, segment, tokenizer) : addPicture(ids, segment, vocab, segment.completes && !closeTarget);
    spans.push(span);
    if (segment.completes && !open) completed = span;
  }
  if (!completed) return { ids: Uint32Array.from(ids), completion: { begin: ids.length, end: ids.length }, targetCodes: null, spans };
  if (end === "eos") ids.push(vocab.eos);
  return {
    ids: Uint32Array.from(ids),
    completion: { begin: completed.codes?.begin ?? completed.begin, end: ids.length },
    targetCodes: completed.codes,
    spans,
  };
}

function addText(ids: number[], segment: Extract<Segment, { kind: "text" }>, tokenizer: Coder["tokenizer"]): Span {
  const begin = ids.length;
  for (const id of tokenizer.ids(segment.text ?? "", { specialTokens: segment.phrase ?? false })) ids.push(id);
  return { kind: "text", slot: segment.slot ?? null, begin, end: ids.length, codes: null };
}

function addPicture(ids: number[], segment: Extract<Segment, { kind: "image" }>, vocab: Vocab, leaveOpen = false): Span {
  const begin = ids.push(vocab.boi) - 1;
  if (segment.codes !== null) for (const id of codesToIds(vocab, segment.codes)) ids.push(id);
  const codes = { begin: begin + 1, end: ids.length };
  if (segment.codes !== null && !leaveOpen) ids.push(vocab.eoi);
  return { kind: "image", slot: segment.slot ?? null, begin, end: ids.length, codes };
}

/** What fills a template's slots: words for text slots, codes for picture slots. The completion's slot may be left out: then a prompt results. */
export type SlotValues = Record<string, string | ArrayLike<number>>;

/** A template with its slots filled. Throws where a slot has no value or one of the wrong kind. */
export function fillTemplate(template: Template, values: SlotValues): Segment[] {
  return template.segments.map((part): Segment => {
    if (!("slot" in part)) return { kind: "text", text: part.text, phrase: true };
    const completes = part.slot === template.completion;
    const value = Object.hasOwn(values, part.slot) ? values[part.slot] : null;
    if (value === null && !completes)
      throw new WorldlineError(
        `the template ${quote(template.name)} needs a value for its slot ${quote(part.slot)}; given are ${quote(Object.keys(values))}`,
      );
    if (value !== null && (part.kind === "text") !== (typeof value === "string")) {
      throw new WorldlineError(
        `the slot ${quote(part.slot)} of the template ${quote(template.name)} takes ${part.kind === "text" ? "words" : "picture codes"}; the other kind was given`,
      );
    }
    if (part.kind === "text") return { kind: "text", text: value as string | null, slot: part.slot, completes };
    return { kind: "image", codes: value as ArrayLike<number> | null, slot: part.slot, completes };
  });
}

/** The sequence of a template (by name or as an object) with its slots filled: for training, or a prompt where the completion is left out. */
export function layoutTemplate(template: Template | string, values: SlotValues, coder: Coder, options: LayoutOptions = {}): Layout {
  const parsed = parseTemplate(template);
  return layout(fillTemplate(parsed, values), coder, { end: parsed.end, ...options });
}

/**
 * Loss weights (one per position, for the id AT that position): 0 in the prompt, 1 in the completion, and `codes[i]` at the i-th target code
 * where given (the recognition-weighted loss).
 */
export function lossWeights({ ids, completion, targetCodes }: Layout, codes?: ArrayLike<number>): Float32Array {
  const weights = new Float32Array(ids.length).fill(1, completion.begin, completion.end);
  if (!codes) return weights;
  const n = targetCodes ? targetCodes.end - targetCodes.begin : 0;
  if (!targetCodes || codes.length !== n)
    throw new WorldlineError(`${codes.length} code weights were given for a completion of ${n} picture codes; one per code is needed`);
  weights.set(Float32Array.from(codes), targetCodes.begin);
  return weights;
}

/** How Chameleon's processor writes a prompt. */
export interface ChameleonPromptOptions {
  /** Codes per picture (processor_config.json: image_seq_length). */
  readonly imageSeqLength: number;
  /** Placeholder in the text (processor_config.json: image_token). Default "<image>". */
  readonly imageToken?: string;
  /** Append the end-of-turn mark, so that an answer follows. Default true. */
  readonly endTurn?: boolean;
}

/** Text with placeholders -> ids: each placeholder becomes begin mark, `imageSeqLength` placeholder ids, end mark; bos in front. */
export function chameleonPrompt(
  text: string,
  { vocab, tokenizer }: Coder,
  { imageSeqLength, imageToken = "<image>", endTurn = true }: ChameleonPromptOptions,
): Uint32Array {
  if (imageToken === "") throw new WorldlineError("the picture placeholder is empty text; a name like <image> is needed");
  const ids = [vocab.bos];
  for (const [i, piece] of text.split(imageToken).entries()) {
    if (i > 0) {
      ids.push(vocab.boi);
      for (let n = 0; n < imageSeqLength; n++) ids.push(vocab.image);
      ids.push(vocab.eoi);
    }
    for (const id of tokenizer.ids(piece)) ids.push(id);
  }
  if (endTurn && vocab.sep === null)
    throw new WorldlineError("an end of turn was asked for but the vocabulary has no <reserved08706>; pass endTurn: false");
  if (endTurn && vocab.sep !== null) ids.push(vocab.sep);
  return Uint32Array.from(ids);
}

/** Replaces placeholder ids, in order, by the ids of the pictures' codes. Throws where the numbers differ. */
export function fillPlaceholders(ids: ArrayLike<number>, pictures: readonly ArrayLike<number>[], vocab: Vocab): Uint32Array {
  const filled = Uint32Array.from(ids);
  const codes = pictures.flatMap((picture) => [...codesToIds(vocab, picture)]);
  const places = [...filled.keys()].filter((i) => filled[i] === vocab.image);
  if (places.length !== codes.length)
    throw new WorldlineError(
      `the prompt has ${places.length} picture placeholders, the ${pictures.length} pictures have ${codes.length} codes; both must agree`,
    );
  places.forEach((place, i) => {
    filled[place] = codes[i];
  });
  return filled;
}
