// The whole method on the embedded world, stage by stage, on files: data, key frames, CDM, annotation, filter, world models with and without
// synthetic pairs and weights, candidates with verification, probe, and the numbers of the report. Each stage is what the command of the same
// name does; a rerun goes on where the last one stopped.

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../engine/device.ts";
import { matmulCeiling } from "../../train/ceiling.ts";
import type { TrainOptions, TrainRecord } from "../../train/loop.ts";
import { modelKey } from "../answers.ts";
import { annotate, defaultAnnotate } from "../cdm.ts";
import { CodeStore, type Progress } from "../codes.ts";
import { filterRecords } from "../filter.ts";
import { allRead, extractKeyFrames } from "../frames.ts";
import { loadModel, type Model } from "../model.ts";
import { predict, readPredictions, writePredictions } from "../predictions.ts";
import { type ProbeItem, probe } from "../probe.ts";
import { type AnnotatedRecord, type PairRecord, readRecords, type TripletRecord, writeRecords } from "../records.ts";
import { Stages } from "../stages.ts";
import { type Role, type RoleResult, trainRole } from "../train_role.ts";
import { writeClips } from "./clip_files.ts";
import { writeTriplets } from "./dataset.ts";
import type { DemoSettings, Preset } from "./presets.ts";

/** The world models that are trained: which data, and whether the loss is weighted. */
export const variants = {
  ft: { synthetic: false, weighted: false },
  ft_weighted: { synthetic: false, weighted: true },
  ft_synthetic: { synthetic: true, weighted: false },
  cwm: { synthetic: true, weighted: true },
} as const;
export type VariantName = keyof typeof variants;

export interface DemoHooks {
  readonly say: (text: string) => void;
  readonly progress: (label: string) => Progress;
  readonly signal?: AbortSignal;
}

const lastStage = "ceiling";

/** One seed's run: folders and what they hold. */
export interface SeedRun {
  readonly seed: number;
  readonly stages: Stages;
  readonly names: readonly VariantName[];
}

export interface DemoContext {
  readonly device: Device;
  readonly preset: Preset;
  readonly base: string;
  readonly hooks: DemoHooks;
}

/** Runs every stage of one seed in `folder`. */
export async function runSeed(c: DemoContext, folder: string, seed: number): Promise<SeedRun> {
  const { demo } = c.preset;
  const stages = await Stages.open(
    folder,
    { seed, demo, world: c.preset.world, base: await modelKey(c.base) },
    { say: c.hooks.say, now: () => performance.now() },
  );
  const names = (Object.keys(variants) as VariantName[]).filter((name) => demo.ablations || name === "ft" || name === "cwm");
  const run = { seed, stages, names };
  await makeData(c, run);
  const base = await loadModel(c.device, c.base);
  const codes = await CodeStore.open(c.device, base, stages.path("codes.safetensors"));
  const shared = () => Promise.resolve(codes);
  const encode = async () => {
    const sets = [await triplets(run, "labels"), await triplets(run, "test"), await readRecords(stages.path("frames", "pairs.jsonl"))];
    const paths = sets.flat().flatMap((r) => [r.source, r.target]);
    await codes.add(paths, { onProgress: c.hooks.progress("encoding"), signal: c.hooks.signal });
  };
  await stages.run("encode", "encoding pictures", encode);
  // A run that goes on finds the codes in the cache by the pictures' bytes.
  if (stages.seconds[lastStage] === undefined) await encode();
  await stages.run("train_cdm", "fine-tuning the dynamics model on the labelled triplets", () =>
    fineTune(c, run, shared, "cdm", "cdm", demo.cdm),
  );
  await label(c, run, base, codes);
  for (const name of names) {
    await stages.run(`train_${name}`, `fine-tuning the world model ${name}`, () =>
      fineTune(c, run, shared, name, name === "ft" ? "cft" : "cwm", demo.cwm),
    );
  }
  await drawAll(c, run, base, codes);
  await stages.run("probe", "probing preferences of base and tuned models", () => probeAll(c, run, base, codes));
  await stages.run(lastStage, "measuring the matmul ceiling", async () => stages.save("ceiling.json", await matmulCeiling(c.device)));
  return run;
}

/** The triplets of a set of this run. */
export function triplets(run: SeedRun, name: "labels" | "test"): Promise<TripletRecord[]> {
  return readRecords<TripletRecord>(run.stages.path("data", `${name}.jsonl`), ["action"]);
}

async function makeData(c: DemoContext, { stages, seed }: SeedRun): Promise<void> {
  const { world, demo } = c.preset;
  const { progress, signal } = c.hooks;
  await stages.run("data", `making ${demo.labels} labelled triplets, ${demo.test} for testing, and ${demo.clips} clips`, async () => {
    await mkdir(stages.path("data"), { recursive: true });
    await writeTriplets(world, stages.path("data"), { name: "labels", count: demo.labels, seed, onProgress: progress("labels"), signal });
    await writeTriplets(world, stages.path("data"), {
      name: "test",
      count: demo.test,
      seed: demo.testSeed,
      onProgress: progress("test"),
      signal,
    });
    await writeClips(world, stages.path("clips"), {
      count: demo.clips,
      seed,
      actions: [...demo.clipActions],
      onProgress: progress("clips"),
      signal,
    });
  });
  await stages.run("frames", "picking key frames of the unlabelled clips", async () => {
    const videos = await clipFiles(stages.path("clips"));
    const show = progress("key frames");
    allRead(
      await extractKeyFrames(videos, stages.path("frames"), { keyFrames: "rest" }, { onProgress: (p) => show(p.done, p.total), signal }),
    );
  });
}

