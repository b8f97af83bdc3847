// Which ids may follow: the generation modes of the published implementations, and a grammar in which a picture is begin mark, exactly its codes,
// end mark. Rules are masks over the ids and a table from the state of a row to a mask, so that the device applies them without the host.
import { WorldlineError } from "../engine/errors.ts";
import { ruleWords } from "../kernels/advance/advance.ts";

/** Ids by meaning; tokenizer/vocab.ts makes one from a model's files. */
export interface IdSpace {
  readonly size: number;
  readonly bos: number;
  readonly eos: number;
  readonly pad: number;
  readonly boi: number;
  readonly eoi: number;
  /** Ids of the picture codes. */
  readonly imageIds: Uint32Array;
}

/** What decides the next mask of a row. */
export interface RowState {
  /** Fewer than `picture` ids since the last begin mark. */
  readonly inside: boolean;
  /** Exactly `picture` ids since then. */
  readonly complete: boolean;
  /** At most picture + 1 ids fit, so no other picture may begin. */
  readonly full: boolean;
  /** The first new id. */
  readonly first: boolean;
}

export interface Rules {
  /** One flag per id and mask. */
  readonly masks: readonly Uint8Array[];
  /** The mask for a state. */
  readonly maskFor: (state: RowState) => number;
  /** Ids that end a continuation. */
  readonly stops: readonly number[];
  /** Codes of a picture; 0 where rules do not depend on pictures. */
  readonly picture: number;
  /** An end mark closes a picture, whatever came before it. */
  readonly closed?: boolean;
  readonly space?: IdSpace;
}

/** text-only, image-only, interleaved-text-image and unrestricted as Anole has them; released: no picture codes, as the transformers library. */
export const modes = ["text-only", "image-only", "interleaved-text-image", "unrestricted", "released"] as const;
export type Mode = (typeof modes)[number];

/** The same ids at every step. */
export function fixedRules(allowed: Uint8Array, stopId?: number): Rules {
  return { masks: [allowed], maskFor: () => 0, stops: stopId === undefined ? [] : [stopId], picture: 0 };
}

export interface RuleOptions {
  /** Codes of a picture (processor_config.json: image_seq_length). */
  readonly picture: number;
  /** A begin mark is followed by exactly `picture` codes and the end mark, and neither stands anywhere else. Default true. */
  readonly grammar?: boolean;
  /** Ids that end a continuation; eos unless told. */
  readonly stops?: readonly number[];
}

/** The rules of a mode. */
export function rulesFor(space: IdSpace, mode: Mode, { picture, grammar = true, stops = [space.eos] }: RuleOptions): Rules {
  if (!modes.includes(mode)) throw new WorldlineError(`there is no generation mode "${mode}"; choose one of ${modes.join(", ")}`);
  const codes = new Uint8Array(space.size);
  for (const id of space.imageIds) codes[id] = 1;
  const { boi, eoi, eos } = space;
  const closed = grammar && mode !== "released";
  const outside = (id: number, full: boolean, first: boolean): boolean => {
    if (mode === "text-only") return !codes[id] && id !== boi && id !== eoi;
    if (mode === "released") return !codes[id];
    if (closed && (codes[id] || id === eoi)) return false;
    if (mode === "unrestricted") return !(closed && full && id === boi);
    if (id === boi) return !full;
    if (mode === "image-only") return codes[id] === 1 || id === eoi || (id === eos && (!first || (closed && full)));
    return !codes[id];
  };
  const masks: Uint8Array[] = [];
  const known = new Map<string, number>();
  const maskOf = (allows: (id: number) => boolean): number => {
    const mask = Uint8Array.from({ length: space.size }, (_, id) => (allows(id) ? 1 : 0));
    const key = mask.join("");
    if (!known.has(key)) known.set(key, masks.push(mask) - 1);
    return known.get(key)!;
  };
  const inside = maskOf((id) => codes[id] === 1);
  const end = maskOf((id) => id === eoi);
  const rest = [false, true].map((full) => [false, true].map((first) => maskOf((id) => outside(id, full, first))));
  const pictures = mode === "interleaved-text-image" || (closed && mode !== "text-only");
  const maskFor = (s: RowState): number => {
    if (pictures && s.inside) return inside;
    if (closed && mode !== "text-only" && s.complete) return end;
    return rest[Number(s.full)][Number(s.first)];
  };
  return { masks, maskFor, stops, picture, closed, space };
}

/** Packs one flag per id into 32-bit words. */
export function packMask(allowed: Uint8Array): Uint32Array {
  const words = new Uint32Array(Math.ceil(allowed.length / 32));
  for (let i = 0; i < allowed.length; i++) if (allowed[i]) words[i >> 5] |= 1 << (i & 31);
  return words;
}

/** Ids since the last begin mark at the end of a prompt; 2^32 - 1 where there is none, or an end mark has closed it. */
export function sinceBegin(prompt: Uint32Array, { space, closed }: Rules): number {
  const at = space ? prompt.lastIndexOf(space.boi) : -1;
  if (at < 0 || (closed && prompt.indexOf(space!.eoi, at) >= 0)) return 0xffffffff;
  return prompt.length - 1 - at;
}

/** The state before the first new id, with `room` ids still to fit. */
export function firstState(since: number, room: number, { picture }: Rules): RowState {
  return { inside: since < picture, complete: since === picture, full: room <= picture + 1, first: true };
}

/** Masks, the last one for rows that are done, as bits; and the words that kernels/advance reads. */
export function packRules(rules: Rules, size: number, padId: number): { masks: Uint32Array; words: Uint32Array } {
  const done = Uint8Array.from({ length: size }, (_, id) => (id === padId ? 1 : 0));
  const packed = [...rules.masks, done].map(packMask);
  const stops = new Uint8Array(size);
  for (const id of rules.stops) stops[id] = 1;
  const words = new Uint32Array(ruleWords + packed[0].length);
  for (let i = 0; i < 8; i++) words[i] = rules.maskFor({ inside: (i & 1) > 0, complete: (i & 2) > 0, full: (i & 4) > 0, first: false });
  words[8] = packed.length - 1;
  words.set(packMask(stops), ruleWords);
  return { masks: Uint32Array.from(packed.flatMap((m) => [...m])), words };
}
