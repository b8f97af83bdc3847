// Ablations as data: a grid of systems over seeds on the embedded world. Per seed: labelled triplets, clips and their key frames, a CDM (and, where a system
// wants it, a second one from another seed), annotations; per distinct training of a world model one model; per system its k drawings, picked by its
// verifier and judged by the exact oracle. Every stage is done once and kept, so that a stopped run goes on, and stages are named by what they are made
// from, so that experiments of the same sizes share them in one folder.
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { defaultTraining, type TrainOptions } from "../train/loop.ts";
import { annotate, defaultAnnotate } from "./cdm.ts";
import { CodeStore, type Progress } from "./codes.ts";
import type { ExperimentConfig, SystemConfig } from "./experiment_config.ts";
import { filterRecords } from "./filter.ts";
import { extractKeyFrames } from "./frames.ts";
import { loadModel, type Model } from "./model.ts";
import { type Prediction, predict, readPredictions, writePredictions } from "./predictions.ts";
import { type AnnotatedRecord, type PairRecord, readRecords, type TripletRecord, writeRecords } from "./records.ts";
import { Stages } from "./stages.ts";
import { writeClips } from "./tabletop/clip_files.ts";
import { writeTriplets } from "./tabletop/dataset.ts";
import { clipTruths, restOf, sceneFrom } from "./tabletop/demo_report.ts";
import { isValid, verdictOn } from "./tabletop/evaluate.ts";
import { explains, FAMILIES } from "./tabletop/index.ts";
import type { Verdict } from "./tabletop/oracle.ts";
import type { Tabletop } from "./tabletop/world.ts";
import { trainRole } from "./train_role.ts";
import { bestOf, verify } from "./verify.ts";
import { listVideos } from "./video.ts";

export interface ExperimentHooks {
  readonly say: (text: string) => void;
  readonly progress: (label: string) => Progress;
  readonly signal?: AbortSignal;
}

/** One system on one seed: shares over the test records, and the share by family. */
export interface Outcome {
  readonly system: string;
  readonly success: number;
  readonly done: number;
  readonly minimal: number;
  readonly families: Readonly<Record<string, number>>;
}

/** One seed: its systems, and how good the dynamics model and its annotations were (shares that the oracle calls true). */
export interface SeedOutcome {
  readonly seed: number;
  readonly test: number;
  readonly cdm: number;
  readonly annotations: number;
  readonly pairs: number;
  /** By system with synthetic data: pairs that its filter kept, and the share of them with a true action. */
  readonly kept: Readonly<Record<string, { readonly pairs: number; readonly valid: number }>>;
  readonly systems: readonly Outcome[];
}

interface Context {
  readonly device: Device;
  readonly config: ExperimentConfig;
  readonly world: Tabletop;
  readonly base: string;
  readonly hooks: ExperimentHooks;
  readonly stages: Stages;
  readonly seed: number;
}

/** Runs every seed below `folder`; experiments of the same sizes may use the same one. */
export async function runExperiment(
  device: Device,
  config: ExperimentConfig,
  place: { readonly folder: string; readonly world: Tabletop; readonly base: string },
  hooks: ExperimentHooks,
): Promise<SeedOutcome[]> {
  const outcomes: SeedOutcome[] = [];
  for (const seed of config.seeds) {
    hooks.say(`seed ${seed}`);
    const { labels, clips, clip_actions, cdm_steps, cwm_steps } = config;
    const settings = { labels, clips, clip_actions, cdm_steps, cwm_steps, seed, world: place.world, base: place.base };
    const stages = await Stages.open(join(place.folder, `seed-${seed}`), settings, { say: hooks.say, now: () => performance.now() });
    outcomes.push(await runSeed({ device, config, world: place.world, base: place.base, hooks, stages, seed }));
  }
  return outcomes;
}

