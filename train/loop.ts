// The training loop: recorded steps (train/step.ts) over the batches of a feed. Saves checkpoints, resumes from the newest whole one, stops
// cleanly when asked, evaluates now and then, and passes over steps whose loss or gradient is no number, up to a limit.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { parameters } from "../engine/module.ts";
import { forgetTraining } from "../engine/optim.ts";
import type { Chameleon } from "../models/chameleon.ts";
import type { LoraConfig } from "../weights/adapter.ts";
import { trainingFlops } from "./estimate.ts";
import { type ExampleSource, type Feed, feedOf } from "./order.ts";
import { rateAt, type Schedule } from "./schedule.ts";
import { type StepOptions, TrainStep } from "./step.ts";

export interface TrainOptions extends Schedule, StepOptions {
  readonly seed: number;
  readonly logEvery: number;
  readonly saveEvery: number;
  /** Steps between evaluations; 0: none. */
  readonly evalEvery: number;
  /** Steps that may be passed over because their loss or gradient is no number; one more ends the run. */
  readonly maxSkipped: number;
}

export const defaultTraining: TrainOptions = {
  learningRate: 3e-3,
  steps: 1000,
  warmupRatio: 0.05,
  type: "cosine",
  floor: 0.05,
  batch: 32,
  accumulate: 1,
  betas: [0.9, 0.98],
  epsilon: 1e-8,
  weightDecay: 0.1,
  clip: 1,
  seed: 0,
  divideBy: "weights",
  recompute: false,
  logEvery: 20,
  saveEvery: 500,
  evalEvery: 0,
  maxSkipped: 10,
};

/** One line of the log: mean loss of the steps since the line before, norm of the last one's gradient, rates. */
export interface TrainRecord {
  readonly step: number;
  readonly epoch: number;
  readonly loss: number;
  readonly learning_rate: number;
  readonly grad_norm: number;
  readonly tokens_per_s: number;
  readonly gflop_per_s: number;
  /** Share of the time in which the run waited for batches; steps under way may have kept the device busy meanwhile. */
  readonly waiting_share: number;
  /** Steps passed over so far. */
  readonly skipped_steps: number;
  /** Bytes held on the device. */
  readonly memory_bytes: number;
  readonly seconds_left: number;
}

/** What an evaluation found: eval_loss and whatever else the evaluator measures. */
export interface EvalRecord {
  readonly step: number;
  readonly epoch: number;
  readonly eval_loss: number;
  readonly [name: string]: number;
}

export type LogEntry = TrainRecord | EvalRecord;

/** Everything a run needs to go on, beside the tensors. */
export interface RunState<R = LogEntry, Extra = unknown> {
  readonly step: number;
  readonly epoch?: number;
  readonly skipped?: number;
  /** Losses since the last line of the log. */
  readonly window?: { readonly sum: number; readonly count: number };
  readonly log: readonly R[];
  /** What only this kind of run knows. */
  readonly extra?: Extra;
}

/** Where training state is kept between runs; see train/checkpoints.ts. */
export interface Store<R = LogEntry, Extra = unknown> {
  /** Loads the newest whole checkpoint into the parameters and moments and returns its state; undefined where there is none. */
  load(): Promise<RunState<R, Extra> | undefined>;
  save(state: RunState<R, Extra>): Promise<void>;
}

export interface TrainHooks {
  readonly onLog?: (record: TrainRecord) => void;
  readonly onEval?: (record: EvalRecord) => void;
  /** Held-out loss and what else is of interest; called every `evalEvery` steps and at the end. */
  readonly evaluate?: (step: number) => Promise<{ readonly eval_loss: number } & Record<string, number>>;
  /** A step was passed over. */
  readonly onSkip?: (step: number, loss: number, norm: number) => void;
  readonly signal?: AbortSignal;
  readonly store?: Store;
  /** The adapter that trains, where one does: its base has fewer operations to count. */
  readonly lora?: LoraConfig;
}

export interface TrainResult {
  readonly log: TrainRecord[];
  readonly evaluations: EvalRecord[];
  readonly seconds: number;
  /** Seconds in which JavaScript was busy: collating, writing inputs, encoding and submitting. */
  readonly hostSeconds: number;
  /** Seconds in which the run waited for batches. */
  readonly waitingSeconds: number;
  readonly steps: number;
  readonly skipped: number;
  readonly tokens: number;
  /** Floating point operations on the padded batches; see trainingFlops. */
  readonly flops: number;
  /** false where the signal stopped it early. */
  readonly finished: boolean;
}

const isTraining = (r: LogEntry): r is TrainRecord => "loss" in r;

/** Steps whose numbers may still be under way: the host prepares the next ones meanwhile. */
const inFlight = 2;

/** Trains the model; returns the log. */
export async function train(
  device: Device,
  model: Chameleon,
  source: ExampleSource | Feed,
  o: TrainOptions,
  hooks: TrainHooks = {},
): Promise<TrainResult> {
  const feed = "next" in source ? source : feedOf(source, { ...o, padId: model.config.padId });
  const run = new Run(device, o, hooks, feed);
  const step = await TrainStep.record(device, model, feed.shapes, o);
  try {
    forgetTraining(device, parameters(model));
    await run.resume();
    const pending: (() => Promise<void>)[] = [];
    const drain = async (left: number) => {
      while (pending.length > left) await pending.shift()!();
    };
    for (; run.at < o.steps && !run.stopped; ) {
      const batches = await run.wait(() => feed.next(run.at));
      const begin = device.host.now();
      const i = run.at++;
      const lr = rateAt(o, i);
      const result = step.run(batches, { lr, step: i + 1 });
      run.total.host += device.host.now() - begin;
      for (const b of batches) {
        run.total.tokens += b.tokens;
        run.total.flops += trainingFlops(model.config, o.batch, b.shape, { lora: hooks.lora, recompute: o.recompute }).total;
      }
      result.catch(() => undefined);
      pending.push(async () => run.settle(i + 1, await result));
      run.stopped = hooks.signal?.aborted ?? false;
      const due = run.due();
      await drain(due.any ? 0 : inFlight);
      if (due.log) run.writeLine(lr);
      if (due.evaluate) await run.evaluate();
      if (due.save) await hooks.store?.save(run.state());
    }
    await drain(0);
  } finally {
    step.destroy();
    feed.close?.();
  }
  return run.result();
}

