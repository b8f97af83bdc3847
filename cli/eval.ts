// worldline eval: pictures of any systems, or actions said by any, against the targets of AURORA-Bench or of a file of records.
import { stat } from "node:fs/promises";
import { extname, join } from "node:path";
import type { Command } from "commander";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { UnreachableError } from "../weights/download.ts";
import { checkWritable } from "../weights/file_source.ts";
import type { FileChoice } from "../weights/hub.ts";
import { corpusBleu, measureActions } from "../world/action_bench.ts";
import { readAurora } from "../world/aurora.ts";
import { type BenchSystem, copySystem, folderSystem, measureSystems, type Sample } from "../world/bench.ts";
import { benchHtml, comparisonRow, metricNames, paperRows } from "../world/bench_report.ts";
import { aligned, type Results, rowsOfMetric, summarise, valuesOf } from "../world/bench_results.ts";
import { defaultJudge, Judge, judgeCost } from "../world/judge.ts";
import { AbsentError, onnxRuntime } from "../world/metrics/onnx.ts";
import { openBertScore } from "../world/metrics/onnx_bert.ts";
import { clipFiles, modelFiles, openClip, openDino } from "../world/metrics/onnx_pictures.ts";
import { pictureMetrics } from "../world/model_metrics.ts";
import type { Shot, ShotRow } from "../world/page.ts";
import { readPicture } from "../world/pictures.ts";
import { type AnnotatedRecord, readRecords, type TripletRecord, writeText } from "../world/records.ts";
import { countsLine } from "./aurora.ts";
import { folderOf, open } from "./shared.ts";
import { count, interruption, number, progress, say } from "./terminal.ts";
import { originOf } from "./versions.ts";

interface Flags {
  data: string;
  system: string[];
  actions: string[];
  out: string;
  model?: string;
  judge?: string;
  judgeModel?: string;
  judgeRate: number;
  judgeCache?: string;
  judgePrice: string;
  clip?: string;
  dino?: string;
  bertscore?: string;
  bertscoreLayer?: number;
  bertscoreIdf?: boolean;
  bertscoreBaseline?: string;
  limit?: number;
}

const list = (value: string, before: string[]) => [...before, value];

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("eval")
    .description("measure systems on records with targets: pictures (copying the source is always among the systems) or said actions")
    .requiredOption("--data <path>", "the folder of AURORA-Bench, or records (JSON lines: id, source, target, action)")
    .option("--system <name=folder>", "a system's pictures, <id>.png each; may be given several times", list, [])
    .option("--actions <name=file>", "instead: actions a system said, as `worldline annotate` writes them; several times", list, [])
    .requiredOption("--out <folder>", "where results.json, samples.jsonl and report.html go; a rerun goes on where it stopped")
    .option("--model <folder>", "measure token agreement with this model's picture tokenizer, too")
    .option("--clip <folder>", "measure CLIP-I and CLIP-T with this ONNX model, a folder or a hub id: Xenova/clip-vit-base-patch32")
    .option("--dino <folder>", "measure DINO with this ONNX model, a folder or a hub id: Xenova/dino-vits16")
    .option(
      "--bertscore <folder>",
      "measure BERTScore of actions with this ONNX model, a folder or a hub id: Xenova/distilbert-base-uncased",
    )
    .option(
      "--bertscore-layer <n>",
      "the layer whose hidden states are compared, where the export gives it (default: the last)",
      count(1, 999),
    )
    .option("--bertscore-idf", "weigh tokens by how rare they are among the targets' actions")
    .option("--bertscore-baseline <file>", "rescale by the authors' file of baselines for this model (LAYER,P,R,F)")
    .option("--judge <url>", "ask this OpenAI-compatible endpoint for the judge's scores (key: OPENAI_API_KEY)")
    .option("--judge-model <name>", "the judge's model")
    .option("--judge-rate <n>", "most requests a minute", number(0.1, 1e6), defaultJudge.perMinute)
    .option("--judge-cache <folder>", "where answers are kept (default: <out>/judge)")
    .option("--judge-price <in,out>", "dollars per million tokens, for the estimate", "2.5,10")
    .option("--limit <n>", "only the first n records of each part", count(1, 1e9))
    .action(run);
}

