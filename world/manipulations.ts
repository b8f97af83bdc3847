// Manipulated trajectories for the preference probe: the four of the paper (random action, random, copied and inverted observation), a plausible other
// action where the data names one, and further kinds: the opposite action, the same verb with another object, and targets that are mirrored, pasted from
// source and target, blurred, brighter, or taken from another time of the same video.
import type { Picture } from "../tokenizer/pixels.ts";
import { blendOnWhite, resizePicture } from "../tokenizer/pixels.ts";
import type { TripletRecord } from "./records.ts";

export const basicNegatives = ["action_random", "action_other", "target_random", "target_copy", "inverted"] as const;
export const furtherNegatives = [
  "action_opposite",
  "action_object",
  "target_mirrored",
  "target_pasted",
  "target_blurred",
  "target_bright",
  "target_distant",
] as const;
export const negatives = [...basicNegatives, ...furtherNegatives] as const;
export type Negative = (typeof negatives)[number];

/** A trajectory; `change`, where given, is done to the target picture before it is encoded. */
export interface Trajectory {
  readonly source: string;
  readonly target: string;
  readonly action: string;
  readonly change?: PictureChange;
}

export type PictureChange = "mirrored" | "pasted" | "blurred" | "bright";

/** The manipulations of record i; kinds that the data does not allow are left out. */
export function manipulations(records: readonly TripletRecord[], i: number): Partial<Record<Negative, Trajectory>> {
  const { source, target, action, meta } = records[i];
  const another = (differs: (o: TripletRecord) => boolean) => {
    for (let step = 1; step < records.length; step++) {
      const o = records[(i + step) % records.length];
      if (differs(o)) return o;
    }
    return undefined;
  };
  const said = (text: string | undefined) => (text === undefined ? undefined : { source, target, action: text });
  const seen = (path: string | undefined) => (path === undefined ? undefined : { source, target: path, action });
  const all: Record<Negative, Trajectory | undefined> = {
    action_random: said(another((o) => o.action !== action)?.action),
    action_other: said(meta?.other as string | undefined),
    target_random: seen(another((o) => o.target !== target)?.target),
    target_copy: seen(source),
    inverted: { source: target, target: source, action },
    action_opposite: said(oppositeAction(action)),
    action_object: said(
      anotherObject(
        action,
        records.map((r) => r.action),
      ),
    ),
    target_mirrored: { source, target, action, change: "mirrored" },
    target_pasted: { source, target, action, change: "pasted" },
    target_blurred: { source, target, action, change: "blurred" },
    target_bright: { source, target, action, change: "bright" },
    target_distant: seen(distantTarget(records, i)),
  };
  return Object.fromEntries(Object.entries(all).filter(([, t]) => t !== undefined));
}

const opposites =
  `left right, up down, above below, over under, into out-of, in out, open close, opening closing, opened closed, push pull, pushing pulling,
  put take, putting taking, lift lower, lifting lowering, raise lower, add remove, adding removing, pick drop, on off, before behind, in-front-of behind,
  forward backward, forwards backwards, toward away-from, towards away-from, bigger smaller, larger smaller, light dark, lighter darker, clockwise
  counterclockwise, enter leave, stand sit, fill empty, top bottom, more less, first last`
    .split(",")
    .map((pair) => pair.trim().split(/\s+/));
const oppositeOf = new Map(
  opposites.flatMap(([a, b]) => [[b, a] as const, [a, b] as const]).map(([a, b]) => [a.replaceAll("-", " "), b.replaceAll("-", " ")]),
);
const longest = [...oppositeOf.keys()].sort((a, b) => b.length - a.length);
const anyOpposite = new RegExp(`\\b(${longest.join("|")})\\b`, "i");

/** The action with its first word of direction or change turned into the opposite; undefined where it has none. */
export function oppositeAction(action: string): string | undefined {
  const found = anyOpposite.exec(action);
  if (!found) return undefined;
  const turned = oppositeOf.get(found[0].toLowerCase())!;
  const capital = found[0][0] !== found[0][0].toLowerCase();
  return (
    action.slice(0, found.index) +
    (capital ? turned[0].toUpperCase() + turned.slice(1) : turned) +
    action.slice(found.index + found[0].length)
  );
}

/** The action of the data with the same first word that shares most of its other words: the same verb with another object. */
export function anotherObject(action: string, actions: readonly string[]): string | undefined {
  const words = (text: string) => text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const [verb, ...rest] = words(action);
  let best: string | undefined;
  let most = -1;
  for (const other of actions) {
    const [otherVerb, ...others] = words(other);
    if (otherVerb !== verb || others.join(" ") === rest.join(" ")) continue;
    const shared = others.filter((w) => rest.includes(w)).length - Math.abs(others.length - rest.length);
    if (shared > most) [most, best] = [shared, other];
  }
  return best;
}

/** The target of the pair that lies farthest away in the same video. */
function distantTarget(records: readonly TripletRecord[], i: number): string | undefined {
  type Timed = TripletRecord & { readonly video?: string; readonly frames?: readonly [number, number] };
  const own = records[i] as Timed;
  if (!own.video || !own.frames) return undefined;
  const gap = (r: Timed) =>
    r.video === own.video && r.frames && r.target !== own.target && r.target !== own.source ? Math.abs(r.frames[1] - own.frames![1]) : 0;
  const far = (records as readonly Timed[]).reduce((best, r) => (gap(r) > gap(best) ? r : best), own);
  return gap(far) > 0 ? far.target : undefined;
}

/** Does a change to a target picture: mirrored left to right; its right half on the left half of the source; blurred to an eighth; 48 of 255 brighter. */
export function changedPicture(change: PictureChange, target: Picture, source: Picture): Picture {
  const { width, height, data } = blendOnWhite(target);
  const out = new Uint8Array(data.length);
  const each = (of: (at: number, x: number, y: number) => void) => {
    for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) of(3 * (y * width + x), x, y);
  };
  if (change === "mirrored") each((at, x, y) => out.set(data.subarray(3 * (y * width + width - 1 - x), 3 * (y * width + width - x)), at));
  else if (change === "bright") for (let i = 0; i < data.length; i++) out[i] = Math.min(255, data[i] + 48);
  else if (change === "pasted") {
    const before = resizePicture(blendOnWhite(source), width, height).data;
    each((at, x) => out.set((x < width / 2 ? before : data).subarray(at, at + 3), at));
  } else {
    const side = (n: number) => Math.max(1, Math.round(n / 8));
    return resizePicture(resizePicture({ width, height, data }, side(width), side(height)), width, height, 2);
  }
  return { width, height, data: out };
}
