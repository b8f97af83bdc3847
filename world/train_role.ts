// Fine-tunes a base for one role in a run folder: cdm (action from two pictures), cft (next picture) and cwm (next picture, recognition weights). All
// weights are trained, or a LoRA adapter over a base that stays as it is. State is kept in the folder, so a rerun goes on; when it is done the
// folder is the finished model's, or the adapter's in PEFT's files.
import { createHash } from "node:crypto";
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { parameters, patternOf, setTrainable, trainable } from "../engine/module.ts";
import { Rng } from "../engine/rng.ts";
import { type Adapter, adapterData, createAdapter, trainAdapter, withAdapter } from "../models/lora.ts";
import { type RowChoice, withRows } from "../models/rows.ts";
import { plainTemplate, type Template } from "../tokenizer/templates.ts";
import { checkpointStore, checkpoints, clearCheckpoints, finishedState, type StoreOptions, stateFile } from "../train/checkpoints.ts";
import {
  type EvalRecord,
  type RunState,
  type TrainHooks,
  type TrainOptions,
  type TrainRecord,
  type TrainResult,
  train,
} from "../train/loop.ts";
import { feedOf, type OrderOptions, shuffled } from "../train/order.ts";
import { RunFolder } from "../train/run_folder.ts";
import { type LoraConfig, peftName, saveAdapter, writeAdapterConfig } from "../weights/adapter.ts";
import { modelKey } from "./answers.ts";
import { workerFeed } from "./batch_feed.ts";
import type { CodeStore, Progress } from "./codes.ts";
import { type ExampleOptions, type Role, tripletSet } from "./examples.ts";
import { type HeldOutOptions, heldOut } from "./held_out.ts";
import { type LoadOptions, loadModel, type Model, saveModel } from "./model.ts";
import type { RecognitionOptions } from "./recognition.ts";
import { type TripletRecord, writeText } from "./records.ts";

export type { Role } from "./examples.ts";

export interface RoleOptions {
  readonly role: Role;
  /** Folder or hub id of the model to start from. */
  readonly base: string;
  readonly out: string;
  /** Triplets, and how often each counts in an epoch. */
  readonly data: readonly { readonly records: readonly TripletRecord[]; readonly factor: number }[];
  /** Recognition weights on the target's codes; none: plain loss. */
  readonly recognition?: RecognitionOptions;
  /** Wordings, of which one is drawn for each example; the plain template where absent. */
  readonly templates?: readonly Template[];
  /** Train an adapter instead of all weights. */
  readonly lora?: LoraConfig;
  /** Without an adapter: patterns on parameter names, of which alone is trained, and rows of a table trained apart; everything where both are absent. */
  readonly only?: readonly string[];
  readonly rows?: RowChoice;
  /** How the base's matrices are held; all but f32 can only carry an adapter. */
  readonly dtype?: LoadOptions["dtype"];
  /** The loop's options, or what makes them from the number of examples in an epoch. */
  readonly training: TrainOptions | ((examples: number) => TrainOptions);
  /** Shapes of batches; one by default. */
  readonly order?: OrderOptions;
  /** Make batches in a worker thread; the code store must have a file. */
  readonly worker?: boolean;
  /** Checkpoints to keep while training, and whether they stay at the end. Default 1, and no. */
  readonly keep?: number;
  readonly keepAtEnd?: boolean;
  /** Held-out triplets whose loss is measured, and how many of them are drawn (or named) into a picture grid. */
  readonly heldOut?: Pick<HeldOutOptions, "records" | "pictures" | "onGrid">;
  readonly onStart?: (start: { examples: number; options: TrainOptions; resumed: number }) => Promise<void>;
  readonly onLog?: (r: TrainRecord, options: TrainOptions) => void;
  readonly onEval?: (r: EvalRecord) => void;
  readonly onSkip?: TrainHooks["onSkip"];
  readonly onEncode?: Progress;
  readonly onNotice?: (text: string) => void;
  readonly signal?: AbortSignal;
}

export interface RoleResult {
  readonly log: readonly TrainRecord[];
  readonly evaluations: readonly EvalRecord[];
  readonly examples: number;
  readonly steps: number;
  readonly seconds: number;
  readonly tokensPerSecond: number;
  readonly gflopPerSecond: number;
  readonly hostShare: number;
  readonly waitingShare: number;
  readonly skipped: number;
}

