// The numbers of a demo run, read back from its files: the oracle judges every picture and sentence, shares get their intervals, and the first
// seed's examples become pictures.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../engine/device.ts";
import type { TrainRecord } from "../../train/loop.ts";
import { CodeStore } from "../codes.ts";
import { pairWeights } from "../cwm.ts";
import { loadModel, type Model } from "../model.ts";
import { readPicture } from "../pictures.ts";
import type { Prediction } from "../predictions.ts";
import type { ProbeItem } from "../probe.ts";
import { type AnnotatedRecord, readRecords, type TripletRecord } from "../records.ts";
import { type Example, judgeTargets, type Rate, type Report, rate, rateOf, type System, type TrainingRun } from "../report.ts";
import { pngDataUrl } from "../sheets.ts";
import { bestOf } from "../verify.ts";
import { familyOf, parseAction } from "./actions.ts";
import type { ClipTruth } from "./clip_files.ts";
import { metaOf } from "./dataset.ts";
import { type DemoContext, flatSettings, predictionsOf, type SeedRun, triplets, type VariantName } from "./demo.ts";
import { actionRates, isValid, judgePredictions, oracleError, type SystemRates, systemRates, verdictOn } from "./evaluate.ts";
import { explains, type Verdict } from "./oracle.ts";
import { kindsOf, type Scene, type Tabletop } from "./world.ts";

/** Everything judged for one seed. */
interface Judged {
  readonly run: SeedRun;
  readonly records: TripletRecord[];
  readonly said: string[];
  /** Verdicts per system, item and sample. */
  readonly verdicts: Partial<Record<System, Verdict[][]>>;
  readonly predictions: Partial<Record<VariantName, Prediction[]>>;
  readonly pictures: Partial<Record<VariantName, Awaited<ReturnType<Model["pictures"]["decode"]>>[]>>;
  readonly probe: Record<string, ProbeItem[]>;
}

/** The report of one or more seeds; rates are over test items, each the mean over its samples and seeds. */
export async function demoReport(
  c: DemoContext,
  runs: readonly SeedRun[],
  about: Pick<Report, "worldline" | "preset" | "command" | "versions">,
): Promise<Report> {
  const { world, demo } = c.preset;
  const model = await loadModel(c.device, c.base);
  const judged: Judged[] = [];
  for (const run of runs) judged.push(await judgeSeed(c, model, run));
  const first = judged[0];
  const { stages } = runs[0];
  const codes = await CodeStore.open(c.device, model, stages.path("codes.safetensors"));
  const known = [...first.records, ...(await triplets(runs[0], "labels"))];
  await codes.add(known.flatMap((r) => [r.source, r.target]));
  const rates = poolRates(judged);
  const of = (key: "success" | "done" | "minimal") => Object.fromEntries(Object.entries(rates).map(([s, r]) => [s, r[key]]));
  const report: Omit<Report, "targets"> = {
    ...about,
    seed: runs[0].seed,
    device: describeDevice(c.device),
    settings: flatSettings(demo),
    seconds: totalled(runs),
    data: await dataFacts(runs[0], demo.labels, first.records.length),
    oracle: await oracleFacts(c, model, codes, known),
    cdm: poolActions(world, judged),
    annotation: await annotationFacts(world, runs[0]),
    weights: weightFacts(model, codes, first.records, demo.epsilon),
    success: of("success"),
    done: of("done"),
    minimal: of("minimal"),
    families: Object.fromEntries(Object.entries(rates).map(([s, r]) => [s, r.families])),
    probe: poolProbe(judged),
    curves: await curves(runs[0]),
    training: await trainingFacts(runs[0]),
    ...(runs.length > 1 ? { seeds: judged.map((j) => ({ seed: j.run.seed, values: seedValues(world, j) })) } : {}),
    examples: await examples(world, model, codes, first, demo.epsilon),
  };
  return { ...report, targets: judgeTargets(report) };
}