async function run(f: Flags): Promise<void> {
  if (f.system.length && f.actions.length)
    throw new WorldlineError("eval measures pictures (--system) or actions (--actions); give one kind");
  const stray = f.actions.length ? (["clip", "dino"] as const).find((name) => f[name]) : f.bertscore && "bertscore";
  if (stray)
    throw new WorldlineError(
      `--${stray} measures ${stray === "bertscore" ? "actions (--actions)" : "pictures (--system)"}; leave it out here`,
    );
  if (!f.bertscore && (f.bertscoreLayer || f.bertscoreIdf || f.bertscoreBaseline))
    throw new WorldlineError("--bertscore-layer, --bertscore-idf and --bertscore-baseline need --bertscore, the model");
  await checkWritable(join(f.out, "report.html"));
  const records = await recordsOf(f.data, f.limit);
  if (f.actions.length) return evalActions(f, records);
  const systems = [copySystem, ...f.system.map((text) => named(text, "--system")).map(([name, folder]) => folderSystem(name, folder))];
  const skipped: Record<string, string> = {};
  const clip = await present(f.clip, "--clip", clipFiles, openClip, ["clip_i", "clip_t"], skipped);
  const dino = await present(f.dino, "--dino", modelFiles, openDino, ["dino"], skipped);
  const tokens = f.model ? await open(f.model) : undefined;
  const metrics = await pictureMetrics({ tokens: tokens?.model, clip, dino });
  const judge = judgeOf(f, records.length * systems.length);
  const samples = await measureSystems(records, systems, f.out, {
    metrics,
    judge,
    jobs: judge ? 8 : 2,
    signal: interruption(),
    onProgress: progress("measuring"),
  });
  const results = summarise(
    samples,
    systems.map((s) => s.name),
    records.length,
  );
  if (judge) {
    const { requests, cached, inputTokens, outputTokens } = judge.judge.used;
    say(`judge: ${requests} requests, ${cached} answers kept from before, ${inputTokens} tokens in, ${outputTokens} out`);
  }
  await report(f, results, samples, await examplesOf(records, systems, samples), { skipped, device: tokens?.device });
}

async function evalActions(f: Flags, records: readonly TripletRecord[]): Promise<void> {
  const systems: { name: string; said: Map<string, string> }[] = [];
  for (const [name, file] of f.actions.map((text) => named(text, "--actions"))) {
    if (systems.some((s) => s.name === name)) throw new WorldlineError(`eval: two systems are called ${name}; give each its own name`);
    const said = await readRecords<AnnotatedRecord>(file, ["action"]);
    systems.push({ name, said: new Map(said.map((r) => [r.id, r.action])) });
  }
  const skipped: Record<string, string> = {};
  const options = {
    layer: f.bertscoreLayer,
    baseline: f.bertscoreBaseline,
    idf: f.bertscoreIdf ? records.map((r) => r.action) : undefined,
  };
  const bert = await present(f.bertscore, "--bertscore", modelFiles, (folder) => openBertScore(folder, options), ["bert_score"], skipped);
  if (bert) say(`BERTScore: F1 by ${bert.said}`);
  const scored =
    bert &&
    (async (pairs: readonly { said: string; truth: string }[]) =>
      (await bert.score(pairs, progress("BERTScore"))).map(({ f: score }) => ({ bert_score: score })));
  const samples = await measureActions(records, systems, scored);
  const results = summarise(
    samples,
    systems.map((s) => s.name),
    records.length,
  );
  await writeText(join(f.out, "samples.jsonl"), samples.map((s) => `${JSON.stringify(s)}\n`).join(""));
  const corpus = Object.fromEntries(systems.map(({ name }) => [name, corpusBleu(samples.filter((s) => s.system === name))]));
  await report(f, results, samples, await saidExamples(records, systems), { corpus, skipped });
  for (const [name, orders] of Object.entries(corpus)) say(`corpus BLEU-1 to 4 of ${name}: ${orders.map((v) => v.toFixed(3)).join(", ")}`);
  say("paper (Table 1, order of BLEU not stated): Chameleon zero-shot 0.00, Chameleon IDM 0.20, Liquid IDM 0.21");
}

