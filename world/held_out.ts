// What held-out triplets say while a run trains: the mean loss over the tokens to be learned (without recognition weights, so that runs with and without
// compare), the share of them that are the likeliest, and a picture grid of source, action, target and what the model draws or says.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { Tape } from "../engine/tape.ts";
import { type Chameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import type { Picture } from "../tokenizer/pixels.ts";
import { collate, type Shape } from "../train/data.ts";
import { type ExampleSet, feedOf, shuffled } from "../train/order.ts";
import type { RunFolder } from "../train/run_folder.ts";
import { annotate } from "./cdm.ts";
import type { Codes } from "./codes.ts";
import { draw } from "./cwm.ts";
import { type ExampleOptions, tripletSet } from "./examples.ts";
import type { Model } from "./model.ts";
import { encodePng } from "./pictures.ts";
import type { TripletRecord } from "./records.ts";
import { sheet } from "./sheets.ts";

export interface HeldOutOptions {
  readonly records: readonly TripletRecord[];
  readonly examples: ExampleOptions;
  /** Examples that are scored at a time. */
  readonly batch: number;
  /** Triplets in the grid; 0: none. */
  readonly pictures: number;
  readonly onNotice?: (text: string) => void;
}

export interface HeldOut {
  readonly eval_loss: number;
  readonly eval_accuracy: number;
  readonly [name: string]: number;
}

/** What evaluates `model` as it stands whenever it is called with a step; grids go into the run folder. */
export async function heldOut(
  device: Device,
  model: Model,
  codes: Codes,
  run: RunFolder,
  o: HeldOutOptions,
): Promise<(step: number) => Promise<HeldOut>> {
  // Always the first wording, which the model is used with, and plain weights.
  const examples = { ...o.examples, templates: o.examples.templates.slice(0, 1), recognition: undefined };
  const score = await scorer(device, model.lm, tripletSet(model, codes, [{ records: o.records, factor: 1 }], examples), o);
  let drawing = o.pictures > 0;
  return async (step) => {
    const result = await score();
    if (!drawing) return result;
    try {
      const grid = await pictureGrid(device, model, codes, o.records.slice(0, o.pictures), examples);
      await run.picture(o.examples.role, step, encodePng(grid), grid);
    } catch (error) {
      if (!(error instanceof WorldlineError)) throw error;
      drawing = false;
      o.onNotice?.(`no picture grids: ${error.message}`);
    }
    return result;
  };
}

/** Loss and accuracy over a whole set, in its own order, by a plan that is made once. */
async function scorer(device: Device, lm: Chameleon, set: ExampleSet, o: HeldOutOptions): Promise<() => Promise<HeldOut>> {
  const all = set.entries(0).map((i) => set.make(i, 0));
  const batch = Math.min(o.batch, all.length);
  const { shapes } = feedOf(shuffled(all, 0), { batch, accumulate: 1, padId: lm.config.padId });
  const [shape] = shapes;
  const { plan, totals } = await lossPlan(device, lm, batch, shape);
  const none = { ids: new Uint32Array([lm.config.bosId]), weights: new Float32Array(1) };
  return async () => {
    let [loss, count, right] = [0, 0, 0];
    for (let i = 0; i < all.length; i += batch) {
      const part = all.slice(i, i + batch);
      while (part.length < batch) part.push(none);
      const b = collate(part, shape, lm.config.padId);
      plan.write("ids", b.ids).write("rows", b.rows).write("targets", b.targets).write("weights", b.weights).run();
      const [values] = await plan.read(totals);
      loss += values[0];
      count += values[2];
      right += values[3];
    }
    return { eval_loss: loss / count, eval_accuracy: right / count };
  };
}

async function lossPlan(device: Device, lm: Chameleon, batch: number, { T, scored }: Shape) {
  const tape = new Tape(device);
  const { ids, positions } = sequenceInputs(tape, batch, T);
  const R = batch * scored;
  const hidden = lm.forward(ids, positions, ropeFor(device, lm.config, T), selfAttention());
  const rows = tape.input("rows", [R], "u32");
  const { totals } = lm.loss(hidden, rows, tape.input("targets", [R], "u32"), tape.input("weights", [R]), { denominator: 1 });
  tape.keep(totals);
  const plan = await tape.plan();
  plan.write("positions", plainPositions(batch, T));
  return { plan, totals };
}

/** Source, action, target and the model's own, as the picture tokenizer gives them back. */
async function pictureGrid(device: Device, model: Model, codes: Codes, records: readonly TripletRecord[], o: ExampleOptions) {
  const { columns } = codes.get(records[0].source);
  const seen = (paths: readonly string[]) =>
    model.pictures.decode(
      paths.map((p) => codes.get(p).codes),
      columns,
    );
  const sources = await seen(records.map((r) => r.source));
  const targets = await seen(records.map((r) => r.target));
  const batch = records.length;
  const said: string[] = [];
  let drawn: (Picture | null)[] = records.map(() => null);
  const sampling = { temperature: o.role === "cdm" ? 0 : 0.7, seed: o.seed };
  if (o.role === "cdm") {
    const words = await annotate(device, model, codes, records, { sampling, maxTokens: 24, batch, template: o.templates[0] });
    said.push(...words.map((w) => w.action));
  } else {
    const found = await draw(device, model, codes, records, { sampling, candidates: 1, batch, template: o.templates[0] });
    drawn = await model.pictures.decode(
      found.map((d) => d.codes[0]),
      columns,
    );
  }
  const scale = Math.max(1, Math.floor(160 / sources[0].width));
  const rows = records.map((r, i) => {
    const own = drawn[i];
    const cells = [
      { picture: sources[i], caption: r.action },
      { picture: targets[i], caption: said[i] === undefined ? "" : `said: ${said[i]}` },
    ];
    return { cells: own ? [...cells, own] : cells };
  });
  return sheet({ columns: o.role === "cdm" ? ["source", "target"] : ["source", "target", "predicted"], rows, scale });
}
