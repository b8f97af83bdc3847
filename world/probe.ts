// The trajectory preference probe (paper section 2): how often a model gives the real trajectory a higher likelihood than a manipulated one, in both
// directions: "image" scores p(target | source, action), "action" scores p(action | source, target). 50% is chance.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { type Score, type Scored, Scorer } from "../models/score.ts";
import { layoutTemplate, lossWeights } from "../tokenizer/prompt.ts";
import type { CodeStore, Progress } from "./codes.ts";
import { basicNegatives, changedPicture, manipulations, type Negative, type Trajectory } from "./manipulations.ts";
import { type Model, promptOf } from "./model.ts";
import { readPicture } from "./pictures.ts";
import type { TripletRecord } from "./records.ts";

export * from "./manipulations.ts";

export type Direction = "image" | "action";

/** One comparison: mean and summed log-probabilities of the real and the manipulated trajectory. */
export interface ProbeItem {
  readonly id: string;
  readonly kind: `${Direction}.${Negative}`;
  readonly real: number;
  readonly manipulated: number;
  readonly real_sum: number;
  readonly manipulated_sum: number;
}

export interface ProbeOptions {
  readonly batch: number;
  /** Kinds of manipulation (default: the paper's four and the plausible other action). */
  readonly kinds?: readonly Negative[];
  readonly onProgress?: Progress;
  readonly signal?: AbortSignal;
}

/** Runs the probe in the given directions. */
export async function probe(
  device: Device,
  model: Model,
  codes: CodeStore,
  records: readonly TripletRecord[],
  directions: readonly Direction[],
  options: ProbeOptions,
): Promise<ProbeItem[]> {
  if (records.length === 0) throw new WorldlineError("probe: there are no records; give at least one");
  const { kinds = basicNegatives } = options;
  const chosen = records.map((_, i) =>
    Object.entries(manipulations(records, i)).filter(([kind]) => (kinds as readonly string[]).includes(kind)),
  );
  const changed = await changedCodes(
    model,
    chosen.flatMap((list) => list.map(([, t]) => t)),
    options.signal,
  );
  const items: ProbeItem[] = [];
  for (const direction of directions) {
    const sequence = (t: Trajectory): Scored => {
      const values = {
        source: codes.get(t.source).codes,
        target: changed.get(changeName(t)) ?? codes.get(t.target).codes,
        action: t.action,
      };
      const l =
        direction === "image"
          ? layoutTemplate(promptOf(model, "cwm"), values, model, { closeTarget: false, end: "none" })
          : layoutTemplate(promptOf(model, "cdm"), values, model);
      return { ids: l.ids, weights: lossWeights(l) };
    };
    const rows: { id: string; record: number; negative: Negative | "real"; scored: Scored }[] = [];
    records.forEach((r, i) => {
      rows.push({ id: r.id, record: i, negative: "real", scored: sequence(r) });
      for (const [negative, t] of chosen[i]) rows.push({ id: r.id, record: i, negative: negative as Negative, scored: sequence(t) });
    });
    const scores = await scoreAll(
      device,
      model,
      rows.map((r) => r.scored),
      options,
    );
    const real = new Map(rows.flatMap((r, i) => (r.negative === "real" ? [[r.record, scores[i]] as const] : [])));
    rows.forEach((r, i) => {
      if (r.negative === "real") return;
      const [a, b] = [real.get(r.record)!, scores[i]];
      const kind = `${direction}.${r.negative}` as const;
      items.push({ id: r.id, kind, real: a.mean, manipulated: b.mean, real_sum: a.sum, manipulated_sum: b.sum });
    });
  }
  return items;
}

const changeName = ({ source, target, change }: Trajectory): string => (change ? `${change}\n${source}\n${target}` : "");

/** Codes of the target pictures that are changed before they are encoded, by changeName. */
async function changedCodes(model: Model, trajectories: readonly Trajectory[], signal?: AbortSignal): Promise<Map<string, Uint32Array>> {
  const wanted = [...new Map(trajectories.flatMap((t) => (t.change ? [[changeName(t), t] as const] : []))).entries()];
  const out = new Map<string, Uint32Array>();
  for (let i = 0; i < wanted.length; i += model.pictures.batch) {
    signal?.throwIfAborted();
    const part = wanted.slice(i, i + model.pictures.batch);
    const pictures = await Promise.all(
      part.map(async ([, t]) => changedPicture(t.change!, await readPicture(t.target), await readPicture(t.source))),
    );
    const encoded = await model.pictures.encode(pictures);
    for (const [n, [name]] of part.entries()) out.set(name, encoded[n].codes);
  }
  return out;
}

async function scoreAll(device: Device, model: Model, all: readonly Scored[], options: ProbeOptions): Promise<Score[]> {
  const counted = (s: Scored) => s.weights.reduce((a, w) => a + (w !== 0 ? 1 : 0), 0);
  const most = (of: (s: Scored) => number) => all.reduce((a, s) => Math.max(a, of(s)), 0);
  const tokens = most((s) => s.ids.length);
  const scorer = await Scorer.make(device, model.lm, {
    prompts: options.batch,
    branches: 1,
    prefixTokens: 0,
    tokens,
    scored: most(counted),
  });
  const out: Score[] = [];
  for (let i = 0; i < all.length; i += options.batch) {
    options.signal?.throwIfAborted();
    const part = all.slice(i, i + options.batch).map((s) => ({ candidates: [s] }));
    for (const [score] of await scorer.run(part)) out.push(score);
    options.onProgress?.(out.length, all.length);
  }
  scorer.destroy();
  return out;
}
