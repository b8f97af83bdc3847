// One optimizer step as recorded plans: forward, weighted loss, gradients, clipping, AdamW. One plan per batch shape, all in one activation
// memory. With accumulation a step is several micro-batches that add into the gradients, then one update that clears them. The loss is always
// divided by what the whole step counts, so that accumulation over n micro-batches equals one batch of all of them.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { parameters, patternOf, setTrainable, trainable } from "../engine/module.ts";
import type { RopeTable } from "../engine/ops/index.ts";
import { adamw, zeroGradients } from "../engine/optim.ts";
import { ActivationPool, type Plan } from "../engine/plan.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type Chameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import type { Batch, Shape } from "./data.ts";

export interface StepOptions {
  /** Examples of a micro-batch, and micro-batches of a step. */
  readonly batch: number;
  readonly accumulate: number;
  readonly learningRate: number;
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly weightDecay: number;
  /** Patterns on the names of parameters that are not decayed. */
  readonly noDecay?: readonly string[];
  /** Largest global gradient norm; 0 switches clipping off. */
  readonly clip: number;
  /** Divides the summed loss: by the sum of weights, or by the number of scored tokens (so that weights change the size of the loss). */
  readonly divideBy: "weights" | "tokens";
  /** Recompute each block in the backward pass instead of keeping its activations. */
  readonly recompute: boolean;
  /** Share of the target spread over all ids, and the factor of log(sum exp)^2. Default 0. */
  readonly labelSmoothing?: number;
  readonly zLoss?: number;
}

interface ShapePlan {
  readonly plan: Plan;
  readonly loss: Tensor;
  readonly norm: Tensor | undefined;
}

const keyOf = ({ T, scored }: Shape): string => `${T}x${scored}`;

export class TrainStep {
  private readonly options: StepOptions;
  private readonly plans: ReadonlyMap<string, ShapePlan>;
  private readonly update: { plan: Plan; norm: Tensor } | undefined;
  private readonly shared: { readonly device: Device; readonly pool: ActivationPool; readonly table: RopeTable };

  private constructor(options: StepOptions, plans: Map<string, ShapePlan>, update: TrainStep["update"], shared: TrainStep["shared"]) {
    this.options = options;
    this.plans = plans;
    this.update = update;
    this.shared = shared;
  }

  /** Records the plans of every shape. Trains what is marked trainable; everything where nothing is. */
  static async record(device: Device, model: Chameleon, shapes: readonly Shape[], o: StepOptions): Promise<TrainStep> {
    if (trainable(model).size === 0) setTrainable(model, true);
    const pool = new ActivationPool(device);
    const table = ropeFor(device, model.config, Math.max(...shapes.map((s) => s.T)));
    const plans = new Map<string, ShapePlan>();
    for (const shape of [...shapes].sort((a, b) => b.T - a.T)) {
      const tape = new Tape(device, { training: true, accumulate: o.accumulate > 1 });
      const R = o.batch * shape.scored;
      // Dropout draws by the step and the micro-batch (engine/ops/low_rank.ts).
      for (const name of ["step", "row"]) tape.scalar(name);
      const { ids, positions } = sequenceInputs(tape, o.batch, shape.T);
      const inputs = [tape.input("rows", [R], "u32"), tape.input("targets", [R], "u32"), tape.input("weights", [R])] as const;
      const hidden = model.forward(ids, positions, table, selfAttention(), { recompute: o.recompute });
      const [rows, targets, weights] = inputs;
      const { loss } = model.loss(hidden, rows, targets, weights, {
        denominator: tape.scalar("denominator", 1),
        labelSmoothing: o.labelSmoothing,
        zLoss: o.zLoss,
      });
      tape.backward(loss);
      const norm = o.accumulate > 1 ? undefined : recordUpdate(tape, model, o, loss);
      const plan = await tape.plan(pool);
      plan.write("positions", plainPositions(o.batch, shape.T));
      plans.set(keyOf(shape), { plan, loss, norm });
    }
    return new TrainStep(o, plans, o.accumulate > 1 ? await updatePlan(device, model, o, pool) : undefined, { device, pool, table });
  }

  /**
   * Submits one step; `step` counts from 1. The result comes when the device is done: the loss of the step and the norm of its gradient before
   * clipping. A gradient that is not finite changes nothing.
   */
  run(batches: readonly Batch[], { lr, step }: { lr: number; step: number }): Promise<{ loss: number; norm: number }> {
    const { divideBy, accumulate } = this.options;
    if (batches.length !== accumulate)
      throw new WorldlineError(`a step takes ${accumulate} micro-batches but ${batches.length} were given; pass one list per step`);
    const total = batches.reduce((a, b) => a + (divideBy === "weights" ? b.weight : b.counted), 0);
    const readings: Promise<readonly ArrayLike<number>[]>[] = [];
    let row = 0;
    for (const batch of batches) {
      const at = this.plans.get(keyOf(batch.shape));
      if (!at) throw new WorldlineError(`no step was recorded for batches of ${keyOf(batch.shape)}; give its shape to TrainStep.record`);
      at.plan.write("ids", batch.ids).write("rows", batch.rows).write("targets", batch.targets).write("weights", batch.weights);
      at.plan
        .set("denominator", total || 1)
        .set("step", step)
        .set("row", row);
      row += batch.ids.length;
      if (at.norm) at.plan.set("lr", lr);
      at.plan.run();
      readings.push(at.norm ? at.plan.read(at.loss, at.norm) : at.plan.read(at.loss));
    }
    if (this.update) {
      this.update.plan.set("lr", lr).set("step", step).run();
      readings.push(this.update.plan.read(this.update.norm));
    }
    // A reading that fails is reported when the step is awaited, which may be after other work.
    for (const r of readings) r.catch(() => undefined);
    return Promise.all(readings).then((all) => {
      const numbers = all.flatMap((values) => values.map((v) => v[0]));
      return { loss: numbers.slice(0, -1).reduce((a, v) => a + v, 0), norm: numbers[numbers.length - 1] };
    });
  }

  /** Every launch of the plan of the largest shape, one a line. */
  print(): string {
    return [...this.plans.values()][0].plan.print();
  }

  destroy(): void {
    for (const { plan } of this.plans.values()) plan.destroy();
    this.update?.plan.destroy();
    const { device, pool, table } = this.shared;
    pool.destroy();
    for (const t of [table.cos, table.sin]) device.release(t.storage!.buffer, "other");
  }
}

function recordUpdate(tape: Tape, model: Chameleon, o: StepOptions, loss?: Tensor): Tensor {
  const spared = (o.noDecay ?? []).map((p) => patternOf("no_decay", p));
  const { norm } = adamw(tape, parameters(model), {
    lr: tape.scalar("lr", o.learningRate),
    step: tape.scalar("step"),
    betas: [...o.betas],
    eps: o.epsilon,
    weightDecay: o.weightDecay,
    noDecay: (name) => spared.some((p) => p.test(name)),
    clip: o.clip || undefined,
    loss,
  });
  return tape.keep(norm);
}

/** The update alone, from gradients that other plans have added up; it leaves them at zero for the next step. */
async function updatePlan(device: Device, model: Chameleon, o: StepOptions, pool: ActivationPool): Promise<{ plan: Plan; norm: Tensor }> {
  const tape = new Tape(device, { training: true });
  for (const t of trainable(model).values()) tape.into(t);
  const norm = recordUpdate(tape, model, o);
  zeroGradients(tape, parameters(model));
  return { plan: await tape.plan(pool), norm };
}
