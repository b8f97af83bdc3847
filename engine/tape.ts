// A tape records launches as ops are called; when training, each op also leaves one closure for its gradient. Nothing runs until the
// tape becomes a plan. Gradient rule: the first launch that writes a gradient overwrites it (acc 0), later ones add (acc 1).
import { fill } from "../kernels/fill/fill.ts";
import type { DType, Kernel, Numbers } from "../kernels/kernel.ts";
import type { Choice, Device } from "./device.ts";
import { WorldlineError } from "./errors.ts";
import { type ActivationPool, Plan } from "./plan.ts";
import { Tensor, trainableTypes } from "./tensor.ts";

/** A number of the plan that changes from run to run: set with `plan.set(name, value)`, or computed from another one. */
export class Scalar {
  readonly name: string;
  private held: number;
  private readonly from: { readonly source: Scalar; readonly compute: (value: number) => number } | undefined;

  constructor(name: string, value: number, from?: { source: Scalar; compute: (value: number) => number }) {
    this.name = name;
    this.held = value;
    this.from = from;
  }

  get value(): number {
    return this.from ? this.from.compute(this.from.source.value) : this.held;
  }

  set value(value: number) {
    this.held = value;
  }

  /** A scalar that follows this one. */
  map(compute: (value: number) => number): Scalar {
    return new Scalar(`of ${this.name}`, 0, { source: this, compute });
  }
}

/** One recorded dispatch. Tensors are in binding order. */
export interface Launch {
  readonly choice: Choice;
  readonly tensors: readonly Tensor[];
  readonly params: readonly (number | Scalar)[];
  readonly scope: string;
  /** Recorded once more inside `recompute`: left out of the plan where nothing reads what it writes. */
  readonly again?: boolean;
  /** Made where the model recorded it; its stack names the line. */
  readonly origin: Error;
}

interface Step {
  readonly outputs: readonly Tensor[];
  readonly run: () => void;
}

/** Where an op adds the gradient of an input: the tensor, and the `acc` parameter of the launch that writes it. */
export interface GradientTarget {
  readonly tensor: Tensor;
  readonly acc: 0 | 1;
}

export class Tape {
  readonly device: Device;
  readonly training: boolean;
  readonly launches: Launch[] = [];
  readonly inputs = new Map<string, Tensor>();
  readonly scalars = new Map<string, Scalar>();
  readonly kept = new Set<Tensor>();
  private readonly steps: Step[] = [];
  private readonly required = new Set<Tensor>();
  private readonly gradients = new Map<Tensor, Tensor>();
  private readonly accumulate: boolean;
  private scopes: string[] = [];
  /** Inside the first pass of `recompute`: gradient closures are not kept. */
  private forgetting = false;
  /** backward was called, which uses up the closures. */
  private usedUp = false;
  /** Inside its second pass. */
  private again = false;

  /** `training` keeps gradient closures; `accumulate` adds to the parameters' gradients instead of overwriting them. */
  constructor(device: Device, options: { training?: boolean; accumulate?: boolean } = {}) {
    this.device = device;
    this.training = options.training ?? false;
    this.accumulate = options.accumulate ?? false;
  }

  /** A tensor that the caller fills before a run with `plan.write(name, data)`. */
  input(name: string, shape: readonly number[], dtype: DType = "f32"): Tensor {
    if (this.inputs.has(name)) throw new WorldlineError(`tape.input: "${name}" is taken; give each input its own name`);
    const { storage } = this.device.tensor(shape, { dtype, name, kind: "inputs" });
    const t = new Tensor(shape, dtype, name, { storage, tape: this });
    this.inputs.set(name, t);
    return t;
  }

  /** A number that changes from run to run. */
  scalar(name: string, value = 0): Scalar {
    let s = this.scalars.get(name);
    if (!s) this.scalars.set(name, (s = new Scalar(name, value)));
    return s;
  }

  /** A new activation; its memory is assigned by the plan. */
  empty(shape: readonly number[], dtype: DType = "f32", name = "activation"): Tensor {
    return new Tensor(shape, dtype, this.scopes.length ? `${this.scopes.join(".")}.${name}` : name, { tape: this });
  }

  /** A view of a stored tensor (a parameter, a cache) as an activation of this tape, so that ops accept it first. */
  bring(t: Tensor): Tensor {
    const view = new Tensor(t.shape, t.dtype, t.name, { storage: t.storage, tape: this, root: t, quantized: t.quantized });
    view.trainable = t.trainable;
    return view;
  }

  /** Names everything recorded inside `fn`, for profiles and messages. */
  scope<T>(name: string, fn: () => T): T {
    this.scopes.push(name);
    try {
      return fn();
    } finally {
      this.scopes.pop();
    }
  }

  /** Appends one launch. Every read, write and parameter of the kernel must be given; `null` parameters do not exist. */
  launch<R extends string, W extends string, P extends string>(
    kernel: Kernel<R, W, P>,
    tensors: Record<R | W, Tensor>,
    params: Record<P, number | Scalar>,
  ): void {
    const k = kernel as unknown as Kernel;
    const bound = [...kernel.reads, ...kernel.writes].map((name) => {
      const t = tensors[name];
      if (!t) throw new WorldlineError(`${kernel.name}: no tensor given for "${name}"`);
      return t;
    });
    for (const w of kernel.writes) {
      for (const r of kernel.reads) {
        if (tensors[w].root === tensors[r].root)
          throw new WorldlineError(`${kernel.name}: "${w}" and "${r}" are the same tensor; a launch cannot read what it writes`);
      }
    }
    const names = Object.keys(kernel.params) as P[];
    const numbers: Numbers = {};
    const list = names.map((name) => {
      const value = params[name];
      numbers[name] = value instanceof Scalar ? value.value : value;
      if (numbers[name] === undefined || Number.isNaN(numbers[name]))
        throw new WorldlineError(`${kernel.name}: parameter "${name}" is missing or not a number`);
      return value;
    });
    const choice = this.device.choose(k, numbers, bindingTypes(k, bound));
    const scope = this.scopes.join(".");
    this.launches.push({ choice, tensors: bound, params: list, scope, again: this.again, origin: new Error(choice.key) });
  }