async function judgeSeed(c: DemoContext, model: Model, run: SeedRun): Promise<Judged> {
  const { world } = c.preset;
  const records = await triplets(run, "test");
  const verdicts: Judged["verdicts"] = {};
  const predictions: Judged["predictions"] = {};
  const pictures: Judged["pictures"] = {};
  const sources = await Promise.all(records.map((r) => readPicture(r.source)));
  verdicts.copy = records.map((r, i) => [verdictOn(world, r, sources[i])]);
  for (const name of run.names) {
    const list = await predictionsOf(run, name);
    const K = list[0].candidates.length;
    const { pictures: drawn, verdicts: all } = await judgePredictions(world, model.pictures, records, list);
    predictions[name] = list;
    pictures[name] = drawn;
    verdicts[name] = all;
    if (name === "cwm") {
      verdicts.cwm_k8 = all.map((v, i) => [v[list[i].best]]);
      if (K >= 4) verdicts.cwm_k4 = all.map((v, i) => groups(K, 4).map((g) => v[g[bestOf(g.map((k) => list[i].scores[k]))]]));
    }
  }
  return {
    run,
    records,
    said: await run.stages.load<string[]>("cdm_test.json"),
    verdicts,
    predictions,
    pictures,
    probe: await run.stages.load("probe.json"),
  };
}

/** Disjoint groups of `size` among 0 ... K-1. */
function groups(K: number, size: number): number[][] {
  return Array.from({ length: Math.floor(K / size) }, (_, g) => Array.from({ length: size }, (_, i) => g * size + i));
}

function poolRates(judged: readonly Judged[]): Record<string, SystemRates> {
  const { records, verdicts } = judged[0];
  const systems = Object.keys(verdicts) as System[];
  return Object.fromEntries(
    systems.map((s) => [
      s,
      systemRates(
        records,
        records.map((_, i) => judged.flatMap((j) => j.verdicts[s]![i])),
      ),
    ]),
  );
}

function poolActions(world: Tabletop, judged: readonly Judged[]): Report["cdm"] {
  if (judged.length === 1) return actionRates(world, judged[0].records, judged[0].said);
  const { records } = judged[0];
  const mean = (test: (j: Judged, i: number) => boolean, keep: (i: number) => boolean = () => true) =>
    rateOf(records.flatMap((_, i) => (keep(i) ? [judged.reduce((a, j) => a + (test(j, i) ? 1 : 0), 0) / judged.length] : [])));
  const valid = (j: Judged, i: number) => isValid(world, records[i], j.said[i]);
  const families = [...new Set(records.map((r) => r.family ?? "all"))].sort();
  return {
    exact: mean((j, i) => j.said[i].trim() === records[i].action),
    valid: mean(valid),
    families: Object.fromEntries(families.map((f) => [f, mean(valid, (i) => (records[i].family ?? "all") === f)])),
  };
}

function poolProbe(judged: readonly Judged[]): Report["probe"] {
  const out: Record<string, Record<string, Rate>> = {};
  for (const model of Object.keys(judged[0].probe)) {
    const kinds = [...new Set(judged[0].probe[model].map((p) => p.kind))];
    out[model] = Object.fromEntries(
      kinds.map((kind) => {
        const lists = judged.map((j) => j.probe[model].filter((p) => p.kind === kind));
        const means = lists[0].map((_, i) => lists.reduce((a, l) => a + (l[i].real > l[i].manipulated ? 1 : 0), 0) / lists.length);
        return [kind, rateOf(means)];
      }),
    );
  }
  return out;
}

function seedValues(world: Tabletop, j: Judged): Record<string, number> {
  const rates = poolRates([j]);
  const cdm = actionRates(world, j.records, j.said);
  return {
    "cdm.exact": cdm.exact.value,
    "cdm.valid": cdm.valid.value,
    ...Object.fromEntries(Object.entries(rates).map(([s, r]) => [`success.${s}`, r.success.value])),
  };
}

