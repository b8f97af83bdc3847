// A plan is a tape made runnable: pipelines compiled together, activations given memory from first and last use, bind groups kept,
// numbers in one uniform arena. A run is one submit.
import { findNan } from "../kernels/find_nan/find_nan.ts";
import { type Compiled, type Device, GPU_BUFFER, stored, writeBytes } from "./device.ts";
import { WorldlineError } from "./errors.ts";
import { launchPass, measure, type Profile } from "./profile.ts";
import type { Launch, Scalar, Tape } from "./tape.ts";
import { encode, type Storage, type Tensor, type TypedArray } from "./tensor.ts";

export interface Bound {
  readonly launch: Launch;
  readonly compiled: Compiled;
  readonly group: GPUBindGroup;
}

interface Slot {
  readonly bytes: number;
  /** First and last launch of each tensor in it. */
  readonly uses: (readonly [begin: number, end: number])[];
}

/**
 * Activation memory that several plans share: plans that run one after another, such as a training step's at several lengths. What a plan kept can
 * be read until another plan of the pool runs. Make the largest plan first; smaller ones then take nothing more.
 */
export class ActivationPool {
  readonly buffers: GPUBuffer[] = [];
  private readonly device: Device;

  constructor(device: Device) {
    this.device = device;
  }

  /** The buffer for each of the sizes, all different: the smallest that holds it; undefined where a new one is needed. */
  private held(sizes: readonly number[]): (GPUBuffer | undefined)[] {
    const free = [...this.buffers].sort((a, b) => a.size - b.size);
    const out = new Array<GPUBuffer | undefined>(sizes.length).fill(undefined);
    for (const i of sizes.map((_, i) => i).sort((a, b) => sizes[b] - sizes[a])) {
      const at = free.findIndex((b) => b.size >= sizes[i]);
      if (at >= 0) out[i] = free.splice(at, 1)[0];
    }
    return out;
  }

  /** Bytes that `take` would add. */
  lacking(sizes: readonly number[]): number {
    return this.held(sizes).reduce((sum, b, i) => sum + (b ? 0 : sizes[i]), 0);
  }

  /** A buffer for each of the sizes, new ones where none is free. */
  take(sizes: readonly number[]): GPUBuffer[] {
    return this.held(sizes).map((found, i) => {
      if (found) return found;
      const buffer = this.device.allocate(sizes[i], "activations", `shared activations ${this.buffers.length}`);
      this.buffers.push(buffer);
      return buffer;
    });
  }

  /** Frees the memory; no plan of the pool may run afterwards. */
  destroy(): void {
    for (const b of this.buffers) this.device.release(b, "activations");
    this.buffers.length = 0;
  }
}

/** One word of the uniform arena that follows a scalar. */
interface Word {
  readonly scalar: Scalar;
  readonly index: number;
  readonly type: string;
}

export class Plan {
  readonly device: Device;
  readonly bound: Bound[] = [];
  /** Bytes of activations, shared by lifetime, and what they would take without sharing. */
  activationBytes = 0;
  unsharedBytes = 0;
  /** Host milliseconds spent encoding and submitting, and runs so far. */
  hostTime = 0;
  runs = 0;
  private readonly inputs: ReadonlyMap<string, Tensor>;
  private readonly scalars: ReadonlyMap<string, Scalar>;
  private readonly words: Word[] = [];
  private places = new Map<Tensor, Storage>();
  private buffers: GPUBuffer[] = [];
  private uniforms!: { buffer: GPUBuffer; bytes: ArrayBuffer };
  private dirty = true;
  private check: { first: Tensor; launches: Launch[] } | undefined;

  private constructor(tape: Tape) {
    this.device = tape.device;
    this.inputs = tape.inputs;
    this.scalars = tape.scalars;
  }