/** Where a run stands, and its books. */
class Run {
  /** Steps submitted. */
  at = 0;
  stopped = false;
  readonly total = { tokens: 0, flops: 0, host: 0, waiting: 0 };
  private mark = { ...this.total };
  private log: LogEntry[] = [];
  private window = { sum: 0, count: 0 };
  private skipped = 0;
  private norm = Number.NaN;
  private first = 0;
  /** The step of the last line. */
  private marked = 0;
  private since: number;
  private readonly begin: number;
  private readonly device: Device;
  private readonly o: TrainOptions;
  private readonly hooks: TrainHooks;
  private readonly count: number;

  constructor(device: Device, o: TrainOptions, hooks: TrainHooks, feed: Feed) {
    this.device = device;
    this.o = o;
    this.hooks = hooks;
    this.count = feed.count;
    this.begin = this.since = device.host.now();
  }

  async resume(): Promise<void> {
    const saved = await this.hooks.store?.load();
    if (saved) {
      this.at = this.first = this.marked = saved.step;
      this.skipped = saved.skipped ?? 0;
      this.window = { sum: 0, count: 0, ...saved.window };
      this.log = [...saved.log];
    }
    this.since = this.device.host.now();
  }

  private get epoch(): number {
    return (this.at * this.o.batch * this.o.accumulate) / this.count;
  }

  state(): RunState {
    return { step: this.at, epoch: this.epoch, skipped: this.skipped, window: { ...this.window }, log: this.log };
  }

  async wait<T>(next: () => Promise<T> | T): Promise<T> {
    const begin = this.device.host.now();
    const value = next();
    if (!(value instanceof Promise)) {
      this.total.host += this.device.host.now() - begin;
      return value;
    }
    const got = await value;
    this.total.waiting += this.device.host.now() - begin;
    return got;
  }

  /** What follows the step just submitted. */
  due(): { any: boolean; log: boolean; evaluate: boolean; save: boolean } {
    const { o, at } = this;
    const last = at === o.steps;
    const every = (n: number) => last || (n > 0 && at % n === 0);
    const log = every(o.logEvery);
    const evaluate = this.hooks.evaluate !== undefined && every(o.evalEvery);
    const save = this.stopped || (!last && at % o.saveEvery === 0);
    return { any: log || evaluate || save, log, evaluate, save };
  }

  /** Takes the numbers of a step that is done. */
  settle(step: number, { loss, norm }: { loss: number; norm: number }): void {
    this.norm = norm;
    if (Number.isFinite(loss) && Number.isFinite(norm)) {
      this.window.sum += loss;
      this.window.count++;
      return;
    }
    this.skipped++;
    if (this.skipped > this.o.maxSkipped)
      throw new WorldlineError(
        `the loss became ${loss} at step ${step} (gradient norm ${norm}), and ${this.o.maxSkipped} steps had been passed over for such numbers; lower --learning-rate, or run with GPU_DEBUG=4 to find the first NaN`,
      );
    this.hooks.onSkip?.(step, loss, norm);
  }

  writeLine(lr: number): void {
    const now = this.device.host.now();
    const { total, mark } = this;
    const seconds = (now - this.since) / 1000;
    const record: TrainRecord = {
      step: this.at,
      epoch: this.epoch,
      loss: this.window.sum / this.window.count,
      learning_rate: lr,
      grad_norm: this.norm,
      tokens_per_s: (total.tokens - mark.tokens) / seconds,
      gflop_per_s: (total.flops - mark.flops) / seconds / 1e9,
      waiting_share: (total.waiting - mark.waiting) / 1000 / seconds,
      skipped_steps: this.skipped,
      memory_bytes: Object.values(this.device.memory()).reduce((a, b) => a + b, 0),
      seconds_left: (seconds / Math.max(1, this.at - this.marked)) * (this.o.steps - this.at),
    };
    this.window = { sum: 0, count: 0 };
    this.log.push(record);
    this.hooks.onLog?.(record);
    this.since = now;
    this.mark = { ...total };
    this.marked = this.at;
  }

  async evaluate(): Promise<void> {
    const begin = this.device.host.now();
    const record: EvalRecord = { step: this.at, epoch: this.epoch, ...(await this.hooks.evaluate!(this.at)) };
    this.log.push(record);
    this.hooks.onEval?.(record);
    // An evaluation is no training time.
    this.since += this.device.host.now() - begin;
  }

  result(): TrainResult {
    return {
      log: this.log.filter(isTraining),
      evaluations: this.log.filter((r): r is EvalRecord => !isTraining(r)),
      seconds: (this.device.host.now() - this.begin) / 1000,
      hostSeconds: this.total.host / 1000,
      waitingSeconds: this.total.waiting / 1000,
      steps: this.at - this.first,
      skipped: this.skipped,
      tokens: this.total.tokens,
      flops: this.total.flops,
      finished: this.at >= this.o.steps,
    };
  }
}
