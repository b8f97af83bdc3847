// worldline train [cdm|cft|cwm]: fine-tunes a model for one role on triplets, all of it or a LoRA adapter, in a run folder that can be resumed.

import { existsSync } from "node:fs";
import { isAbsolute, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { phrasedTemplates, plainTemplate } from "../tokenizer/templates.ts";
import { matmulCeiling } from "../train/ceiling.ts";
import { checkpoints } from "../train/checkpoints.ts";
import { listOf, printConfig, trainOptions, wholeConfig } from "../train/config.ts";
import type { TrainOptions, TrainRecord } from "../train/loop.ts";
import type { PartialConfig, TrainConfig } from "../train/options.ts";
import type { LoraConfig } from "../weights/adapter.ts";
import { checkWritable } from "../weights/file_source.ts";
import { CodeStore } from "../world/codes.ts";
import type { GridRow } from "../world/held_out.ts";
import type { ShotRow } from "../world/page.ts";
import { readPicture } from "../world/pictures.ts";
import { writeText } from "../world/records.ts";
import { trainHtml } from "../world/stage_reports.ts";
import { type RoleOptions, type RoleResult, trainRole } from "../world/train_role.ts";
import { describePart, readTripletFiles, type TripletFile } from "../world/triplet_files.ts";
import { folderOf } from "./shared.ts";
import { duration, Interrupted, interruption, progress, say, status } from "./terminal.ts";
import { givenOptions, withOptions } from "./train_flags.ts";
import { originOf } from "./versions.ts";

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("train")
    .argument("[role]", "cdm: says the action; cft: draws the next picture; cwm: the same with recognition weights")
    .description("fine-tune a model for one role: all weights, or a LoRA adapter")
    .option("--print-config", "print the options in effect as TOML and stop")
    .option("--resume", "go on from the newest whole checkpoint; an error where there is none (a rerun goes on without this, too)");
  withOptions(command).action(run);
}

async function run(role: string | undefined, flags: Readonly<Record<string, unknown>>): Promise<void> {
  const { config, preset } = await givenOptions(flags, role);
  if (flags.printConfig) return void process.stdout.write(printConfig({ ...partlyWhole(config) }, preset));
  const c = wholeConfig(config);
  await checkWritable(join(c.output_dir, "model.safetensors"));
  if (flags.resume && (await checkpoints(c.output_dir)).length === 0)
    throw new WorldlineError(`${c.output_dir} holds no checkpoint to resume from; start without --resume`);
  const read = (files: PartialConfig["data"]) => readTripletFiles(filesOf(files), { skipMissing: c.skip_missing, seed: c.seed });
  const parts = [...(await read(c.data)), ...(await read(c.synthetic))];
  for (const p of parts) if (parts.length > 1 || p.missing || p.untargeted || p.capped) say(describePart(p));
  const heldParts = await read(c.eval_data);
  for (const p of heldParts) if (p.missing || p.untargeted || p.capped) say(describePart(p));
  const held = heldParts.flatMap((p) => p.records).slice(0, c.eval_samples);
  if (heldParts.length && !held.length)
    throw new WorldlineError(`${heldParts[0].path} (eval_data) holds no usable triplet; leave it out to train without evaluations`);
  const signal = interruption();
  const base = await folderOf(c.model_name_or_path, signal);
  const device = await openDevice();
  const ceiling = await matmulCeiling(device, 4);
  const cache = c.cache ?? join(c.output_dir, "codes.bin");
  let grid: Grid | undefined;
  const result = await trainRole(device, (model) => CodeStore.open(device, model, cache), {
    ...roleOptions(c),
    base,
    data: parts,
    heldOut: {
      records: held,
      pictures: c.eval_pictures,
      onGrid: (step, rows) => {
        grid = { step, rows };
      },
    },
    signal,
    onEncode: progress("encoding pictures"),
    onStart: async ({ examples, options, resumed }) => {
      say(`${device.describe()}\n${examples} examples an epoch, ${options.steps} steps${resumed ? `, going on from step ${resumed}` : ""}`);
      if (!existsSync(join(c.output_dir, "config.toml")))
        await writeText(join(c.output_dir, "config.toml"), printConfig(fromFolder(c), preset));
    },
    onLog: (r, options) => status(lineOf(r, options, ceiling)),
    onEval: (r) => say(`step ${r.step}: held-out loss ${r.eval_loss.toFixed(4)}, ${(100 * r.eval_accuracy).toFixed(1)}% of tokens right`),
    onNotice: say,
    onSkip: (step, loss, norm) => say(`step ${step} is passed over: loss ${loss}, gradient norm ${norm}`),
  });
  if (!result) throw new Interrupted();
  const last = result.log[result.log.length - 1];
  // A run that was finished before has its page, which says how fast it was and shows pictures.
  const page = join(c.output_dir, "report.html");
  if (result.seconds || !existsSync(page)) {
    const shown = grid && { step: grid.step, rows: await shownRows(grid.rows) };
    const options = printConfig(c, preset);
    const words = {
      title: `Training of ${roleNames[c.role]}`,
      lead: leadOf(c, result),
      numbers: numbersOf(result, ceiling),
      shown,
      options,
    };
    await writeText(page, trainHtml(words, result.log, result.evaluations, originOf(device, c.seed)));
  }
  say(
    `${c.output_dir}: ${last?.step ?? 0} steps on ${result.examples} examples, loss ${lossOf(last)}, ${
      result.seconds
        ? `${duration(result.seconds)}, ${result.tokensPerSecond.toFixed(0)} tokens/s, waited ${(100 * result.waitingShare).toFixed(1)}% for batches, JavaScript busy ${(100 * result.hostShare).toFixed(1)}%`
        : "finished before"
    }`,
  );
}

