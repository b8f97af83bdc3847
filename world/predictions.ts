// Predictions of a world model over records: candidates as codes with the dynamics model's scores, one JSON line each.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import type { Codes, Progress } from "./codes.ts";
import { draw } from "./cwm.ts";
import type { Model } from "./model.ts";
import { writePng } from "./pictures.ts";
import { type TripletRecord, writeText } from "./records.ts";
import { bestOf, verify } from "./verify.ts";

export interface Prediction {
  readonly id: string;
  readonly action: string;
  readonly columns: number;
  readonly candidates: readonly (readonly number[])[];
  /** Mean log p(action | source, candidate) under the dynamics model; empty without one. */
  readonly scores: readonly number[];
  readonly best: number;
}

export interface PredictOptions {
  readonly candidates: number;
  readonly temperature: number;
  readonly topP?: number;
  readonly seed: number;
  readonly batch: number;
  /** Where the first record stands in a longer list (0 where absent), so that a part draws what the whole would. */
  readonly first?: number;
  readonly onProgress?: Progress;
  readonly signal?: AbortSignal;
}

/** Draws candidates for every record and, given a dynamics model, scores them and picks the best. */
export async function predict(
  device: Device,
  world: Model,
  dynamics: Model | undefined,
  codes: Codes,
  records: readonly TripletRecord[],
  o: PredictOptions,
): Promise<Prediction[]> {
  const sampling = { temperature: o.temperature, topP: o.topP, seed: o.seed };
  const drawn = await draw(device, world, codes, records, {
    sampling,
    candidates: o.candidates,
    batch: o.batch,
    first: o.first,
    onProgress: o.onProgress,
    signal: o.signal,
  });
  const scores = dynamics
    ? await verify(device, dynamics, codes, records, drawn, { batch: o.batch, signal: o.signal })
    : drawn.map(() => []);
  return records.map((r, i) => ({
    id: r.id,
    action: r.action,
    columns: drawn[i].columns,
    candidates: drawn[i].codes.map((c) => [...c]),
    scores: scores[i],
    best: scores[i].length ? bestOf(scores[i]) : 0,
  }));
}

/** One step of a chain: its prediction and the codes it started from. */
export interface ChainStep {
  readonly action: string;
  readonly before: Uint32Array;
  readonly prediction: Prediction;
}

/** Several actions one after another, each on the best result of the last; results are handed on as codes, so nothing is lost between steps. */
export async function predictChain(
  device: Device,
  world: Model,
  dynamics: Model | undefined,
  codes: Codes,
  source: string,
  actions: readonly string[],
  o: PredictOptions,
): Promise<ChainStep[]> {
  const steps: ChainStep[] = [];
  let now = codes.get(source);
  for (const [i, action] of actions.entries()) {
    const before = now;
    const record = { id: `step-${i + 1}`, source, target: source, action };
    const options = { ...o, seed: o.seed + i, batch: 1, onProgress: undefined };
    const [prediction] = await predict(device, world, dynamics, { get: () => before }, [record], options);
    steps.push({ action, before: before.codes, prediction });
    now = { ...before, codes: Uint32Array.from(prediction.candidates[prediction.best]) };
    o.onProgress?.(i + 1, actions.length);
  }
  return steps;
}

/** Throws where an id cannot be a picture's path below a folder, as "clip/10-20" can. */
export function checkPictureIds(records: readonly { readonly id: string }[]): void {
  const fits = (part: string) => /^[\p{L}\p{M}\p{N}_. -]+$/u.test(part) && !/^\.+$/.test(part);
  for (const { id } of records)
    if (!id.split("/").every(fits))
      throw new WorldlineError(`the id "${id}" cannot be a file's name; use letters, digits, dots and dashes`);
}

/** Writes the best picture of each prediction as <folder>/<id>.png. */
export async function writeBestPictures(folder: string, model: Pick<Model, "pictures">, predictions: readonly Prediction[]): Promise<void> {
  checkPictureIds(predictions);
  for (const p of predictions) {
    const [picture] = await model.pictures.decode([p.candidates[p.best]], p.columns);
    await writePng(join(folder, `${p.id}.png`), picture);
  }
}

/** Writes predictions as JSON lines. */
export function writePredictions(path: string, predictions: readonly Prediction[]): Promise<void> {
  return writeText(path, predictions.map((p) => JSON.stringify(p)).join("\n") + "\n");
}

/** Reads predictions back. */
export async function readPredictions(path: string): Promise<Prediction[]> {
  const text = await readFile(path, "utf8").catch(() => {
    throw new WorldlineError(`${path} cannot be read; make predictions with \`worldline edit --data\` first`);
  });
  return text
    .split("\n")
    .filter(Boolean)
    .map((line, i) => {
      try {
        return JSON.parse(line) as Prediction;
      } catch {
        throw new WorldlineError(`${path}:${i + 1} is no JSON; each line must be one prediction`);
      }
    });
}
