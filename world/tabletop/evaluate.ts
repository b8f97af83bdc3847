// Judging models on the embedded world with its exact oracle: drawn pictures (edit done, nothing else changed) and said actions (exact, valid).
import { WorldlineError } from "../../engine/errors.ts";
import type { PictureCoder } from "../../tokenizer/image.ts";
import type { Picture } from "../../tokenizer/pixels.ts";
import type { Prediction } from "../predictions.ts";
import type { TripletRecord } from "../records.ts";
import { type Rate, rate, rateOf } from "../report.ts";
import { parseAction } from "./actions.ts";
import { metaOf } from "./dataset.ts";
import { explains, judge, parse, type Verdict } from "./oracle.ts";
import { kindsOf, type Tabletop } from "./world.ts";

/** The oracle's verdict on a picture drawn for a record. */
export function verdictOn(world: Tabletop, record: TripletRecord, picture: Picture): Verdict {
  const meta = metaOf(record);
  if (!meta?.before) throw new WorldlineError(`${record.id} has no true scene; the oracle judges records of the tabletop world only`);
  return judge(world, parseAction(world, record.action), meta.before, parse(world, picture).kinds);
}

/** Decodes every candidate of predictions (all of one size and number) and judges each: [record][candidate]. */
export async function judgePredictions(
  world: Tabletop,
  coder: Pick<PictureCoder, "decode">,
  records: readonly TripletRecord[],
  predictions: readonly Prediction[],
): Promise<{ pictures: Picture[][]; verdicts: Verdict[][] }> {
  const { candidates, columns } = predictions[0];
  const flat = await coder.decode(
    predictions.flatMap((p) => p.candidates),
    columns,
  );
  const pictures = predictions.map((_, i) => flat.slice(i * candidates.length, (i + 1) * candidates.length));
  return { pictures, verdicts: records.map((r, i) => pictures[i].map((picture) => verdictOn(world, r, picture))) };
}

/** How a system did over a test set: success, edit done, nothing else changed, and success by family. */
export interface SystemRates {
  readonly success: Rate;
  readonly done: Rate;
  readonly minimal: Rate;
  readonly families: Record<string, Rate>;
}

/** Rates over items; each item may have several verdicts (samples), whose mean counts once. */
export function systemRates(records: readonly TripletRecord[], verdicts: readonly (readonly Verdict[])[]): SystemRates {
  const mean = (list: readonly Verdict[], key: keyof Verdict) => list.reduce((a, v) => a + (v[key] ? 1 : 0), 0) / list.length;
  const over = (key: keyof Verdict, only?: string) =>
    rateOf(verdicts.filter((_, i) => !only || records[i].family === only).map((v) => mean(v, key)));
  const families = [...new Set(records.map((r) => r.family ?? "all"))].sort();
  return {
    success: over("success"),
    done: over("done"),
    minimal: over("minimal"),
    families: Object.fromEntries(families.map((f) => [f, over("success", f)])),
  };
}

/** How a dynamics model did: the very sentence, and any sentence that is true and minimal for the true pair. */
export interface ActionRates {
  readonly exact: Rate;
  readonly valid: Rate;
  readonly families: Record<string, Rate>;
}

/** Judges actions said for records. */
export function actionRates(world: Tabletop, records: readonly TripletRecord[], said: readonly string[]): ActionRates {
  const valid = records.map((r, i) => isValid(world, r, said[i]));
  const exact = records.filter((r, i) => r.action === said[i].trim()).length;
  const families = [...new Set(records.map((r) => r.family ?? "all"))].sort();
  const of = (f: string) => valid.filter((_, i) => (records[i].family ?? "all") === f);
  const share = (list: boolean[]) => rate(list.filter(Boolean).length, list.length);
  return { exact: rate(exact, records.length), valid: share(valid), families: Object.fromEntries(families.map((f) => [f, share(of(f))])) };
}

/** Whether a sentence is legal, true and minimal for the record's true pair. */
export function isValid(world: Tabletop, record: { readonly id: string; readonly meta?: unknown }, text: string): boolean {
  const { before, after } = metaOf(record);
  return explains(world, text.trim(), before, after);
}

/** Share of true targets that the oracle misjudges after the picture tokenizer, and share of cells it misreads. */
export function oracleError(
  world: Tabletop,
  records: readonly TripletRecord[],
  reconstructions: readonly Picture[],
): { verdicts: Rate; cells: Rate } {
  let wrong = 0;
  let misread = 0;
  let cells = 0;
  records.forEach((r, i) => {
    const read = parse(world, reconstructions[i]).kinds;
    const { before, after } = metaOf(r);
    const truth = kindsOf(after);
    truth.forEach((kind, c) => {
      if (kind !== read[c]) misread++;
    });
    cells += truth.length;
    if (!judge(world, parseAction(world, r.action), before, read).success) wrong++;
  });
  return { verdicts: rate(wrong, records.length), cells: rate(misread, cells) };
}