async function dataFacts(run: SeedRun, labels: number, test: number): Promise<Report["data"]> {
  const truths = await clipTruths(run.stages.path("clips"));
  const pairs = await readRecords(run.stages.path("frames", "pairs.jsonl"));
  const several = pairs.filter((p) => actionsBetween(truths, p) > 1).length;
  const frames = new Set(pairs.flatMap((p) => [p.source, p.target]));
  const rests = [...truths.values()].flatMap((t) => t.rests).length;
  const onRest = [...frames].filter((f) => restOf(truths, f) !== undefined).length;
  return {
    labels,
    test,
    clips: truths.size,
    key_frames: { found: frames.size, true: rests, matched: onRest },
    pairs: pairs.length,
    pairs_with_two_actions: several,
  };
}

/** What the clips of a folder show, by clip. */
export async function clipTruths(folder: string): Promise<Map<string, ClipTruth>> {
  const text = await readFile(join(folder, "truth.jsonl"), "utf8");
  const list = text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as ClipTruth);
  return new Map(list.map((t) => [t.clip.replace(/\.mkv$/, ""), t]));
}

/** Clip and rest of a key frame's path, .../<clip>/<frame>.png; undefined where it shows no rest. */
export function restOf(truths: ReadonlyMap<string, ClipTruth>, path: string): { truth: ClipTruth; rest: number } | undefined {
  const [clip, frame] = path.split(/[\\/]/).slice(-2);
  const truth = truths.get(clip.replace(/\.mkv$/, ""));
  const index = Number.parseInt(frame, 10);
  const rest = truth?.rests.findIndex(([a, b]) => index >= a && index <= b) ?? -1;
  return truth && rest >= 0 ? { truth, rest } : undefined;
}

/** How many actions lie between the pictures of a pair; 0 where one of them shows no rest. */
function actionsBetween(truths: ReadonlyMap<string, ClipTruth>, pair: { source: string; target: string }): number {
  const [a, b] = [restOf(truths, pair.source), restOf(truths, pair.target)];
  return a && b ? b.rest - a.rest : 0;
}

async function annotationFacts(world: Tabletop, run: SeedRun): Promise<Report["annotation"]> {
  const truths = await clipTruths(run.stages.path("clips"));
  const right = (r: AnnotatedRecord) => {
    const [a, b] = [restOf(truths, r.source), restOf(truths, r.target)];
    if (!a || !b) return false;
    return explains(world, r.action.trim(), sceneFrom(a.truth.kinds[a.rest]), sceneFrom(b.truth.kinds[b.rest]));
  };
  const all = await readRecords<AnnotatedRecord>(run.stages.path("annotated.jsonl"));
  const kept = await readRecords<AnnotatedRecord>(run.stages.path("kept.jsonl"));
  const families: Record<string, number> = {};
  for (const r of kept) {
    const action = parseAction(world, r.action.trim());
    const name = action ? familyOf(action) : "no sentence";
    families[name] = (families[name] ?? 0) + 1;
  }
  return {
    all_valid: rate(all.filter(right).length, all.length),
    kept_valid: rate(kept.filter(right).length, kept.length),
    kept: kept.length,
    threshold: Math.min(...kept.map((r) => r.mean_logprob)),
    families,
  };
}

export function sceneFrom(kinds: readonly number[]): Scene {
  return { cells: kinds.map((kind) => (kind >= 0 ? { kind, jx: 0, jy: 0 } : null)), clutter: [] };
}

async function oracleFacts(c: DemoContext, model: Model, codes: CodeStore, records: readonly TripletRecord[]): Promise<Report["oracle"]> {
  const targets = records.map((r) => codes.get(r.target));
  const pictures = await model.pictures.decode(
    targets.map((t) => t.codes),
    targets[0].columns,
  );
  const { verdicts, cells } = oracleError(c.preset.world, records, pictures);
  return { vq_error: verdicts, vq_cell_error: cells };
}