/** A metric's model where it is given and there; where not, `skipped` takes the reason for each of its metrics. What is there and wrong throws. */
async function present<T>(
  name: string | undefined,
  flag: string,
  files: FileChoice,
  open: (folder: string) => Promise<T>,
  metrics: readonly string[],
  skipped: Record<string, string>,
): Promise<T | undefined> {
  try {
    if (name) return await open(await folderOf(name, undefined, files));
    for (const metric of metrics) skipped[metric] = `no model was given; ${flag} names one`;
  } catch (error) {
    if (!(error instanceof AbsentError || error instanceof UnreachableError)) throw error;
    for (const metric of metrics) skipped[metric] = error.message;
  }
  return undefined;
}

/** Records of --data: a benchmark folder or a file; at most `limit` of each part. */
export async function recordsOf(data: string, limit?: number): Promise<TripletRecord[]> {
  const folder = (await stat(data).catch(() => undefined))?.isDirectory();
  let records: readonly TripletRecord[];
  if (folder || extname(data) === ".json") {
    const set = await readAurora(data);
    say(`${data}: ${set.records.length} usable entries; ${countsLine(set.missing, set.untargeted)}`);
    records = set.records;
  } else records = await readRecords<TripletRecord>(data, ["action"]);
  const ids = new Set<string>();
  for (const { id } of records) {
    if (ids.has(id))
      throw new WorldlineError(`${data}: the id "${id}" is given twice; predictions are told apart by it, so each record needs its own`);
    ids.add(id);
  }
  const seen = new Map<string | undefined, number>();
  const first = records.filter(({ family }) => {
    seen.set(family, (seen.get(family) ?? 0) + 1);
    return seen.get(family)! <= (limit ?? Number.POSITIVE_INFINITY);
  });
  if (first.length === 0) throw new WorldlineError(`${data} holds no usable record; check the path`);
  return first;
}

/** "name=path" in two. */
export function named(text: string, flag: string): [string, string] {
  const at = text.indexOf("=");
  if (at < 1 || at === text.length - 1) throw new WorldlineError(`${flag} "${text}" is not of the form name=path`);
  return [text.slice(0, at), text.slice(at + 1)];
}

function judgeOf(f: Flags, edits: number): { judge: Judge; name: string } | undefined {
  if (!f.judge) return undefined;
  if (!f.judgeModel) throw new WorldlineError("--judge needs --judge-model, the name of the model to ask");
  const [input, output] = f.judgePrice.split(",").map(Number);
  if (!(input >= 0 && output >= 0)) throw new WorldlineError(`--judge-price "${f.judgePrice}" is not two numbers parted by a comma`);
  const cost = judgeCost(edits, defaultJudge.side, { input, output });
  say(
    `judge: up to ${edits} edits, about ${cost.input} tokens in and ${cost.output} out, $${cost.dollars.toFixed(2)} at --judge-price ${f.judgePrice}; --limit makes it less`,
  );
  const options = { ...defaultJudge, url: f.judge, model: f.judgeModel, key: process.env.OPENAI_API_KEY, perMinute: f.judgeRate };
  return { judge: new Judge({ ...options, cache: f.judgeCache ?? join(f.out, "judge") }), name: f.judgeModel };
}

/** The first two records of each part. */
const firstOfParts = (records: readonly TripletRecord[]) =>
  [...new Set(records.map((r) => r.family))].flatMap((family) => records.filter((r) => r.family === family).slice(0, 2));

