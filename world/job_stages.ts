// What a worker does with a shard: the stage's own function over the shard's inputs. A process opens one device and each model once, at the first shard.
import { rm } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { modelFolder } from "../weights/hub.ts";
import { AnswerStore } from "./answers.ts";
import { copySystem, folderSystem, measureSystems } from "./bench.ts";
import { type Answer, annotate, defaultAnnotate } from "./cdm.ts";
import { CodeStore, type Progress } from "./codes.ts";
import { flowMeasure } from "./flow_motion.ts";
import { keyFramesOf } from "./frames.ts";
import {
  isDone,
  type Manifest,
  modelsKey,
  partialPath,
  type Shard,
  shardId,
  type VideoInput,
  type Work,
  writeShard,
} from "./job_manifest.ts";
import { clipFiles, modelFiles, openClip, openDino } from "./metrics/onnx_pictures.ts";
import { type LoadOptions, loadModel } from "./model.ts";
import { pictureMetrics } from "./model_metrics.ts";
import { type Prediction, predict, writeBestPictures } from "./predictions.ts";
import type { PairRecord, TripletRecord } from "./records.ts";

/** Does one shard's inputs; gives the lines of its file. */
type Stage = (shard: Shard, how: { onProgress?: Progress; signal?: AbortSignal }) => Promise<unknown[]>;

/** A worker: does shards and writes their files. */
export class ShardRunner {
  private readonly out: string;
  private readonly manifest: Manifest;
  private readonly loading: LoadOptions;
  private stage: Promise<Stage> | undefined;

  constructor(out: string, manifest: Manifest, loading: LoadOptions = {}) {
    this.out = out;
    this.manifest = manifest;
    this.loading = loading;
  }

  /** Does a shard unless its file is there; resolves to whether it had to. Throws where models or inputs are not those the shard was named by. */
  async run(shard: Shard, how: { onProgress?: Progress; signal?: AbortSignal } = {}): Promise<boolean> {
    if (isDone(this.out, shard.id)) return false;
    const { work, models } = this.manifest;
    this.stage ??= this.open();
    const stage = await this.stage.catch((error: unknown) => {
      this.stage = undefined;
      throw error;
    });
    if ((await shardId(work, models, shard.first, shard.inputs)) !== shard.id)
      throw new WorldlineError(`inputs of the shard ${shard.id.slice(0, 8)} changed since it was submitted; submit the work again`);
    how.signal?.throwIfAborted();
    await writeShard(this.out, shard.id, await stage(shard, how));
    await rm(partialPath(this.out, shard.id), { recursive: true, force: true });
    return true;
  }

  private async open(): Promise<Stage> {
    const { work, models } = this.manifest;
    if ((await modelsKey(work)) !== models)
      throw new WorldlineError("the models here are not those the work was submitted with; submit it again, or bring the same files");
    if (work.stage === "frames") return framesStage(work, this.out);
    if (work.stage === "eval") return evalStage(work, this.out, this.loading);
    return modelStage(work, models, this.out, this.loading);
  }
}

type Of<Name extends Work["stage"]> = Extract<Work, { stage: Name }>;

async function framesStage(work: Of<"frames">, out: string): Promise<Stage> {
  const { key_frames: keyFrames, size, count, spacing, square, fps, classes } = work;
  const measure = work.measure === "flow" && keyFrames === "motion" ? flowMeasure(await openDevice()).measure : undefined;
  const options = { keyFrames, count, spacing, square, fps, classes, size: size === "native" ? undefined : size, measure };
  return async (shard, { onProgress, signal }) => {
    const inputs = shard.inputs as readonly VideoInput[];
    const [videos, names] = [inputs.map((i) => i.video), inputs.map((i) => i.name)];
    const watch = { signal, onProgress: (p: { done: number; total: number }) => onProgress?.(p.done, p.total) };
    const { report, pairs } = await keyFramesOf(videos, names, out, options, watch);
    return [...pairs.map(placed(out)), ...report.failed.map(({ video, reason }) => ({ failed: reason, video }))];
  };
}

async function evalStage(work: Of<"eval">, out: string, loading: LoadOptions): Promise<Stage> {
  const systems = [copySystem, ...Object.entries(work.systems).map(([name, folder]) => folderSystem(name, folder))];
  const { model, clip, dino } = work;
  const metrics = await pictureMetrics({
    tokens: model ? await loadModel(await openDevice(), await modelFolder(model), loading) : undefined,
    clip: clip ? await openClip(await modelFolder(clip, { weights: clipFiles })) : undefined,
    dino: dino ? await openDino(await modelFolder(dino, { weights: modelFiles })) : undefined,
  });
  return async ({ id, inputs }, how) =>
    measureSystems(inputs as readonly TripletRecord[], systems, partialPath(out, id), { metrics, ...how });
}

/** Annotation and drawing keep what is done of a shard batch by batch, so that a shard which was interrupted goes on. */
async function modelStage(work: Of<"annotate"> | Of<"edit">, models: string, out: string, loading: LoadOptions): Promise<Stage> {
  const device = await openDevice();
  const storage = { ...loading, dtype: work.dtype, groupSize: work.group_size };
  const model = await loadModel(device, await modelFolder(work.stage === "edit" ? work.cwm : work.cdm), storage);
  const codes = await CodeStore.open(device, model, undefined, false);
  const { temperature, seed } = work;
  if (work.stage === "annotate") {
    const batch = Math.min(work.shard, defaultAnnotate.batch);
    return async ({ id, inputs }, how) => {
      const pairs = inputs as readonly PairRecord[];
      await codes.add(
        pairs.flatMap((p) => [p.source, p.target]),
        { signal: how.signal },
      );
      const answers = await AnswerStore.open<Answer>(join(partialPath(out, id), "answers.jsonl"));
      const options = { sampling: { temperature, seed }, maxTokens: work.max_tokens, batch, answers, modelName: models, ...how };
      return (await annotate(device, model, codes, pairs, options)).map(placed(out));
    };
  }
  const dynamics = work.cdm ? await loadModel(device, await modelFolder(work.cdm), { ...storage, beside: model }) : undefined;
  return async ({ id, first, inputs }, how) => {
    const records = inputs as readonly TripletRecord[];
    await codes.add(
      records.map((r) => r.source),
      { signal: how.signal },
    );
    const { candidates, top_p: topP } = work;
    const batch = Math.min(work.shard, 16);
    const options = { candidates, temperature, topP, seed, batch, signal: how.signal };
    const drawn = await AnswerStore.open<Prediction>(join(partialPath(out, id), "predictions.jsonl"));
    how.onProgress?.(drawn.size, records.length);
    for (let at = 0; at < records.length; at += batch) {
      const part = records.slice(at, at + batch);
      if (part.every((r) => drawn.get(r.id))) continue;
      const fresh = await predict(device, model, dynamics, codes, part, { ...options, first: first + at });
      await drawn.add(fresh.map((p) => [p.id, p]));
      how.onProgress?.(drawn.size, records.length);
    }
    const all = records.map((r) => drawn.get(r.id)!);
    if (work.pictures) await writeBestPictures(join(out, "pictures"), model, all);
    return all;
  };
}

/** A record with picture paths relative to the folder that its final file lies in. */
function placed(out: string): (record: PairRecord) => PairRecord {
  const place = (p: string) => relative(resolve(out), resolve(p));
  return (record) => ({ ...record, source: place(record.source), target: place(record.target) });
}