/** Trains and saves. Returns undefined if the signal stopped it (state is kept). A run that is finished already returns at once. */
export async function trainRole(
  device: Device,
  codes: (model: Model) => Promise<CodeStore>,
  o: RoleOptions,
): Promise<RoleResult | undefined> {
  const base = await loadModel(device, o.base, { dtype: o.dtype, onNotice: o.onNotice });
  const store = await codes(base);
  const everything = [...o.data.flatMap((d) => d.records), ...(o.heldOut?.records ?? [])];
  const pictures = everything.flatMap((r) => [r.source, r.target]);
  await store.add(pictures, { onProgress: o.onEncode, signal: o.signal });
  await base.pictures.release();
  const examples = exampleOptions(o, typeof o.training === "function" ? o.training(1).seed : o.training.seed);
  const set = tripletSet(base, store, o.data, examples);
  const count = set.entries(0).length;
  if (count === 0) throw new WorldlineError("there are no training examples; give at least one");
  const options = typeof o.training === "function" ? o.training(count) : o.training;
  const { model, adapter } = await adapted(device, base, o, options.seed);
  const identity = storeOptions(o, options, examples, store, count, await modelKey(base.folder), adapter);
  const run = new RunFolder(o.out);
  const before = await finishedState<TrainRecord | EvalRecord>(o.out, identity);
  if (before) {
    const log = before.log.filter((r): r is TrainRecord => "loss" in r);
    const evaluations = before.log.filter((r): r is EvalRecord => "eval_loss" in r);
    return resultOf({ ...nothing, log, evaluations, steps: before.step }, count);
  }
  const trained = trainable(model.lm);
  const disk = checkpointStore(device, trained, o.out, identity);
  const feedOptions = { batch: options.batch, accumulate: options.accumulate, padId: model.config.padId };
  const order = { ...o.order, batch: options.batch };
  const feed =
    o.worker && store.path !== undefined
      ? await workerFeed({
          cache: { path: store.path, name: store.name },
          config: model.config,
          names: Object.fromEntries(model.tokenizer.vocabulary),
          tokenizer: model.files["tokenizer.json"],
          shares: o.data.map((d) => ({ factor: d.factor, records: d.records.map((r) => byHash(r, store)) })),
          examples,
          order,
          batches: feedOptions,
        })
      : feedOf(shuffled(set, options.seed, order), feedOptions);
  const result = await train(device, model.lm, feed, options, {
    lora: o.lora,
    onLog: (r) => {
      run.log(r);
      o.onLog?.(r, options);
    },
    onEval: (r) => {
      run.log(r);
      o.onEval?.(r);
    },
    onSkip: o.onSkip,
    evaluate: await evaluator(device, model, store, run, examples, o, options.batch),
    signal: o.signal,
    store: {
      async load() {
        const state = await disk.load();
        await run.rewind(state?.step ?? 0);
        await o.onStart?.({ examples: count, options, resumed: state?.step ?? 0 });
        return state;
      },
      async save(state) {
        await run.flush();
        await disk.save(state);
      },
    },
  });
  await run.flush();
  if (!result.finished) return undefined;
  await publish(device, o, model, adapter);
  const last: RunState = { step: options.steps, epoch: (options.steps * options.batch * options.accumulate) / count, log: entries(result) };
  await writeText(
    join(o.out, "trainer_state.json"),
    `${JSON.stringify(stateFile(last, identity.run, identity, o.keepAtEnd ? await checkpoints(o.out) : []), null, 1)}\n`,
  );
  if (!o.keepAtEnd) await clearCheckpoints(o.out);
  return resultOf(result, count);
}

function exampleOptions(o: RoleOptions, seed: number): ExampleOptions {
  const task = o.role === "cdm" ? "cdm" : "cwm";
  return { role: o.role, templates: o.templates ?? [plainTemplate(task, "text_first")], recognition: o.recognition, seed };
}

function evaluator(
  device: Device,
  model: Model,
  store: CodeStore,
  run: RunFolder,
  examples: ExampleOptions,
  o: RoleOptions,
  batch: number,
) {
  if (!o.heldOut || o.heldOut.records.length === 0) return undefined;
  return heldOut(device, model, store, run, { ...o.heldOut, examples, batch: Math.min(8, batch), onNotice: o.onNotice });
}