  /** Whether a gradient for t is wanted. */
  requires(t: Tensor): boolean {
    return this.training && (t.root.trainable || this.required.has(t.root));
  }

  /** Registers how the gradient flows from outputs to inputs; `fn` runs in backward order if any input needs it and any output has one. */
  onBackward(outputs: Tensor | readonly Tensor[], inputs: readonly (Tensor | undefined)[], fn: () => void): void {
    if (!inputs.some((t) => t && this.requires(t))) return;
    const list = outputs instanceof Tensor ? [outputs] : outputs;
    for (const t of list) this.required.add(t.root);
    if (!this.forgetting) this.steps.push({ outputs: list, run: fn });
  }

  /**
   * Runs `fn` and forgets what it made but its result; the gradient records it once more (Chen et al. 2016, arXiv 1604.06174), so its activations take memory
   * only while its own gradient is computed. `fn` must give the same result each time and only use what exists before it. Same bits as without.
   */
  recompute(fn: () => Tensor): Tensor {
    if (!this.training || this.forgetting) return fn();
    this.forgetting = true;
    let y: Tensor;
    try {
      y = fn();
    } finally {
      this.forgetting = false;
    }
    if (!this.requires(y)) return y;
    const scopes = [...this.scopes];
    const run = () => {
      const [before, outside, again] = [this.scopes, this.steps.splice(0), this.again];
      this.scopes = [...before, ...scopes];
      this.again = true;
      const once = fn();
      this.again = again;
      this.gradients.set(once.root, this.grad(y).reshape(...once.root.shape));
      this.replay();
      this.steps.push(...outside);
      this.scopes = before;
    };
    this.steps.push({ outputs: [y], run });
    return y;
  }

  /** Runs the closures that are left, last first. */
  private replay(): void {
    for (let step = this.steps.pop(); step; step = this.steps.pop()) {
      const { outputs, run } = step;
      if (outputs.some((t) => this.hasGrad(t))) run();
    }
  }

  /** The gradient of an output, to read in its closure. */
  grad(t: Tensor): Tensor {
    const g = this.gradients.get(t.root);
    if (!g) throw new WorldlineError(`no gradient has reached ${t.name} yet; call this inside a gradient closure or after backward`);
    return g.reshape(...t.shape);
  }

  /** Whether any gradient has reached t. */
  hasGrad(t: Tensor): boolean {
    return this.gradients.has(t.root);
  }

  /** Where to put the gradient of an input; undefined if none is wanted. Each call must be followed by exactly one launch that writes it. */
  into(t: Tensor): GradientTarget | undefined {
    if (!this.requires(t)) return undefined;
    const known = this.gradients.get(t.root);
    if (known) return { tensor: known.reshape(...t.shape), acc: 1 };
    const { root } = t;
    if (root.trainable && !trainableTypes.has(root.dtype))
      throw new WorldlineError(
        `${root.name} is stored as ${root.dtype} and cannot be trained; load the model as f32, bf16 or f16, or train adapters beside it`,
      );
    const fresh = root.trainable ? this.device.mirror(root, "gradients", "gradients") : this.empty(root.shape, "f32", `d ${root.name}`);
    this.gradients.set(root, fresh);
    return { tensor: fresh.reshape(...t.shape), acc: root.trainable && this.accumulate ? 1 : 0 };
  }

  /** Appends the gradient launches of everything that led to `loss` (one value), times `scale`. */
  backward(loss: Tensor, scale: number | Scalar = 1): void {
    if (loss.size !== 1)
      throw new WorldlineError(`backward: ${loss.name} (${loss.shape.join(", ")}) must be a single value; reduce it first`);
    if (this.usedUp)
      throw new WorldlineError(
        "backward: this tape's gradients were recorded already; sum the losses with weightedSum and call backward once",
      );
    const target = this.into(loss);
    if (!target)
      throw new WorldlineError(
        `backward: nothing trainable led to ${loss.name}; mark parameters as trainable and make the tape with { training: true }`,
      );
    this.launch(fill, { y: target.tensor }, { n: 1, value: scale });
    this.keep(loss);
    this.usedUp = true;
    this.scope("backward", () => this.replay());
  }

  /** Lets t live to the end of the plan, so that it can be read after a run. */
  keep(t: Tensor): Tensor {
    this.kept.add(t.root);
    return t;
  }

  /** Parameters that got a gradient on this tape. */
  trained(): Tensor[] {
    return [...this.gradients.keys()].filter((t) => t.trainable);
  }

  /** Compiles everything recorded; every shader error is reported here, together. `pool`: memory shared with other plans. */
  plan(pool?: ActivationPool): Promise<Plan> {
    return Plan.make(this, pool);
  }
}

function bindingTypes(kernel: Kernel, bound: readonly Tensor[]): Record<string, DType> {
  const types: Record<string, DType> = {};
  [...kernel.reads, ...kernel.writes].forEach((name, i) => {
    const given = bound[i].dtype;
    const allowed = kernel.types[name] ?? "f32";
    const list = typeof allowed === "string" ? [allowed] : allowed.dtypes;
    if (!list.includes(given))
      throw new WorldlineError(`${kernel.name}: "${name}" is ${given} but must be ${list.join(" or ")}; cast it first`);
    types[name] = given;
  });
  return types;
}