async function runSeed(c: Context): Promise<SeedOutcome> {
  const { stages, device, config } = c;
  await makeData(c);
  const base = await loadModel(device, c.base);
  const codes = await CodeStore.open(device, base, stages.path("codes.bin"));
  const read = <T extends TripletRecord>(...path: string[]) => readRecords<T>(stages.path(...path), ["action"]);
  const [labels, all] = [await read("data", "labels.jsonl"), await read("data", `${testName(config)}.jsonl`)];
  const test = all.filter((r) => !config.families || (config.families as readonly string[]).includes(r.family!));
  const pairs = await readRecords<PairRecord>(stages.path("frames", "pairs.jsonl"));
  await codes.add(
    [...labels, ...test, ...pairs].flatMap((r) => [r.source, r.target]),
    { onProgress: c.hooks.progress("encoding"), signal: c.hooks.signal },
  );
  const training = (steps: number, seed: number): TrainOptions => ({ ...defaultTraining, steps, seed });
  const fit = async (name: string, role: "cdm" | "cft" | "cwm", data: readonly TripletRecord[][], seed: number, epsilon?: number) => {
    const out = stages.path("models", name);
    await stages.run(`train ${name}`, `training ${name}`, async () => {
      const show = c.hooks.progress(name);
      const steps = role === "cdm" ? config.cdm_steps : config.cwm_steps;
      const result = await trainRole(device, () => Promise.resolve(codes), {
        role,
        base: c.base,
        out,
        data: data.map((records, i) => ({ records, factor: data.length > 1 && i === 0 ? 2 : 1 })),
        recognition: epsilon === undefined ? undefined : { epsilon, floor: 0 },
        training: { ...training(steps, seed), ...(role !== "cdm" && { divideBy: "tokens" as const }) },
        signal: c.hooks.signal,
        onLog: (r) => show(r.step, steps),
      });
      if (!result) throw c.hooks.signal?.reason ?? new WorldlineError(`training ${name} was stopped; run the same command again to go on`);
    });
    return () => loadModel(device, out, { beside: base });
  };
  const dynamics = await fit("cdm", "cdm", [labels], c.seed);
  const other = config.system.some((s) => s.verifier === "other-seed") ? await fit("cdm-other", "cdm", [labels], c.seed + 1000) : dynamics;
  const annotated = await label(c, dynamics, codes, pairs, test);
  const truths = await clipTruths(c);
  const isTrue = (r: AnnotatedRecord) => {
    const [a, b] = [restOf(truths, r.source), restOf(truths, r.target)];
    return (
      a !== undefined &&
      b !== undefined &&
      explains(c.world, r.action.trim(), sceneFrom(a.truth.kinds[a.rest]), sceneFrom(b.truth.kinds[b.rest]))
    );
  };
  const outcomes: Outcome[] = [];
  const kept: Record<string, { pairs: number; valid: number }> = {};
  for (const system of config.system) {
    const chosen = system.synthetic ? filterRecords(annotated, { keep: system.keep, threshold: system.threshold }) : [];
    if (chosen.length) kept[system.name] = { pairs: chosen.length, valid: share(chosen, isTrue) };
    const { name, role, epsilon } = trainingOf(system);
    const world = { name, open: await fit(name, role, chosen.length ? [labels, chosen] : [labels], c.seed, epsilon) };
    outcomes.push(await judged(c, system, world, system.verifier === "other-seed" ? other : dynamics, codes, test));
  }
  const said = await stages.load<string[]>(`said ${testName(config)}.json`);
  const cdm = test.filter((r, i) => isValid(c.world, r, said[i])).length / test.length;
  return {
    seed: c.seed,
    test: test.length,
    cdm,
    annotations: share(annotated, isTrue),
    pairs: pairs.length,
    kept,
    systems: outcomes,
  };
}

const share = <T>(list: readonly T[], holds: (item: T) => boolean) => list.filter(holds).length / Math.max(1, list.length);

/** The training a system needs; systems that need the same one share its model. */
function trainingOf({ synthetic, weights, epsilon, keep, threshold }: SystemConfig): {
  name: string;
  role: "cft" | "cwm";
  epsilon?: number;
} {
  const data = synthetic ? `synthetic-${keep}${threshold === undefined ? "" : `-${-threshold}`}` : "labels";
  return weights ? { name: `cwm-${data}-${epsilon}`, role: "cwm", epsilon } : { name: `plain-${data}`, role: synthetic ? "cwm" : "cft" };
}

/** The test's scenes, named by what they are made from. */
function testName({ test, families, transfer }: ExperimentConfig): string {
  const text = JSON.stringify([test, families, transfer]);
  return `test-${createHash("sha256").update(text).digest("hex").slice(0, 8)}`;
}

async function makeData(c: Context): Promise<void> {
  const { stages, config, world, seed } = c;
  const { progress, signal } = c.hooks;
  await stages.run("data", `${config.labels} labelled triplets, ${config.clips} clips`, async () => {
    await mkdir(stages.path("data"), { recursive: true });
    await writeTriplets(world, stages.path("data"), { name: "labels", count: config.labels, seed, onProgress: progress("labels"), signal });
    const actions: [number, number] = [...config.clip_actions];
    await writeClips(world, stages.path("clips"), { count: config.clips, seed, actions, onProgress: progress("clips"), signal });
  });
  const name = testName(config);
  await stages.run(name, `${config.test} triplets for testing`, async () => {
    // Families come in equal shares, so that those asked for fill the test.
    const count = config.test * (config.families ? Math.ceil(FAMILIES.length / config.families.length) : 1);
    const unlike = { ...world, ...config.transfer } as Tabletop;
    await writeTriplets(unlike, stages.path("data"), { name, count, seed: 3000 + seed, onProgress: progress("test"), signal });
  });
  await stages.run("frames", "key frames of the clips", async () => {
    await extractKeyFrames(await listVideos([stages.path("clips")]), stages.path("frames"), { keyFrames: "rest" }, { signal });
  });
}

