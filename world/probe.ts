// The trajectory preference probe (paper section 2): how often a model gives the real trajectory a higher likelihood than a manipulated one, in both
// directions: "image" scores p(target | source, action), "action" scores p(action | source, target). 50% is chance.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { type Scored, Scorer } from "../models/score.ts";
import { layoutTemplate, lossWeights } from "../tokenizer/prompt.ts";
import type { CodeStore, Progress } from "./codes.ts";
import { type Model, promptOf } from "./model.ts";
import type { TripletRecord } from "./records.ts";

export type Direction = "image" | "action";
export const negatives = ["action_random", "action_other", "target_random", "target_copy", "inverted"] as const;
export type Negative = (typeof negatives)[number];

/** One comparison: mean log-probabilities of the real and the manipulated trajectory. */
export interface ProbeItem {
  readonly id: string;
  readonly kind: `${Direction}.${Negative}`;
  readonly real: number;
  readonly manipulated: number;
}

interface Trajectory {
  readonly source: string;
  readonly target: string;
  readonly action: string;
}

/** The manipulations of record i; `other` is a plausible action that does not explain the target, where the data names one. */
export function manipulations(records: readonly TripletRecord[], i: number): Partial<Record<Negative, Trajectory>> {
  const r = records[i];
  const another = (differs: (o: TripletRecord) => boolean) => {
    for (let step = 1; step < records.length; step++) {
      const o = records[(i + step) % records.length];
      if (differs(o)) return o;
    }
    return undefined;
  };
  const { source, target, action } = r;
  const other = r.meta?.other as string | undefined;
  const stranger = another((o) => o.action !== action);
  const elsewhere = another((o) => o.target !== target);
  return {
    ...(stranger && { action_random: { source, target, action: stranger.action } }),
    ...(other !== undefined && { action_other: { source, target, action: other } }),
    ...(elsewhere && { target_random: { source, target: elsewhere.target, action } }),
    target_copy: { source, target: source, action },
    inverted: { source: target, target: source, action },
  };
}

/** Runs the probe in the given directions. */
export async function probe(
  device: Device,
  model: Model,
  codes: CodeStore,
  records: readonly TripletRecord[],
  directions: readonly Direction[],
  options: { batch: number; onProgress?: Progress; signal?: AbortSignal },
): Promise<ProbeItem[]> {
  if (records.length === 0) throw new WorldlineError("probe: there are no records; give at least one");
  const items: ProbeItem[] = [];
  for (const direction of directions) {
    const sequence = (t: Trajectory): Scored => {
      const values = { source: codes.get(t.source).codes, target: codes.get(t.target).codes, action: t.action };
      const l =
        direction === "image"
          ? layoutTemplate(promptOf(model, "cwm"), values, model, { closeTarget: false, end: "none" })
          : layoutTemplate(promptOf(model, "cdm"), values, model);
      return { ids: l.ids, weights: lossWeights(l) };
    };
    const rows: { id: string; negative: Negative | "real"; scored: Scored }[] = [];
    records.forEach((r, i) => {
      rows.push({ id: r.id, negative: "real", scored: sequence(r) });
      for (const [negative, t] of Object.entries(manipulations(records, i)))
        rows.push({ id: r.id, negative: negative as Negative, scored: sequence(t) });
    });
    const scores = await scoreAll(
      device,
      model,
      rows.map((r) => r.scored),
      options,
    );
    const real = new Map(rows.flatMap((r, i) => (r.negative === "real" ? [[r.id, scores[i]] as const] : [])));
    rows.forEach((r, i) => {
      if (r.negative !== "real")
        items.push({ id: r.id, kind: `${direction}.${r.negative}`, real: real.get(r.id)!, manipulated: scores[i] });
    });
  }
  return items;
}

async function scoreAll(
  device: Device,
  model: Model,
  all: readonly Scored[],
  options: { batch: number; onProgress?: Progress; signal?: AbortSignal },
): Promise<number[]> {
  const counted = (s: Scored) => s.weights.reduce((a, w) => a + (w !== 0 ? 1 : 0), 0);
  const tokens = Math.max(...all.map((s) => s.ids.length));
  const scorer = await Scorer.make(device, model.lm, {
    prompts: options.batch,
    branches: 1,
    prefixTokens: 0,
    tokens,
    scored: Math.max(...all.map(counted)),
  });
  const out: number[] = [];
  for (let i = 0; i < all.length; i += options.batch) {
    options.signal?.throwIfAborted();
    const part = all.slice(i, i + options.batch).map((s) => ({ candidates: [s] }));
    for (const [score] of await scorer.run(part)) out.push(score.mean);
    options.onProgress?.(out.length, all.length);
  }
  scorer.destroy();
  return out;
}