const shot = async (name: string, path: string, note?: string): Promise<Shot> => ({ name, picture: await readPicture(path), note });

/** Records with every system's picture and what was measured on it; the source stands for the copy baseline. */
async function examplesOf(
  records: readonly TripletRecord[],
  systems: readonly BenchSystem[],
  samples: readonly Sample[],
): Promise<ShotRow[]> {
  const note = (id: string, system: string) => {
    const sample = samples.find((s) => s.id === id && s.system === system);
    const values = Object.entries(sample ? valuesOf(sample) : {}).slice(0, 4);
    return values.map(([metric, v]) => `${metric} ${v.toFixed(metric === "psnr" ? 1 : 2)}`).join(", ");
  };
  const rows = firstOfParts(records).map(async (record) => {
    const list = [await shot("source (copy)", record.source, note(record.id, "copy")), await shot("target", record.target)];
    for (const system of systems.slice(1)) {
      const path = system.pictureOf(record);
      if (path) list.push(await shot(system.name, path, note(record.id, system.name)));
    }
    return { heading: `${record.id}: ${record.action}`, list };
  });
  return Promise.all(rows);
}

/** Records with what every system said of them; without pictures where these are not there, as actions are measured without. */
async function saidExamples(
  records: readonly TripletRecord[],
  systems: readonly { readonly name: string; readonly said: ReadonlyMap<string, string> }[],
): Promise<ShotRow[]> {
  const rows = firstOfParts(records).map(async (record) => ({
    heading: `${record.id}: ${record.action}`,
    note: systems.map(({ name, said }) => `${name} says: ${said.get(record.id) ?? "nothing"}`).join("; "),
    list: [await shot("source", record.source), await shot("target", record.target)],
  }));
  return Promise.all(rows).catch((error: unknown) => {
    if (!(error instanceof WorldlineError)) throw error;
    say(`note: the page has no examples: ${error.message}`);
    return [];
  });
}

async function report(
  f: Flags,
  results: Results,
  samples: readonly Sample[],
  examples: readonly ShotRow[],
  { corpus, skipped, device }: { readonly corpus?: object; readonly skipped: Readonly<Record<string, string>>; readonly device?: Device },
): Promise<void> {
  const byOnnx = ["clip_i", "dino", "bert_score"].some((metric) => results.metrics.includes(metric));
  const onnx: Record<string, string> = byOnnx ? { onnx: `${(await onnxRuntime()).name} on the processor` } : {};
  const origin = { ...originOf(device), data: f.data, judge: f.judgeModel ?? "none", ...onnx };
  await writeText(
    join(f.out, "results.json"),
    `${JSON.stringify({ ...results, skipped, ...(corpus && { corpus_bleu: corpus }), origin }, null, 1)}\n`,
  );
  await writeText(join(f.out, "report.html"), benchHtml(`Evaluation on ${f.data}`, results, examples, origin, skipped));
  const head = (metric: string) => [metricNames[metric] ?? metric, ...results.subsets, "all"];
  for (const metric of results.metrics) {
    say("");
    for (const line of aligned(head(metric), rowsOfMetric(results, metric, paperRows(metric)))) say(line);
  }
  if (Object.keys(skipped).length) say("");
  for (const [metric, reason] of Object.entries(skipped)) say(`${metricNames[metric]} skipped: ${reason}`);
  const tests = results.comparisons.filter((c) => c.difference.n).map(comparisonRow);
  if (tests.length) say("");
  if (tests.length) for (const line of aligned(["paired (Wilcoxon)", "systems", "difference", "n", "p"], tests)) say(line);
  for (const [system, n] of Object.entries(results.absent)) if (n) say(`note: ${system} lacks ${n} predictions`);
  for (const [system, n] of Object.entries(results.unjudged)) if (n) say(`note: ${n} edits of ${system} got no verdict; see samples.jsonl`);
  say(`\n${join(f.out, "report.html")}: ${samples.length} samples of ${results.systems.length} systems`);
}