interface Grid {
  readonly step: number;
  readonly rows: readonly GridRow[];
}

const roleNames = { cdm: "a dynamics model (cdm)", cft: "a world model (cft)", cwm: "a world model with recognition weights (cwm)" };

/** A loss of skipped steps alone is no number, and null once it was written. */
const lossOf = (r?: TrainRecord) => (r?.loss ?? Number.NaN).toFixed(4);

function leadOf(c: TrainConfig, { log, evaluations, examples, steps }: RoleResult): string {
  const [last, held] = [log[log.length - 1], evaluations[evaluations.length - 1]];
  const words = [`${c.model_name_or_path} after ${last?.step ?? steps} steps on ${examples} examples an epoch`];
  if (last) words.push(`loss ${lossOf(last)}`);
  if (held) words.push(`held out ${held.eval_loss.toFixed(4)} with ${(100 * held.eval_accuracy).toFixed(1)}% of the tokens right`);
  return `${words.join(", ")}.`;
}

function numbersOf(r: RoleResult, ceiling: number): Record<string, string> {
  return {
    steps: `${r.log[r.log.length - 1]?.step ?? r.steps}, ${r.steps} of them in this run, ${r.skipped} passed over`,
    throughput: r.seconds
      ? `${r.tokensPerSecond.toFixed(0)} tokens/s, ${r.gflopPerSecond.toFixed(1)} of ${ceiling.toFixed(0)} GFLOP/s, ${duration(r.seconds)} with evaluations`
      : "finished before",
    host: r.seconds ? `JavaScript busy ${(100 * r.hostShare).toFixed(1)}%, waiting for batches ${(100 * r.waitingShare).toFixed(1)}%` : "-",
  };
}

/** Held-out triplets as they were given and as the model sees them, with what it drew or said. */
function shownRows(rows: readonly GridRow[]): Promise<ShotRow[]> {
  return Promise.all(
    rows.map(async ({ record, source, target, drawn, said }) => ({
      heading: record.action,
      note: said === undefined ? undefined : `the model says: ${said}`,
      list: [
        { name: "source", picture: await readPicture(record.source), note: record.id },
        { name: "target", picture: await readPicture(record.target) },
        { name: "source, from its codes", picture: source },
        { name: "target, from its codes", picture: target },
        ...(drawn ? [{ name: "drawn by the model", picture: drawn, chosen: true }] : []),
      ],
    })),
  );
}

