// Ablations as data: grids of systems over seeds on the embedded world. Per seed: labelled triplets, clips and their key frames, a CDM (and, where a
// system wants it, a second one from another seed), annotations; per distinct training of a world model one model; per system its k drawings, picked by its
// verifier and judged by the exact oracle. Every stage is done once and kept, so that a stopped run goes on, and is named by all that decides what it
// makes, so that experiments in one folder share what they have in common.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { defaultTraining } from "../train/loop.ts";
import { annotate, defaultAnnotate } from "./cdm.ts";
import type { ExperimentConfig, SystemConfig } from "./experiment_config.ts";
import {
  digest,
  type ExperimentHooks,
  type ExperimentPlace,
  makeData,
  type Names,
  namesOf,
  openSeed,
  type Seed,
  testedWorld,
} from "./experiment_data.ts";
import { filterRecords } from "./filter.ts";
import { loadModel, type Model } from "./model.ts";
import { type Prediction, predict, readPredictions, writePredictions } from "./predictions.ts";
import { type AnnotatedRecord, type PairRecord, readRecords, type TripletRecord, writeRecords } from "./records.ts";
import { clipTruths, restOf, sceneFrom } from "./tabletop/demo_report.ts";
import { isValid, judgePredictions } from "./tabletop/evaluate.ts";
import { explains } from "./tabletop/index.ts";
import type { Verdict } from "./tabletop/oracle.ts";
import type { Tabletop } from "./tabletop/world.ts";
import { trainRole } from "./train_role.ts";
import { bestOf, verify } from "./verify.ts";