async function label(
  c: Context,
  open: () => Promise<Model>,
  codes: CodeStore,
  pairs: readonly PairRecord[],
  test: readonly TripletRecord[],
) {
  const { stages, device, hooks } = c;
  const options = { ...defaultAnnotate, signal: hooks.signal };
  await stages.run("annotate", "the dynamics model names the actions of clips", async () => {
    const onProgress = hooks.progress("pairs");
    await writeRecords(stages.path("annotated.jsonl"), await annotate(device, await open(), codes, pairs, { ...options, onProgress }));
  });
  const file = `said ${testName(c.config)}.json`;
  await stages.run(file, "the dynamics model names the actions of the test", async () => {
    const said = await annotate(device, await open(), codes, test, options);
    await stages.save(
      file,
      said.map((r) => r.action),
    );
  });
  return readRecords<AnnotatedRecord>(stages.path("annotated.jsonl"), ["action"]);
}

/** Draws, picks and judges one system's pictures of the test records; drawings and choices are kept as predictions. */
async function judged(
  c: Context,
  system: SystemConfig,
  world: { readonly name: string; readonly open: () => Promise<Model> },
  dynamics: () => Promise<Model>,
  codes: CodeStore,
  test: readonly TripletRecord[],
): Promise<Outcome> {
  const { stages, device, config, hooks } = c;
  const drawn = `drawn ${testName(config)} ${world.name} k${system.k} t${config.temperature}`;
  let loaded: Promise<Model> | undefined;
  const model = () => (loaded ??= world.open());
  await stages.run(drawn, `${world.name}: ${system.k} drawing${system.k > 1 ? "s" : ""} a scene`, async () => {
    const onProgress = hooks.progress("drawing");
    const how = { candidates: system.k, temperature: config.temperature, seed: c.seed, batch: 16, onProgress, signal: hooks.signal };
    await writePredictions(stages.path(`${drawn}.jsonl`), await predict(device, await model(), undefined, codes, test, how));
  });
  const picked = `${drawn} ${system.verifier}`;
  await stages.run(
    picked,
    `${system.name}: ${system.verifier === "none" ? "judged" : `picked by ${system.verifier} and judged`}`,
    async () => {
      const predictions = await readPredictions(stages.path(`${drawn}.jsonl`));
      const scores = await scoresOf(c, system, dynamics, codes, test, predictions);
      const chosen: (Prediction & Pick<Verdict, "success" | "done" | "minimal">)[] = [];
      for (const [i, p] of predictions.entries()) {
        const of = (await (await model()).pictures.decode(p.candidates, p.columns)).map((picture) => verdictOn(c.world, test[i], picture));
        const right = of.findIndex((v) => v.success);
        const best = system.verifier === "oracle" ? Math.max(0, right) : scores[i].length ? bestOf(scores[i]) : 0;
        const { success, done, minimal } = of[best];
        chosen.push({ ...p, scores: scores[i], best, success, done, minimal });
      }
      await writePredictions(stages.path(`${picked}.jsonl`), chosen);
    },
  );
  const verdicts = (await readPredictions(stages.path(`${picked}.jsonl`))) as (Prediction &
    Pick<Verdict, "success" | "done" | "minimal">)[];
  const rate = (key: "success" | "done" | "minimal", family?: string) => {
    const mine = verdicts.filter((_, i) => !family || test[i].family === family);
    return share(mine, (v) => v[key]);
  };
  const families = Object.fromEntries([...new Set(test.map((r) => r.family!))].map((f) => [f, rate("success", f)]));
  return { system: system.name, success: rate("success"), done: rate("done"), minimal: rate("minimal"), families };
}

async function scoresOf(
  c: Context,
  { verifier, k }: SystemConfig,
  dynamics: () => Promise<Model>,
  codes: CodeStore,
  test: readonly TripletRecord[],
  predictions: readonly Prediction[],
): Promise<number[][]> {
  if (k === 1 || verifier === "oracle" || verifier === "none") return predictions.map(() => []);
  const drawn = predictions.map((p) => ({ codes: p.candidates.map((list) => Uint32Array.from(list)), logprobs: [], columns: p.columns }));
  return verify(c.device, await dynamics(), codes, test, drawn, { batch: 16, signal: c.hooks.signal });
}