  /** Compiles and places a tape; see Tape.plan. */
  static async make(tape: Tape, pool?: ActivationPool): Promise<Plan> {
    const plan = new Plan(tape);
    const { device } = tape;
    const wanted = withoutUnread(tape.launches, tape.kept);
    const launches = device.debug >= 4 ? plan.addChecks(wanted) : wanted;
    const results = await Promise.allSettled(launches.map((l) => device.compile(l.choice)));
    const problems = [...new Set(results.flatMap((r) => (r.status === "rejected" ? [(r.reason as Error).message] : [])))];
    if (problems.length) throw new WorldlineError(problems.join("\n"));
    const compiled = results.map((r) => (r as PromiseFulfilledResult<Compiled>).value);
    await plan.place(launches, tape.kept, pool);
    plan.bind(launches, compiled);
    return plan;
  }

  /** Puts a NaN search after every launch that writes f32. */
  private addChecks(launches: readonly Launch[]): Launch[] {
    const first = this.device.tensor([1], { dtype: "u32", name: "first NaN", kind: "other", data: new Uint32Array([0xffffffff]) });
    this.check = { first, launches: [...launches] };
    return launches.flatMap((launch, index) => {
      const reads = launch.choice.kernel.reads.length;
      const written = launch.tensors.slice(reads).filter((t) => t.dtype === "f32");
      const checks = written.map((x): Launch => {
        const params = { n: x.size, launch: index };
        const choice = this.device.choose(findNan, params, { x: "f32", first: "u32" });
        return { choice, tensors: [x, first], params: [x.size, index], scope: "check", origin: launch.origin };
      });
      return [launch, ...checks];
    });
  }

  /** Gives every activation a slot: a slot is free again after the last launch that uses its tensor. */
  private async place(launches: readonly Launch[], kept: ReadonlySet<Tensor>, pool?: ActivationPool): Promise<void> {
    const first = new Map<Tensor, number>();
    const last = new Map<Tensor, number>();
    launches.forEach((l, i) => {
      for (const t of l.tensors) {
        if (t.root.storage) continue;
        if (!first.has(t.root)) first.set(t.root, i);
        last.set(t.root, kept.has(t.root) ? Number.POSITIVE_INFINITY : i);
      }
    });
    // Largest first, each into the smallest slot that is free all its life: little ones never hold a large slot, which an earlier-come rule would let them.
    const slots: Slot[] = [];
    const slotOf = new Map<Tensor, Slot>();
    for (const t of [...first.keys()].sort((a, b) => b.bytes - a.bytes)) {
      const [begin, end] = [first.get(t)!, last.get(t)!];
      this.unsharedBytes += t.bytes;
      let slot = slots.findLast((s) => s.uses.every(([b, e]) => end < b || e < begin));
      if (!slot) slots.push((slot = { bytes: t.bytes, uses: [] }));
      slot.uses.push([begin, end]);
      slotOf.set(t, slot);
    }
    this.activationBytes = slots.reduce((a, s) => a + s.bytes, 0);
    const remedy = () => "use a smaller batch or shorter sequences";
    const own = () => slots.map((s, i) => this.device.allocate(s.bytes, "activations", `activations ${i}`));
    const sizes = slots.map((s) => s.bytes);
    const buffers = await this.device.guarded(
      "activations",
      pool ? pool.lacking(sizes) : this.activationBytes,
      remedy,
      pool ? () => pool.take(sizes) : own,
    );
    if (!pool) this.buffers.push(...buffers);
    for (const [t, slot] of slotOf) this.places.set(t, { buffer: buffers[slots.indexOf(slot)], offset: 0 });
  }

  /** Where a tensor's bytes are in this plan. */
  private placeOf(t: Tensor): Storage {
    if (t.storage) return t.storage;
    const place = t.root.storage ?? this.places.get(t.root);
    if (!place) throw new WorldlineError(`${t.name} is not part of this plan; record it on the same tape before planning`);
    return t.begin ? { buffer: place.buffer, offset: place.offset + t.begin } : place;
  }