async function clipFiles(folder: string): Promise<string[]> {
  const { readdir } = await import("node:fs/promises");
  const names = (await readdir(folder)).filter((n) => !n.endsWith(".jsonl") && !n.endsWith(".json"));
  return names.sort().map((n) => join(folder, n));
}

async function fineTune(
  c: DemoContext,
  run: SeedRun,
  codes: () => Promise<CodeStore>,
  name: "cdm" | VariantName,
  role: Role,
  training: TrainOptions,
): Promise<void> {
  const { demo } = c.preset;
  const { synthetic, weighted } = name === "cdm" ? { synthetic: false, weighted: false } : variants[name];
  const kept = synthetic ? await readRecords<AnnotatedRecord>(run.stages.path("kept.jsonl"), ["action"]) : undefined;
  const show = c.hooks.progress(name);
  const result = await trainRole(c.device, codes, {
    role,
    base: c.base,
    out: run.stages.path("models", name),
    data: [
      { records: await triplets(run, "labels"), factor: kept ? demo.labelRepeats : 1 },
      ...(kept ? [{ records: kept, factor: 1 }] : []),
    ],
    recognition: weighted ? { epsilon: demo.epsilon, floor: 0 } : undefined,
    training: { ...training, seed: run.seed },
    signal: c.hooks.signal,
    onLog: (r) => show(r.step, training.steps, paceOf(r)),
  });
  if (!result) throw c.hooks.signal?.reason;
  await run.stages.save(`train_${name}.json`, result satisfies RoleResult);
}

/** Loss and pace of a line of the training log. */
export function paceOf(r: TrainRecord): string {
  return `loss ${r.loss.toFixed(3)}, ${r.tokens_per_s.toFixed(0)} tokens/s, ${r.gflop_per_s.toFixed(1)} GFLOP/s`;
}

/** The CDM on the test pairs and on the unlabelled pairs, and the filter. */
async function label(c: DemoContext, run: SeedRun, base: Model, codes: CodeStore): Promise<void> {
  const { stages } = run;
  const { progress, signal } = c.hooks;
  const options = { ...defaultAnnotate, signal };
  const open = () => loadModel(c.device, stages.path("models", "cdm"), { beside: base });
  await stages.run("cdm_test", "the dynamics model names the actions of the test pairs", async () => {
    const said = await annotate(c.device, await open(), codes, await triplets(run, "test"), {
      ...options,
      onProgress: progress("test pairs"),
    });
    await stages.save(
      "cdm_test.json",
      said.map((r) => r.action),
    );
  });
  await stages.run("annotate", "the dynamics model annotates the unlabelled pairs", async () => {
    const pairs = await readRecords<PairRecord>(stages.path("frames", "pairs.jsonl"));
    await writeRecords(
      stages.path("annotated.jsonl"),
      await annotate(c.device, await open(), codes, pairs, { ...options, onProgress: progress("pairs") }),
    );
  });
  await stages.run("filter", "keeping the likeliest annotations", async () => {
    const annotated = await readRecords<AnnotatedRecord>(stages.path("annotated.jsonl"), ["action"]);
    await writeRecords(stages.path("kept.jsonl"), filterRecords(annotated, { keep: c.preset.demo.keep }));
  });
}

/** Candidates of every world model, each scored by the CDM. */
async function drawAll(c: DemoContext, run: SeedRun, base: Model, codes: CodeStore): Promise<void> {
  const { stages, seed, names } = run;
  const { demo } = c.preset;
  for (const name of names) {
    await stages.run(
      `edit_${name}`,
      `${name} draws ${demo.candidates} candidates for each test scene, the dynamics model scores them`,
      async () => {
        const dynamics = await loadModel(c.device, stages.path("models", "cdm"), { beside: base });
        const model = await loadModel(c.device, stages.path("models", name), { beside: base });
        const options = {
          candidates: demo.candidates,
          temperature: demo.temperature,
          seed,
          batch: 16,
          onProgress: c.hooks.progress(name),
          signal: c.hooks.signal,
        };
        await writePredictions(
          stages.path("predictions", `${name}.jsonl`),
          await predict(c.device, model, dynamics, codes, await triplets(run, "test"), options),
        );
      },
    );
  }
}

/** Predictions of a system of this run. */
export function predictionsOf(run: SeedRun, name: VariantName): ReturnType<typeof readPredictions> {
  return readPredictions(run.stages.path("predictions", `${name}.jsonl`));
}

async function probeAll(c: DemoContext, run: SeedRun, base: Model, codes: CodeStore): Promise<void> {
  const records = await triplets(run, "test");
  const of = async (name: string, model: Model, directions: ("image" | "action")[]): Promise<[string, ProbeItem[]]> => [
    name,
    await probe(c.device, model, codes, records, directions, { batch: 64, onProgress: c.hooks.progress(name), signal: c.hooks.signal }),
  ];
  const { stages } = run;
  const all = [
    await of("base", base, ["image", "action"]),
    await of("cdm", await loadModel(c.device, stages.path("models", "cdm"), { beside: base }), ["action"]),
    await of("cwm", await loadModel(c.device, stages.path("models", "cwm"), { beside: base }), ["image"]),
  ];
  await stages.save("probe.json", Object.fromEntries(all));
}

/** Settings as a flat list for the report. */
export function flatSettings(demo: DemoSettings): Record<string, string | number | boolean> {
  const out: Record<string, string | number | boolean> = {};
  for (const [key, value] of Object.entries(demo)) {
    if (typeof value !== "object") out[key] = value;
    else if (Array.isArray(value)) out[key] = value.join(" to ");
    else
      for (const [k, v] of Object.entries(value as Record<string, unknown>))
        out[`${key}.${k}`] = Array.isArray(v) ? v.join(", ") : (v as string | number);
  }
  return out;
}
