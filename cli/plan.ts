// worldline plan: memory by kind, operations and hours of a training run, from the options of `worldline train`, without taking a device.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { nodeHost } from "../engine/host_node.ts";
import { listOf, trainOptions, wholeConfig } from "../train/config.ts";
import { type Bytes, trainingFlops, trainingMemory } from "../train/estimate.ts";
import { type ChameleonConfig, parseConfig } from "../weights/names.ts";
import { parseJsonObject } from "../weights/source.ts";
import { defaultGroupSize } from "../weights/stored.ts";
import { duration, number, say } from "./terminal.ts";
import { loraOf } from "./train.ts";
import { givenOptions, withOptions } from "./train_flags.ts";

interface PlanFlags {
  readonly batch?: string;
  readonly recompute?: boolean;
  readonly tokens: number;
  readonly scored?: number;
  readonly examples?: number;
  readonly tflops: number;
  readonly layers?: number;
  readonly json?: boolean;
  readonly [flag: string]: unknown;
}

/** Sizes of the published models; all else are their defaults. */
const sizes: Readonly<Record<string, Record<string, unknown>>> = {
  "7b": {},
  "30b": {
    hidden_size: 8192,
    intermediate_size: 22016,
    num_hidden_layers: 48,
    num_attention_heads: 64,
    num_key_value_heads: 8,
    swin_norm: true,
    model_parallel_size: 4,
  },
};

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("plan")
    .argument("[role]", "cdm, cft or cwm")
    .description("memory, operations and hours of a training run, without a device; options as for train")
    .option("--batch <n>", "per_device_train_batch_size")
    .option("--recompute", "gradient_checkpointing")
    .option("--tokens <n>", "tokens of an example: two pictures of 1,026 and the words", number(2, 1e6, true), 2100)
    .option("--scored <n>", "tokens of an example that are learned (default: 1024, for cdm 32)", number(1, 1e6, true))
    .option("--examples <n>", "examples in an epoch, for hours of the whole run", number(1, 1e9, true))
    .option("--layers <n>", "count so many layers instead of the model's", number(1, 1e4, true))
    .option("--tflops <x>", "what the device sustains, in TFLOP/s", number(1e-6, 1e6), 100)
    .option("--json", "print one JSON object");
  withOptions(command).action(run);
}

async function run(role: string | undefined, flags: PlanFlags): Promise<void> {
  const given = { ...flags };
  if (flags.batch !== undefined) given.perDeviceTrainBatchSize = flags.batch;
  if (flags.recompute) given.gradientCheckpointing = true;
  const { config } = await givenOptions(given, role);
  const c = wholeConfig({ role: "cwm", data: "", output_dir: "", model_name_or_path: "7b" }, config);
  if (c.trainable_rows !== "" || listOf(c.trainable_parameters).length)
    throw new WorldlineError("plan counts all weights or an adapter as trained; leave trainable_parameters and trainable_rows out");
  const model = await sizesOf(c.model_name_or_path);
  const lm: ChameleonConfig = flags.layers ? { ...model.config, layers: flags.layers } : model.config;
  const shape = { T: Math.ceil(flags.tokens / 4) * 4, scored: Math.min(flags.tokens, flags.scored ?? (c.role === "cdm" ? 32 : 1024)) };
  const step = trainOptions(c, flags.examples ?? 1);
  const lora = c.use_peft ? loraOf(c) : undefined;
  const as = { dtype: c.dtype, groupSize: defaultGroupSize };
  const measure = (recompute: boolean) =>
    trainingMemory(nodeHost, { config: lm, as, lora, shapes: [shape], step: { ...step, recompute }, pictures: true });
  const [held, again] = [await measure(false), await measure(true)];
  const flops = trainingFlops(lm, step.batch, shape, { lora, recompute: step.recompute });
  const perStep = flops.total * step.accumulate;
  const seconds = perStep / flags.tflops / 1e12;
  if (flags.json) {
    const out = {
      model: model.name,
      config: lm,
      options: c,
      shape,
      memory: step.recompute ? again : held,
      held,
      recompute: again,
      flops,
      seconds,
    };
    return void console.log(JSON.stringify(out));
  }
  say(`${model.name}: ${lm.layers} layers of ${lm.hidden}, weights as ${c.dtype}${lora ? `, LoRA of rank ${lora.rank}` : ", all trained"}`);
  say(`${step.batch} x ${shape.T} tokens (${shape.scored} learned), ${step.accumulate} micro-batches a step\n`);
  table(held, again, step.recompute);
  const steps = c.max_steps || (flags.examples ? step.steps : 0);
  const tera = (n: number) => `${(n / 1e12).toFixed(1)} TFLOP`;
  say(
    `\na micro-batch: forward ${tera(flops.forward)}, backward ${tera(flops.backward)}${flops.recompute ? `, recompute ${tera(flops.recompute)}` : ""}`,
  );
  say(`a step: ${tera(perStep)}, ${duration(seconds)} at ${flags.tflops} TFLOP/s`);
  if (steps) say(`${steps} steps: ${((steps * seconds) / 3600).toFixed(1)} hours at ${flags.tflops} TFLOP/s`);
  else say("give --examples or --max-steps for the hours of the whole run");
}

/** Memory by kind, with everything held and with blocks recomputed. */
function table(held: Bytes, again: Bytes, recompute: boolean): void {
  const kinds = [...new Set([...Object.keys(held), ...Object.keys(again)])] as (keyof Bytes)[];
  const gib = (n: number) => `${(n / 2 ** 30).toFixed(3)} GiB`.padStart(14);
  const mark = (on: boolean) => (on ? "* " : "  ");
  say(`${"".padEnd(14)}${`${mark(!recompute)}all held`.padStart(14)}${`${mark(recompute)}recomputed`.padStart(14)}`);
  for (const kind of kinds) say(`${kind.padEnd(14)}${gib(held[kind] ?? 0)}${gib(again[kind] ?? 0)}`);
  const sum = (b: Bytes) => Object.values(b).reduce((a, n) => a + n, 0);
  say(`${"sum".padEnd(14)}${gib(sum(held))}${gib(sum(again))}   (* as the options say)`);
}

/** The sizes of a model: 7b, 30b, a folder, or a published name that says one of the two. */
async function sizesOf(name: string): Promise<{ name: string; config: ChameleonConfig }> {
  if (existsSync(join(name, "config.json"))) {
    const path = join(name, "config.json");
    return { name, config: parseConfig(parseJsonObject(await readFile(path, "utf8"), path), path) };
  }
  const known = /(?:^|[^\d])(7b|30b)(?:$|[^a-z\d])/i.exec(name)?.[1].toLowerCase();
  if (!known) throw new WorldlineError(`${name} is no model folder and its name says no size; give a folder, 7b or 30b`);
  const config = parseConfig({ ...sizes[known], vq_config: {} });
  return { name: known === name ? name : `${name} (sizes of ${known} by its name)`, config };
}