  private bind(launches: readonly Launch[], compiled: readonly Compiled[]): void {
    const { raw } = this.device;
    const step = raw.limits.minUniformBufferOffsetAlignment;
    const offsets: number[] = [];
    let end = 0;
    for (const l of launches) {
      offsets.push(end);
      end += Math.ceil(Math.max(16, l.params.length * 4) / step) * step;
    }
    const size = Math.max(16, end);
    const buffer = raw.createBuffer({ size, usage: GPU_BUFFER.UNIFORM | GPU_BUFFER.COPY_DST, label: "params" });
    this.uniforms = { buffer, bytes: new ArrayBuffer(size) };
    launches.forEach((launch, i) => {
      this.packParams(launch, offsets[i]);
      const entries: GPUBindGroupEntry[] = launch.tensors.map((t, binding) => {
        const { buffer, offset } = this.placeOf(t);
        return { binding, resource: { buffer, offset, size: Math.max(16, Math.ceil(t.bytes / 16) * 16) } };
      });
      const bytes = Math.ceil(Math.max(16, launch.params.length * 4) / 16) * 16;
      if (launch.params.length) entries.push({ binding: entries.length, resource: { buffer, offset: offsets[i], size: bytes } });
      this.limitCheck(launch);
      const group = raw.createBindGroup({ layout: compiled[i].layout, entries, label: launch.choice.key });
      this.bound.push({ launch, compiled: compiled[i], group });
    });
  }

  private limitCheck(launch: Launch): void {
    const most = this.device.raw.limits.maxStorageBufferBindingSize;
    const large = launch.tensors.find((t) => t.bytes > most);
    if (large) {
      throw new WorldlineError(
        `${launch.choice.key}: ${large.name} (${large.shape.join(", ")}) takes ${large.bytes} bytes but one binding holds ${most}; use a smaller batch or split it by rows`,
      );
    }
  }

  private packParams(launch: Launch, offset: number): void {
    const types = Object.values(launch.choice.kernel.params);
    launch.params.forEach((p, i) => {
      const index = offset / 4 + i;
      if (typeof p === "number") this.setWord(index, types[i], p);
      else this.words.push({ scalar: p, index, type: types[i] });
    });
  }

  private setWord(index: number, type: string, value: number): void {
    const view = new DataView(this.uniforms.bytes);
    if (type === "f32") view.setFloat32(index * 4, value, true);
    else view.setInt32(index * 4, value | 0, true);
  }

  /** Fills an input. */
  write(name: string, data: TypedArray): this {
    const t = this.inputs.get(name);
    if (!t)
      throw new WorldlineError(`plan.write: there is no input "${name}"; this plan has ${[...this.inputs.keys()].join(", ") || "none"}`);
    if (data.length !== t.size)
      throw new WorldlineError(`plan.write: "${name}" (${t.shape.join(", ")}) takes ${t.size} values but ${data.length} were given`);
    const { buffer, offset } = stored(t);
    writeBytes(this.device.raw.queue, buffer, offset, encode(data, t.dtype));
    return this;
  }

  /** Sets a scalar for the runs that follow. */
  set(name: string, value: number): this {
    const s = this.scalars.get(name);
    if (!s)
      throw new WorldlineError(`plan.set: there is no scalar "${name}"; this plan has ${[...this.scalars.keys()].join(", ") || "none"}`);
    if (s.value !== value) {
      s.value = value;
      this.dirty = true;
    }
    return this;
  }

  /** Submits one run; does not wait for it. */
  run(): this {
    const begin = this.device.host.now();
    this.flushParams();
    const encoder = this.device.raw.createCommandEncoder();
    this.encode(encoder);
    this.submit(encoder, begin, 1);
    return this;
  }

  /** Submits `count` runs at once; `each(i)` sets the scalars of run i. Does not wait for them. */
  runMany(count: number, each: (i: number) => void): this {
    const begin = this.device.host.now();
    const { raw } = this.device;
    const { buffer, bytes } = this.uniforms;
    const size = bytes.byteLength;
    const all = new Uint8Array(count * size);
    const encoder = raw.createCommandEncoder();
    const staged = raw.createBuffer({ size: all.length, usage: GPU_BUFFER.COPY_SRC | GPU_BUFFER.COPY_DST, label: "params of many runs" });
    for (let i = 0; i < count; i++) {
      each(i);
      for (const w of this.words) this.setWord(w.index, w.type, w.scalar.value);
      all.set(new Uint8Array(bytes), i * size);
      encoder.copyBufferToBuffer(staged, i * size, buffer, 0, size);
      this.encode(encoder);
    }
    raw.queue.writeBuffer(staged, 0, all);
    this.submit(encoder, begin, count);
    staged.destroy();
    this.dirty = false;
    return this;
  }

