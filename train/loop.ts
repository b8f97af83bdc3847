// The training loop: one recorded step (forward, backward, clip, AdamW) replayed over batches. Saves checkpoints, resumes from the newest
// whole one, stops cleanly when asked, and says a plain word when the loss is no number.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { parameters, setTrainable } from "../engine/module.ts";
import { crossEntropy } from "../engine/ops/index.ts";
import { adamw } from "../engine/optim.ts";
import type { Plan } from "../engine/plan.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type Chameleon, flops, plainPositions, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import { collate, type ExampleSource } from "./data.ts";
import { rateAt, type Schedule } from "./schedule.ts";

export interface TrainOptions extends Schedule {
  readonly batch: number;
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Largest global gradient norm; 0 switches clipping off. */
  readonly clip: number;
  readonly seed: number;
  /** Divides the summed loss: by the sum of weights, or by the number of scored tokens (so that weights change the size of the loss). */
  readonly divideBy: "weights" | "tokens";
  readonly logEvery: number;
  readonly saveEvery: number;
}

export const defaultTraining: TrainOptions = {
  learningRate: 3e-3,
  steps: 1000,
  warmupRatio: 0.05,
  type: "cosine",
  floor: 0.05,
  batch: 32,
  betas: [0.9, 0.98],
  epsilon: 1e-8,
  weightDecay: 0.1,
  clip: 1,
  seed: 0,
  divideBy: "weights",
  logEvery: 20,
  saveEvery: 500,
};

/** One line of the log: loss and norm of that step, rates since the line before. */
export interface TrainRecord {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly learning_rate: number;
  readonly grad_norm: number;
  readonly tokens_per_s: number;
  readonly gflop_per_s: number;
}

/** Where training state is kept between runs; see train/checkpoints.ts. */
export interface Store<R = TrainRecord, Extra = unknown> {
  /** Loads the newest whole checkpoint into the parameters and moments and returns its step, log and what else was saved, or step 0. */
  load(): Promise<{ step: number; log: R[]; extra?: Extra }>;
  save(step: number, log: readonly R[], extra?: Extra): Promise<void>;
}

export interface TrainHooks {
  readonly onLog?: (record: TrainRecord) => void;
  readonly signal?: AbortSignal;
  readonly store?: Store;
}

export interface TrainResult {
  readonly log: TrainRecord[];
  readonly seconds: number;
  /** Seconds in which JavaScript was busy: collating, writing inputs, encoding and submitting. */
  readonly hostSeconds: number;
  readonly steps: number;
  readonly tokens: number;
  /** Floating point operations of forward and backward, counted as three forward passes of the padded batch. */
  readonly flops: number;
  /** false where the signal stopped it early. */
  readonly finished: boolean;
}

/** A recorded training step for one batch shape. */
export interface TrainStep {
  readonly plan: Plan;
  readonly loss: Tensor;
  readonly norm: Tensor;
  readonly shape: { readonly T: number; readonly scored: number };
}

/** Records forward, backward and update of the model for batches of `batch` x T tokens with at most `scored` targets each. */
export async function trainStep(
  device: Device,
  model: Chameleon,
  shape: { T: number; scored: number },
  o: TrainOptions,
): Promise<TrainStep> {
  setTrainable(model, true);
  const tape = new Tape(device, { training: true });
  const R = o.batch * shape.scored;
  const { ids, positions } = sequenceInputs(tape, o.batch, shape.T);
  const rows = tape.input("rows", [R], "u32");
  const targets = tape.input("targets", [R], "u32");
  const weights = tape.input("weights", [R]);
  const hidden = model.forward(ids, positions, ropeFor(device, model.config, shape.T), selfAttention());
  const { loss } = crossEntropy(model.logits(hidden, rows), targets, weights, {
    denominator: o.divideBy === "weights" ? "weights" : tape.scalar("count", 1),
  });
  tape.backward(loss);
  const { norm } = adamw(tape, parameters(model), {
    lr: tape.scalar("lr", o.learningRate),
    step: tape.scalar("step", 1),
    betas: [...o.betas],
    eps: o.epsilon,
    weightDecay: o.weightDecay,
    clip: o.clip || undefined,
  });
  tape.keep(norm);
  const plan = await tape.plan();
  plan.write("positions", plainPositions(o.batch, shape.T));
  return { plan, loss, norm, shape };
}

/** Trains the model; returns the log. */
export async function train(
  device: Device,
  model: Chameleon,
  source: ExampleSource,
  o: TrainOptions,
  hooks: TrainHooks = {},
): Promise<TrainResult> {
  const begin = device.host.now();
  const step = await trainStep(device, model, source.shape, o);
  const { plan } = step;
  const resumed = (await hooks.store?.load()) ?? { step: 0, log: [] };
  const log = [...resumed.log];
  let since = device.host.now();
  const total = { tokens: 0, flops: 0, host: 0 };
  let mark = { ...total };
  let i = resumed.step;
  for (; i < o.steps; i++) {
    const hostBegin = device.host.now();
    const chosen = source.batch(i, o.batch);
    const batch = collate(chosen, step.shape, model.config.padId);
    const scored = batch.weights.reduce((a, w) => a + (w !== 0 ? 1 : 0), 0);
    plan.write("ids", batch.ids).write("rows", batch.rows).write("targets", batch.targets).write("weights", batch.weights);
    if (o.divideBy === "tokens") plan.set("count", scored);
    const lr = rateAt(o, i);
    plan
      .set("lr", lr)
      .set("step", i + 1)
      .run();
    total.host += device.host.now() - hostBegin;
    for (const e of chosen) total.tokens += e.ids.length;
    total.flops += 3 * flops(model.config, o.batch, step.shape.T, step.shape.scored * o.batch);
    const last = i + 1 === o.steps;
    const stop = hooks.signal?.aborted ?? false;
    if ((i + 1) % o.logEvery === 0 || last) {
      const [[loss], [norm]] = await plan.read(step.loss, step.norm);
      if (!Number.isFinite(loss) || !Number.isFinite(norm)) {
        throw new WorldlineError(
          `the loss became ${loss} at step ${i + 1} (gradient norm ${norm}); lower --learning-rate, or run with GPU_DEBUG=4 to find the first NaN`,
        );
      }
      const seconds = (device.host.now() - since) / 1000;
      const record = {
        step: i + 1,
        epoch: ((i + 1) * o.batch) / source.count,
        loss,
        learning_rate: lr,
        grad_norm: norm,
        tokens_per_s: (total.tokens - mark.tokens) / seconds,
        gflop_per_s: (total.flops - mark.flops) / seconds / 1e9,
      };
      log.push(record);
      hooks.onLog?.(record);
      since = device.host.now();
      mark = { ...total };
    }
    if (stop || (!last && (i + 1) % o.saveEvery === 0)) await hooks.store?.save(i + 1, log);
    if (stop) {
      i++;
      break;
    }
  }
  plan.destroy();
  const seconds = (device.host.now() - begin) / 1000;
  return {
    log,
    seconds,
    hostSeconds: total.host / 1000,
    steps: i - resumed.step,
    tokens: total.tokens,
    flops: total.flops,
    finished: i >= o.steps,
  };
}