/** The model with a new adapter, of which alone is trained; or the base with everything to be trained. */
async function adapted(device: Device, base: Model, o: RoleOptions, seed: number): Promise<{ model: Model; adapter?: Adapter }> {
  if ([...parameters(base.lm).keys()].some((name) => /\.lora_[AB]\.weight$/.test(name)))
    throw new WorldlineError(
      `${o.base} is an adapter; training starts from a whole model, merge it first: worldline convert --model <base> --adapter ${o.base} --out <folder>`,
    );
  if (!o.lora) {
    const lm = o.rows ? await withRows(device, base.lm, o.rows) : base.lm;
    const patterns = (o.only ?? []).map((p) => patternOf("trainable_parameters", p));
    setTrainable(lm, o.only || o.rows ? [...patterns, ...(o.rows ? [/\.rows\.weight$/] : [])] : true);
    if (trainable(lm).size === 0)
      throw new WorldlineError(`trainable_parameters: nothing is called like ${o.only?.join(" or ")}; see worldline inspect for the names`);
    return { model: { ...base, lm } };
  }
  const config = { ...o.lora, base: o.lora.base ?? o.base };
  const adapter = await createAdapter(device, base.config, config, new Rng(seed, "adapter"), base.lm);
  const lm = withAdapter(base.lm, adapter);
  trainAdapter(lm, adapter);
  return { model: { ...base, lm }, adapter };
}

/** What decides the numbers of a run; state of another one is refused. */
function storeOptions(
  o: RoleOptions,
  options: TrainOptions,
  examples: ExampleOptions,
  store: CodeStore,
  count: number,
  base: string,
  adapter?: Adapter,
): StoreOptions {
  const { logEvery: _, saveEvery: __, evalEvery: ___, recompute: ____, ...decisive } = options;
  const hash = createHash("sha256").update(store.name);
  for (const { records, factor } of o.data) {
    hash.update(`\n${factor}\n`);
    for (const r of records) hash.update(JSON.stringify([store.hash(r.source), store.hash(r.target), r.action]));
  }
  const { role, templates, recognition } = examples;
  const lora = o.lora && { ...o.lora, base: null };
  const run = {
    role,
    base,
    ...decisive,
    recognition: recognition ?? null,
    templates: templates.map((t) => t.name),
    order: o.order ?? null,
    lora: lora ?? null,
    ...(o.only ? { only: o.only } : {}),
    ...(o.rows ? { rows: o.rows } : {}),
    dtype: o.dtype ?? "f32",
    data: hash.digest("hex").slice(0, 16),
  };
  const files: Record<string, string> = adapter
    ? { "adapter_config.json": `${JSON.stringify(writeAdapterConfig(adapter.config), null, 2)}\n` }
    : {};
  return {
    run,
    keep: o.keep,
    seed: options.seed,
    maxSteps: options.steps,
    examples: count,
    ...(adapter ? { weightsFile: "adapter_model.safetensors", nameOf: peftName, files } : {}),
  };
}

const byHash = (r: TripletRecord, store: CodeStore) => ({ source: store.hash(r.source), target: store.hash(r.target), action: r.action });

const entries = (r: TrainResult) => [...r.log, ...r.evaluations].sort((a, b) => a.step - b.step);

/** Moves the finished model into the run folder, file by file, the configuration last: without it the folder is no model yet. */
async function publish(device: Device, o: RoleOptions, model: Model, adapter: Adapter | undefined): Promise<void> {
  const temporary = join(o.out, ".finished");
  await rm(temporary, { recursive: true, force: true });
  const task = o.role === "cdm" ? "cdm" : "cwm";
  const prompt: Record<string, string> = o.templates ? { "prompt.json": `${JSON.stringify({ [task]: o.templates[0] }, null, 1)}\n` } : {};
  if (adapter) await saveAdapter(temporary, adapter.config, await adapterData(device, adapter), { files: prompt });
  else await saveModel(device, { ...model, files: { ...model.files, ...prompt } }, temporary);
  const last = adapter ? "adapter_config.json" : "config.json";
  const names = (await readdir(temporary)).filter((n) => n !== last);
  for (const name of [...names, last]) await rename(join(temporary, name), join(o.out, name));
  await rm(temporary, { recursive: true, force: true });
}

const nothing = { seconds: 0, hostSeconds: 0, waitingSeconds: 0, skipped: 0, tokens: 0, flops: 0, finished: true };

function resultOf(r: TrainResult, examples: number): RoleResult {
  const rate = (n: number) => (r.seconds > 0 ? n / r.seconds : 0);
  return {
    log: r.log,
    evaluations: r.evaluations,
    examples,
    steps: r.steps,
    seconds: r.seconds,
    tokensPerSecond: rate(r.tokens),
    gflopPerSecond: rate(r.flops) / 1e9,
    hostShare: rate(r.hostSeconds),
    waitingShare: rate(r.waitingSeconds),
    skipped: r.skipped,
  };
}