  private encode(encoder: GPUCommandEncoder): void {
    if (this.device.debug >= 2) for (const b of this.bound) this.device.host.log(describeLaunch(b.launch));
    if (this.device.recorder) this.device.recorder.encode(this.device, encoder, this.bound);
    else launchPass(encoder, this.bound);
  }

  private submit(encoder: GPUCommandEncoder, begin: number, count: number): void {
    this.device.lastWork = `a plan of ${this.bound.length} launches, first ${this.bound[0]?.launch.choice.key ?? "none"}`;
    this.device.raw.queue.submit([encoder.finish()]);
    this.device.recorder?.submitted(this.device.host.now() - begin);
    this.hostTime += this.device.host.now() - begin;
    this.runs += count;
  }

  /** Writes changed scalars into the uniform arena. */
  flushParams(): void {
    if (!this.dirty) return;
    for (const w of this.words) this.setWord(w.index, w.type, w.scalar.value);
    this.device.raw.queue.writeBuffer(this.uniforms.buffer, 0, this.uniforms.bytes);
    this.dirty = false;
  }

  /** Results of the last run; waits for it. Activations must have been kept on the tape. */
  async read(...tensors: Tensor[]): Promise<(Float32Array | Uint32Array)[]> {
    const out = await this.device.readRanges(tensors.map((t) => ({ ...this.placeOf(t), dtype: t.dtype, size: t.size })));
    if (this.check) await this.reportNaN();
    return out;
  }

  /** One number of the last run; waits for it. */
  async readNumber(t: Tensor): Promise<number> {
    return (await this.read(t))[0][0];
  }

  private async reportNaN(): Promise<void> {
    const { first, launches } = this.check!;
    const index = (await this.device.read(first))[0][0];
    if (index >= launches.length) return;
    const l = launches[index];
    const frames = (l.origin.stack ?? "")
      .split("\n")
      .slice(2)
      .filter((line) => !/engine\/(tape|ops)/.test(line));
    const caller = frames[0]?.trim() ?? "";
    throw new WorldlineError(`the first NaN or infinity came from launch ${index}, ${describeLaunch(l)}, recorded ${caller}`);
  }

  /** Time by launch over `runs` runs, by timestamps where the adapter has them. */
  profile(runs = 3): Promise<Profile> {
    this.flushParams();
    return measure(this.device, this.bound, runs);
  }

  /** Every launch with its shapes, one a line. */
  print(): string {
    return this.bound.map((b) => describeLaunch(b.launch)).join("\n");
  }

  /** Frees the activations and numbers of this plan; the plan must not run afterwards. */
  destroy(): void {
    for (const b of this.buffers) this.device.release(b, "activations");
    for (const t of this.inputs.values()) this.device.release(stored(t).buffer, "inputs");
    this.uniforms.buffer.destroy();
    this.buffers = [];
  }
}

/** Without the launches of a second pass of `recompute` whose results nothing reads, such as the last product of a block. */
function withoutUnread(launches: readonly Launch[], kept: ReadonlySet<Tensor>): readonly Launch[] {
  const read = new Set<Tensor>();
  const wanted = [...launches].reverse().filter((l) => {
    const reads = l.choice.kernel.reads.length;
    const written = l.tensors.slice(reads).map((t) => t.root);
    const idle = l.again && written.every((t) => !t.storage && !kept.has(t) && !read.has(t));
    if (!idle) for (const t of l.tensors) read.add(t.root);
    return !idle;
  });
  return wanted.length === launches.length ? launches : wanted.reverse();
}

function describeLaunch(l: Launch): string {
  const { kernel } = l.choice;
  const names = [...kernel.reads, ...kernel.writes];
  const shapes = l.tensors.map((t, i) => `${names[i]} (${t.shape.join(", ")})`).join(" ");
  const numbers = Object.keys(kernel.params).map((name, i) => {
    const p = l.params[i];
    return `${name}=${typeof p === "number" ? p : p.value}`;
  });
  return `${l.choice.key} [${l.choice.grid.join("x")}] ${l.scope ? `${l.scope}: ` : ""}${shapes} ${numbers.join(" ")}`;
}