/** The options with paths of data as config.toml in the run folder must have them: relative to it. */
function fromFolder(c: TrainConfig): TrainConfig {
  const place = (p: string) => (isAbsolute(p) ? p : relative(resolve(c.output_dir), resolve(p)));
  const placed = (files: PartialConfig["data"]) =>
    files &&
    filesOf(files).map((f) => ({
      ...f,
      factor: f.factor ?? 1,
      path: place(f.path),
      ...(f.root === undefined ? {} : { root: place(f.root) }),
    }));
  return { ...c, data: placed(c.data)!, synthetic: placed(c.synthetic), eval_data: placed(c.eval_data) };
}

const filesOf = (value: PartialConfig["data"]): TripletFile[] =>
  value === undefined ? [] : typeof value === "string" ? [{ path: value }] : value.map((v) => (typeof v === "string" ? { path: v } : v));

/** What trainRole takes from a configuration. */
export function roleOptions(c: TrainConfig): Omit<RoleOptions, "base" | "data"> {
  const task = c.role === "cdm" ? "cdm" : "cwm";
  const templates = c.prompt === "phrases" ? phrasedTemplates(task, c.prompt_order) : [plainTemplate(task, c.prompt_order)];
  const recognition = c.role === "cwm" ? { epsilon: c.recognition_epsilon, floor: c.recognition_floor } : undefined;
  return {
    role: c.role,
    out: c.output_dir,
    templates,
    recognition,
    dtype: c.dtype,
    lora: c.use_peft ? loraOf(c) : undefined,
    ...chosenOf(c),
    training: (examples) => trainOptions(c, examples),
    order: { shapes: c.group_by_length ? c.max_batch_shapes : 1 },
    worker: c.dataloader_num_workers > 0,
    keep: c.save_total_limit,
    keepAtEnd: true,
  };
}

/** The adapter of a configuration. */
export function loraOf(c: TrainConfig): LoraConfig {
  return {
    rank: c.lora_r,
    alpha: c.lora_alpha,
    dropout: c.lora_dropout,
    rsLora: c.use_rslora,
    target: c.target_modules,
    ...(c.modules_to_save.length ? { modulesToSave: c.modules_to_save } : {}),
    // A folder by its whole path, so that the adapter finds its base from anywhere.
    base: existsSync(c.model_name_or_path) ? resolve(c.model_name_or_path) : c.model_name_or_path,
  };
}

/** What is trained of the model itself, where that is not everything. */
function chosenOf(c: TrainConfig): Pick<RoleOptions, "only" | "rows"> {
  const only = listOf(c.trainable_parameters);
  const [, table, first, last] = /^(\w+):(\d+)-(\d+)$/.exec(c.trainable_rows) ?? [];
  const of = table === "lm_head" ? "lm_head" : "model.embed_tokens";
  return {
    ...(only.length ? { only } : {}),
    ...(table ? { rows: { of, first: Number(first), count: Number(last) - Number(first) + 1 } } : {}),
  };
}

/** The options in effect, also where model, data or folder are still missing. */
function partlyWhole(config: PartialConfig): PartialConfig {
  const { role = "cdm", model_name_or_path = "", output_dir = "", data = "" } = config;
  const whole = wholeConfig(config, { role, model_name_or_path, output_dir, data });
  const given = Object.entries(whole).filter(([key, v]) => v !== "" && (key !== "role" || config.role));
  return Object.fromEntries(given) as PartialConfig;
}

/** The progress line. */
function lineOf(r: TrainRecord, o: TrainOptions, ceiling: number): string {
  const perStep = r.tokens_per_s > 0 ? ` ${r.tokens_per_s.toFixed(0)} tokens/s` : "";
  const left = r.seconds_left > 0 ? `, ${duration(r.seconds_left)} left` : "";
  const waiting = r.waiting_share >= 0.01 ? `, waiting ${(100 * r.waiting_share).toFixed(0)}%` : "";
  const skipped = r.skipped_steps ? `, ${r.skipped_steps} skipped` : "";
  return `step ${r.step}/${o.steps} loss ${r.loss.toFixed(4)} lr ${r.learning_rate.toExponential(2)} grad ${r.grad_norm.toFixed(2)}${perStep}, ${((100 * r.gflop_per_s) / ceiling).toFixed(0)}% of ${ceiling.toFixed(0)} GFLOP/s, ${(r.memory_bytes / 2 ** 30).toFixed(2)} GiB${waiting}${skipped}${left}`;
}
