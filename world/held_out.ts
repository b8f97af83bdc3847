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
  readonly onGrid?: (step: number, rows: readonly GridRow[]) => void;
  readonly onNotice?: (text: string) => void;
}

/** A row of the picture grid: source and target as the picture tokenizer gives them back, and what the model draws or, as a dynamics model, says. */
export interface GridRow {
  readonly record: TripletRecord;
  readonly source: Picture;
  readonly target: Picture;
  readonly drawn?: Picture;
  readonly said?: string;
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
      const rows = await gridRows(device, model, codes, o.records.slice(0, o.pictures), examples);
      const grid = gridSheet(rows);
      await run.picture(o.examples.role, step, encodePng(grid), grid);
      o.onGrid?.(step, rows);
    } catch (error) {
      if (!(error instanceof WorldlineError)) throw error;
      drawing = false;
      o.onNotice?.(`no picture grids: ${error.message}`);
    } finally {
      // Training needs the memory.
      await model.pictures.release();
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

async function gridRows(
  device: Device,
  model: Model,
  codes: Codes,
  records: readonly TripletRecord[],
  o: ExampleOptions,
): Promise<GridRow[]> {
  const { columns } = codes.get(records[0].source);
  const seen = (list: readonly Uint32Array[]) => model.pictures.decode(list, columns);
  const sources = await seen(records.map((r) => codes.get(r.source).codes));
  const targets = await seen(records.map((r) => codes.get(r.target).codes));
  const how = { batch: records.length, template: o.templates[0] };
  const row = (i: number) => ({ record: records[i], source: sources[i], target: targets[i] });
  if (o.role === "cdm") {
    const words = await annotate(device, model, codes, records, { ...how, sampling: { temperature: 0, seed: o.seed }, maxTokens: 24 });
    return words.map((w, i) => ({ ...row(i), said: w.action }));
  }
  const found = await draw(device, model, codes, records, { ...how, sampling: { temperature: 0.7, seed: o.seed }, candidates: 1 });
  const drawn = await seen(found.map((d) => d.codes[0]));
  return drawn.map((picture, i) => ({ ...row(i), drawn: picture }));
}

/** The rows as one picture. */
function gridSheet(rows: readonly GridRow[]) {
  const scale = Math.max(1, Math.floor(160 / rows[0].source.width));
  const cells = ({ record, source, target, drawn, said }: GridRow) => [
    { picture: source, caption: record.action },
    { picture: target, caption: said === undefined ? "" : `said: ${said}` },
    ...(drawn ? [drawn] : []),
  ];
  const columns = ["source", "target", ...(rows[0].drawn ? ["predicted"] : [])];
  return sheet({ columns, rows: rows.map((row) => ({ cells: cells(row) })), scale });
}