/** One system on one seed: which test records it got right, shares over them, and the share by family. */
export interface Outcome {
  readonly system: string;
  readonly right: readonly boolean[];
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

/** Drawings of a record with the verifier's choice, and the oracle's verdict on that. */
export type PickedPrediction = Prediction & Verdict;

interface Context extends Seed {
  readonly device: Device;
  readonly config: ExperimentConfig;
  readonly names: Names;
  readonly world: Tabletop;
  /** The world of the test scenes, whose rules judge them. */
  readonly tested: Tabletop;
  readonly base: Model;
  readonly hooks: ExperimentHooks;
}

/** Runs experiments one after another, each on every seed it names, and gives the outcomes of each by seed. */
export async function* runExperiments(
  device: Device,
  configs: readonly ExperimentConfig[],
  place: ExperimentPlace,
  hooks: ExperimentHooks,
): AsyncGenerator<SeedOutcome[], void, undefined> {
  const base = await loadModel(device, place.base);
  const opened = new Map<number, Seed>();
  for (const config of configs) {
    const outcomes: SeedOutcome[] = [];
    const tested = testedWorld(place.world, config);
    for (const seed of config.seeds) {
      hooks.say(`seed ${seed}`);
      const shared = opened.get(seed) ?? (await openSeed(device, base, place, seed, hooks));
      opened.set(seed, shared);
      outcomes.push(await runSeed({ ...shared, device, config, names: namesOf(config), world: place.world, tested, base, hooks }));
    }
    yield outcomes;
  }
}

async function runSeed(c: Context): Promise<SeedOutcome> {
  const { stages, config, names, codes } = c;
  await makeData(c, config, c.world, c.hooks);
  const read = <T extends TripletRecord>(...path: string[]) => readRecords<T>(stages.path(...path), ["action"]);
  const [labels, all] = [await read(names.labels, "labels.jsonl"), await read("tests", `${names.test}.jsonl`)];
  const test = all.filter((r) => !config.families || (config.families as readonly string[]).includes(r.family!));
  const pairs = await readRecords<PairRecord>(stages.path(names.film, "frames", "pairs.jsonl"));
  await codes.add(
    [...labels, ...test, ...pairs].flatMap((r) => [r.source, r.target]),
    { onProgress: c.hooks.progress("encoding"), signal: c.hooks.signal },
  );
  const dynamics = await fit(c, { name: names.cdm, role: "cdm", data: [labels], seed: c.seed });
  const other = config.system.some((s) => s.verifier === "other-seed")
    ? await fit(c, { name: names.other, role: "cdm", data: [labels], seed: c.seed + 1000 })
    : dynamics;
  const { annotated, said } = await label(c, dynamics, pairs, test);
  const truths = await clipTruths(stages.path(names.film, "clips"));
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
    const training = { ...trainingOf(c, system), data: chosen.length ? [labels, chosen] : [labels], seed: c.seed };
    const world = await fit(c, training);
    outcomes.push(await judged(c, system, world, system.verifier === "other-seed" ? other : dynamics, test));
  }
  const cdm = test.filter((r, i) => isValid(c.tested, r, said[i])).length / test.length;
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

interface Training {
  readonly name: string;
  readonly role: "cdm" | "cft" | "cwm";
  readonly data: readonly TripletRecord[][];
  readonly seed: number;
  readonly epsilon?: number;
}

/** A model of the run: its name, and what loads it once. */
interface Fitted {
  readonly name: string;
  readonly open: () => Promise<Model>;
}

/** Trains a model unless one of its name is there. The first of several data sets counts twice. */
async function fit(c: Context, { name, role, data, seed, epsilon }: Training): Promise<Fitted> {
  const { stages, device, config, codes, base, hooks } = c;
  const out = stages.path("models", name);
  await stages.run(`train ${name}`, `training ${name}`, async () => {
    const show = hooks.progress(name);
    const steps = role === "cdm" ? config.cdm_steps : config.cwm_steps;
    const result = await trainRole(device, () => Promise.resolve(codes), {
      role,
      base: base.folder,
      out,
      data: data.map((records, i) => ({ records, factor: data.length > 1 && i === 0 ? 2 : 1 })),
      recognition: epsilon === undefined ? undefined : { epsilon, floor: 0 },
      training: { ...defaultTraining, steps, seed, ...(role !== "cdm" && { divideBy: "tokens" as const }) },
      signal: hooks.signal,
      onLog: (r) => show(r.step, steps),
    });
    if (!result) throw hooks.signal?.reason ?? new WorldlineError(`training ${name} was stopped; run the same command again to go on`);
  });
  let loaded: Promise<Model> | undefined;
  return { name, open: () => (loaded ??= loadModel(device, out, { beside: base })) };
}

/** The training a system needs; systems that need the same one share its model. */
function trainingOf({ names, config }: Context, { synthetic, weights, epsilon, keep, threshold }: SystemConfig) {
  const data = synthetic ? [names.labels, names.annotated, keep, threshold] : [names.labels];
  const words = synthetic ? `synthetic-${keep}${threshold === undefined ? "" : `-${-threshold}`}` : "labels";
  const end = digest(data, config.cwm_steps);
  return weights
    ? { name: `cwm-${words}-${epsilon}-${end}`, role: "cwm" as const, epsilon }
    : { name: `plain-${words}-${end}`, role: synthetic ? ("cwm" as const) : ("cft" as const) };
}

async function label(c: Context, dynamics: Fitted, pairs: readonly PairRecord[], test: readonly TripletRecord[]) {
  const { stages, device, names, codes, hooks } = c;
  const options = { ...defaultAnnotate, signal: hooks.signal };
  await stages.run(names.annotated, "the dynamics model names the actions of clips", async () => {
    const onProgress = hooks.progress("pairs");
    const annotated = await annotate(device, await dynamics.open(), codes, pairs, { ...options, onProgress });
    await writeRecords(stages.path(names.annotated), annotated);
  });
  const file = `said ${names.test} ${dynamics.name}.json`;
  await stages.run(file, "the dynamics model names the actions of the test", async () => {
    const said = await annotate(device, await dynamics.open(), codes, test, options);
    await stages.save(
      file,
      said.map((r) => r.action),
    );
  });
  const annotated = await readRecords<AnnotatedRecord>(stages.path(names.annotated), ["action"]);
  return { annotated, said: await stages.load<string[]>(file) };
}

/** Draws one system's pictures of the test records, picks one a record and judges it; drawings and choices are kept as predictions. */
async function judged(c: Context, system: SystemConfig, world: Fitted, dynamics: Fitted, test: readonly TripletRecord[]): Promise<Outcome> {
  const { stages, device, config, codes, hooks } = c;
  const { k, verifier } = system;
  const drawn = `drawn ${c.names.test} ${world.name} k${k} t${config.temperature}`;
  await stages.run(drawn, `${world.name}: ${k} drawing${k > 1 ? "s" : ""} a scene`, async () => {
    const onProgress = hooks.progress("drawing");
    const how = { candidates: k, temperature: config.temperature, seed: c.seed, batch: 16, onProgress, signal: hooks.signal };
    await writePredictions(stages.path(`${drawn}.jsonl`), await predict(device, await world.open(), undefined, codes, test, how));
  });
  const picked = `${drawn} by ${verifier === "none" || verifier === "oracle" ? verifier : dynamics.name}`;
  await stages.run(picked, `${system.name}: ${verifier === "none" ? "judged" : `picked by ${verifier} and judged`}`, async () => {
    const predictions = await readPredictions(stages.path(`${drawn}.jsonl`));
    await writePredictions(stages.path(`${picked}.jsonl`), await pick(c, verifier, dynamics, test, predictions));
  });
  const verdicts = (await readPredictions(stages.path(`${picked}.jsonl`))) as PickedPrediction[];
  const rate = (key: keyof Verdict, family?: string) => {
    const mine = verdicts.filter((_, i) => !family || test[i].family === family);
    return share(mine, (v) => v[key]);
  };
  const families = Object.fromEntries([...new Set(test.map((r) => r.family!))].map((f) => [f, rate("success", f)]));
  const right = verdicts.map((v) => v.success);
  return { system: system.name, right, success: rate("success"), done: rate("done"), minimal: rate("minimal"), families };
}

/** Scores candidates by the verifier and judges the best of each record. Decoding costs most, so that only the oracle has all candidates decoded. */
async function pick(
  c: Context,
  verifier: SystemConfig["verifier"],
  dynamics: Fitted,
  test: readonly TripletRecord[],
  predictions: readonly Prediction[],
): Promise<PickedPrediction[]> {
  const { device, tested, base, codes, hooks } = c;
  const judge = async (list: readonly Prediction[]) => (await judgePredictions(tested, base.pictures, test, list)).verdicts;
  if (verifier === "oracle") {
    const verdicts = await judge(predictions);
    const best = verdicts.map((of) => bestOf(of.map((v) => Number(v.success))));
    return predictions.map((p, i) => ({ ...p, best: best[i], ...verdicts[i][best[i]] }));
  }
  const drawn = predictions.map((p) => ({ codes: p.candidates.map((list) => Uint32Array.from(list)), logprobs: [], columns: p.columns }));
  const scores =
    verifier === "none" || drawn[0].codes.length === 1
      ? predictions.map(() => [])
      : await verify(device, await dynamics.open(), codes, test, drawn, { batch: 16, signal: hooks.signal });
  const best = scores.map((of) => (of.length ? bestOf(of) : 0));
  const verdicts = await judge(predictions.map((p, i) => ({ ...p, candidates: [p.candidates[best[i]]] })));
  return predictions.map((p, i) => ({ ...p, scores: scores[i], best: best[i], ...verdicts[i][0] }));
}
