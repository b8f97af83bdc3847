// Prompt templates as data: phrases and slots in order, the slot that the model completes last. One model plays two roles with them: from two
// pictures to the action (CDM), and from a picture and an action to the next picture (CWM).

import { WorldlineError } from "../engine/errors.ts";
import { isObject, quote } from "../weights/source.ts";

/** A fixed phrase, in which names of special tokens count, or a slot to be filled. */
export type TemplatePart = { readonly text: string } | { readonly slot: string; readonly kind: "text" | "image" };

export interface Template {
  readonly name: string;
  readonly segments: readonly TemplatePart[];
  /** The slot that is learned and generated; it must be the last part. */
  readonly completion: string;
  /** What follows the completion. */
  readonly end: "eos" | "none";
}

const source = { slot: "source", kind: "image" } as const;
const target = { slot: "target", kind: "image" } as const;
const action = { slot: "action", kind: "text" } as const;

/** Templates by name. The first two are the defaults; the others put the picture first or add phrases. Slots: source, target, action. */
export const templates = {
  /** bos, source, target, words, eos. */
  cdm: { name: "cdm", segments: [source, target, action], completion: "action", end: "eos" },
  /** bos, words, source, target. */
  cwm: { name: "cwm", segments: [action, source, target], completion: "target", end: "none" },
  /** bos, source, words, target. */
  "cwm-pictures-first": { name: "cwm-pictures-first", segments: [source, action, target], completion: "target", end: "none" },
  /** As an image editing task. */
  "cwm-edit": {
    name: "cwm-edit",
    segments: [source, { text: "\nEdit the given image according to this prompt: " }, action, target],
    completion: "target",
    end: "eos",
  },
  /** As an action prediction task. */
  "cdm-question": {
    name: "cdm-question",
    segments: [
      { text: "Given two consecutive images, briefly describe the action that caused the change.\n" },
      source,
      target,
      { text: "\n" },
      action,
    ],
    completion: "action",
    end: "eos",
  },
} as const satisfies Record<string, Template>;

/** Wordings of the two tasks; one is drawn for each training example, and the first is used afterwards. */
const phrases = {
  cdm: [
    "What was done between these two pictures?",
    "Name the action that leads from the first picture to the second.",
    "Two moments of one scene. What happened in between?",
    "Say briefly what changed the first picture into the second.",
    "Which action turns the first picture into the second one?",
    "Describe the step that was taken from the first picture to the second.",
    "Before and after: which action lies between them?",
    "Put into words what someone did between the two pictures.",
    "The second picture follows the first. Because of which action?",
    "Tell in a few words how the scene got from the first picture to the second.",
  ],
  cwm: [
    "Show the picture after this action:",
    "Draw what the scene looks like once this is done:",
    "Change the picture as told:",
    "Apply the following action to the picture:",
    "What does the picture become when this happens?",
    "Continue the scene by one step:",
    "Carry out this instruction in the picture:",
    "Next picture, after this action:",
    "Take this step in the scene and show the result:",
    "Redraw the picture so that this has happened:",
  ],
} as const;

export type PromptOrder = "picture_first" | "text_first";

/** Templates of a role with wordings, in the given order of picture and words; the model completes the action (cdm) or the target picture (cwm). */
export function phrasedTemplates(role: "cdm" | "cwm", order: PromptOrder): Template[] {
  return phrases[role].map((words, i): Template => {
    const name = `${role}-phrase-${i}-${order}`;
    if (role === "cwm") {
      const segments =
        order === "picture_first"
          ? [source, { text: `\n${words} ` }, action, target]
          : [{ text: `${words} ` }, action, { text: "\n" }, source, target];
      return { name, segments, completion: "target", end: "none" };
    }
    const segments =
      order === "picture_first" ? [source, target, { text: `\n${words}\n` }, action] : [{ text: `${words}\n` }, source, target, action];
    return { name, segments, completion: "action", end: "eos" };
  });
}

/** The template of a role without wordings. The dynamics model's has no words before its pictures. */
export function plainTemplate(role: "cdm" | "cwm", order: PromptOrder): Template {
  if (role === "cdm") return templates.cdm;
  return order === "text_first" ? templates.cwm : templates["cwm-pictures-first"];
}

/** A template by name, or read from a JSON object. Throws where it is malformed or the completion is not its last part. */
export function parseTemplate(value: unknown): Template {
  if (typeof value === "string") {
    if (Object.hasOwn(templates, value)) return templates[value as keyof typeof templates];
    throw new WorldlineError(`there is no template ${quote(value)}; known are ${Object.keys(templates).join(", ")}, or give an object`);
  }
  const refuse = (what: string) => new WorldlineError(`the template ${isObject(value) ? quote(value.name) : quote(value)} ${what}`);
  if (!isObject(value) || typeof value.name !== "string") throw refuse("is no object with a name");
  const { name, segments, completion, end = "none" } = value;
  if (!Array.isArray(segments) || segments.length === 0 || !segments.every(isPart)) {
    throw refuse('needs segments: a list of {"text": words} and {"slot": name, "kind": "text" or "image"}');
  }
  const slots = segments.flatMap((part) => ("slot" in part ? [part.slot] : []));
  const twice = slots.find((slot, i) => slots.indexOf(slot) !== i);
  if (twice !== undefined) throw refuse(`has the slot ${quote(twice)} twice; each slot may occur once`);
  const last = segments.at(-1) as TemplatePart;
  if (typeof completion !== "string" || !("slot" in last) || last.slot !== completion)
    throw refuse("must end with the slot that `completion` names");
  if (end !== "eos" && end !== "none") throw refuse(`has end ${quote(end)}; "eos" or "none" is needed`);
  return { name, segments, completion, end };
}

function isPart(part: unknown): part is TemplatePart {
  if (!isObject(part)) return false;
  return typeof part.text === "string"
    ? !("slot" in part)
    : typeof part.slot === "string" && (part.kind === "text" || part.kind === "image");
}