function weightFacts(model: Model, codes: CodeStore, records: readonly TripletRecord[], epsilon: number): Report["weights"] {
  const sums = { changed: [0, 0], unchanged: [0, 0] };
  for (const r of records) {
    const weights = pairWeights(model, codes, r, { epsilon, floor: 0 });
    const [before, after] = [kindsOf(metaOf(r).before), kindsOf(metaOf(r).after)];
    weights.forEach((w, cell) => {
      const s = before[cell] === after[cell] ? sums.unchanged : sums.changed;
      s[0] += w;
      s[1]++;
    });
  }
  const mean = ([sum, n]: number[]) => sum / Math.max(1, n);
  const [changed, unchanged] = [mean(sums.changed), mean(sums.unchanged)];
  return { epsilon, ratio: changed / unchanged, changed, unchanged };
}

async function curves(run: SeedRun): Promise<Report["curves"]> {
  const out: Record<string, { step: number; loss: number }[]> = {};
  for (const name of ["cdm", ...run.names]) {
    const { log } = await run.stages.load<{ log: TrainRecord[] }>(`train_${name}.json`);
    out[name] = log.map(({ step, loss }) => ({ step, loss }));
  }
  return out;
}

async function trainingFacts(run: SeedRun): Promise<Record<string, TrainingRun>> {
  const ceiling = await run.stages.load<number>("ceiling.json");
  const out: Record<string, TrainingRun> = {};
  for (const name of ["cdm", ...run.names]) {
    const r = await run.stages.load<{ steps: number; tokensPerSecond: number; gflopPerSecond: number; hostShare: number }>(
      `train_${name}.json`,
    );
    out[name] = {
      steps: r.steps,
      tokens_per_s: r.tokensPerSecond,
      gflop_per_s: r.gflopPerSecond,
      ceiling_gflop_per_s: ceiling,
      share: r.gflopPerSecond / ceiling,
      host_share: r.hostShare,
    };
  }
  return out;
}

async function examples(world: Tabletop, model: Model, codes: CodeStore, j: Judged, epsilon: number): Promise<Example[]> {
  const { records, verdicts, pictures, predictions } = j;
  const chosen = pickExamples(records);
  const side = world.grid;
  return Promise.all(
    chosen.map(async (i) => {
      const r = records[i];
      const best = predictions.cwm![i].best;
      const success = Object.fromEntries(Object.entries(verdicts).map(([s, v]) => [s, v![i][0].success]));
      const url = (p: Parameters<typeof pngDataUrl>[0]) => pngDataUrl(p);
      return {
        id: r.id,
        family: r.family ?? "",
        action: r.action,
        cdm: j.said[i],
        success,
        pictures: {
          source: url(await readPicture(r.source)),
          truth: url(await readPicture(r.target)),
          ft: url(pictures.ft![i][0]),
          cwm: url(pictures.cwm![i][0]),
          best: url(pictures.cwm![i][best]),
        },
        candidates: pictures.cwm![i].map((p, k) => ({
          picture: url(p),
          score: predictions.cwm![i].scores[k],
          success: verdicts.cwm![i][k].success,
        })),
        weights: [...pairWeights(model, codes, r, { epsilon, floor: 0 })],
        grid: [side, side] as const,
      };
    }),
  );
}

/** The first two records of each family. */
function pickExamples(records: readonly TripletRecord[]): number[] {
  const seen = new Map<string, number>();
  return records.flatMap((r, i) => {
    const n = (seen.get(r.family ?? "") ?? 0) + 1;
    seen.set(r.family ?? "", n);
    return n <= 2 ? [i] : [];
  });
}

function describeDevice(device: Device): Report["device"] {
  const { info } = device.adapter;
  return {
    name: info.description || info.device || info.vendor,
    architecture: info.architecture || info.vendor,
    software: device.capabilities.software,
    features: [...device.capabilities.features].sort(),
  };
}

function totalled(runs: readonly SeedRun[]): Record<string, number> {
  const out: Record<string, number> = {};
  for (const run of runs) for (const [name, s] of Object.entries(run.stages.seconds)) out[name] = (out[name] ?? 0) + s;
  return { ...out, total: Object.values(out).reduce((a, s) => a + s, 0) };
}
