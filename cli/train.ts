// worldline train cdm|cft|cwm: fine-tunes a model folder for one role on labelled (and synthetic) triplets.
import { join } from "node:path";
import { type Command, Option } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { defaultTraining, type TrainOptions } from "../train/loop.ts";
import { checkWritable } from "../weights/file_source.ts";
import { CodeStore } from "../world/codes.ts";
import { readRecords, type TripletRecord } from "../world/records.ts";
import { type Role, trainRole } from "../world/train_role.ts";
import { folderOf, withCache } from "./shared.ts";
import { count, duration, Interrupted, interruption, number, progress, say, status } from "./terminal.ts";

interface Flags {
  model: string;
  data: string;
  synthetic?: string;
  labelRepeats: number;
  epsilon: number;
  out: string;
  cache?: string;
  maxSteps: number;
  perDeviceTrainBatchSize: number;
  learningRate: number;
  lrSchedulerType: TrainOptions["type"];
  warmupRatio: number;
  weightDecay: number;
  maxGradNorm: number;
  saveSteps: number;
  loggingSteps: number;
  seed: number;
}

/** Adds the command. */
export function register(program: Command): void {
  const d = defaultTraining;
  const command = program
    .command("train")
    .argument("<role>", "cdm: says the action; cft: draws the next picture; cwm: the same with recognition weights and synthetic triplets")
    .description("fine-tune a model folder for one role")
    .requiredOption("--model <model>", "model to start from: a folder or a hub id")
    .requiredOption("--data <file>", "labelled triplets (JSON lines: id, source, target, action)")
    .option("--synthetic <file>", "triplets that `worldline annotate` made")
    .option("--label-repeats <n>", "how often labelled triplets count beside synthetic ones", count(1, 100), 1)
    .option("--epsilon <x>", "cwm: share of the plain loss in the recognition weights; 1 switches them off", number(0, 1), 0.8)
    .requiredOption("--out <folder>", "where to write the model folder; a rerun goes on where it stopped")
    .option("--max-steps <n>", "training steps", count(1, 1e8), d.steps)
    .option("--per-device-train-batch-size <n>", "examples per step", count(1, 65536), d.batch)
    .option("--learning-rate <x>", "peak learning rate", number(0, 10), d.learningRate)
    .addOption(
      new Option("--lr-scheduler-type <name>", "schedule after the warm-up").choices(["cosine", "linear", "constant"]).default(d.type),
    )
    .option("--warmup-ratio <x>", "share of the steps that warm up", number(0, 1), d.warmupRatio)
    .option("--weight-decay <x>", "decoupled weight decay", number(0, 10), d.weightDecay)
    .option("--max-grad-norm <x>", "clip the global gradient norm; 0: do not", number(0, 1e9), d.clip)
    .option("--save-steps <n>", "steps between checkpoints", count(1, 1e8), d.saveEvery)
    .option("--logging-steps <n>", "steps between log lines", count(1, 1e8), d.logEvery)
    .option("--seed <n>", "seed of the order of examples", count(0, 2 ** 31), 0);
  withCache(command).action(run);
}

async function run(role: string, f: Flags): Promise<void> {
  if (role !== "cdm" && role !== "cft" && role !== "cwm") throw new WorldlineError(`"${role}" is no role; train cdm, cft or cwm`);
  await checkWritable(join(f.out, "model.safetensors"));
  const training: TrainOptions = {
    ...defaultTraining,
    steps: f.maxSteps,
    batch: f.perDeviceTrainBatchSize,
    learningRate: f.learningRate,
    type: f.lrSchedulerType,
    warmupRatio: f.warmupRatio,
    weightDecay: f.weightDecay,
    clip: f.maxGradNorm,
    seed: f.seed,
    saveEvery: f.saveSteps,
    logEvery: f.loggingSteps,
    divideBy: role === "cdm" ? "weights" : "tokens",
  };
  const labels = await readRecords<TripletRecord>(f.data, ["action"]);
  const synthetic = f.synthetic ? await readRecords<TripletRecord>(f.synthetic, ["action"]) : undefined;
  const signal = interruption();
  const base = await folderOf(f.model, signal);
  const device = await openDevice();
  const result = await trainRole(device, (model) => CodeStore.open(device, model, f.cache), {
    role: role as Role,
    base,
    out: f.out,
    labels,
    synthetic,
    labelRepeats: f.labelRepeats,
    recognition: role === "cwm" ? { epsilon: f.epsilon, floor: 0 } : undefined,
    training,
    signal,
    onEncode: progress("encoding pictures"),
    onLog: (r) =>
      status(
        `step ${r.step}/${training.steps}, loss ${r.loss.toFixed(4)}, lr ${r.learning_rate.toExponential(2)}, gradient ${r.grad_norm.toFixed(2)}, ${r.tokens_per_s.toFixed(0)} tokens/s, ${r.gflop_per_s.toFixed(1)} GFLOP/s`,
      ),
  });
  if (!result) throw new Interrupted();
  const last = result.log[result.log.length - 1];
  say(
    `${f.out}: ${training.steps} steps on ${result.examples} examples, loss ${last?.loss.toFixed(4)}, ${duration(result.seconds)}, JavaScript busy ${(100 * result.hostShare).toFixed(1)}% of it`,
  );
}
