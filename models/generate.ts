// Generation: a prompt is prefilled once and its branches continue from that one prefix. Decoding keeps everything on the device from step to
// step (masks, sampling and positions are kernels), many steps are in flight, and the host reads chosen ids alone. A row's draws depend on seed, stream
// and step, not on its neighbours.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { type RopeTable, sample } from "../engine/ops/index.ts";
import type { Plan } from "../engine/plan.ts";
import { type Scalar, Tape } from "../engine/tape.ts";
import { Tensor } from "../engine/tensor.ts";
import { advance, rowSections } from "../kernels/advance/advance.ts";
import { steer } from "../kernels/steer/steer.ts";
import { type Chameleon, ropeFor } from "./chameleon.ts";
import { KVCache } from "./kvcache.ts";
import { Prefill, prefillParts } from "./prefill.ts";
import { firstState, packRules, sinceBegin } from "./rules.ts";
import { type Continuation, checkRun, type GeneratorShape, type RunOptions, type SamplingOptions, type Steps } from "./sampling.ts";

export type { Continuation, GeneratorShape, RunOptions, SamplingOptions, Steps } from "./sampling.ts";

/** Both plans of generation at one shape; reusable. */
export class Generator {
  readonly shape: GeneratorShape;
  private readonly device: Device;
  private readonly model: Chameleon;
  private readonly cache: KVCache;
  /** Rows that are sampled, and how often each runs through the model: three times where guided. */
  private readonly R: number;
  private readonly copies: number;
  private readonly rows: Tensor;
  private readonly stride: number;
  private readonly seen: Tensor;
  private readonly history: Tensor;
  private readonly packed: { masks: Uint32Array; words: Uint32Array };
  // Made one after another: some are not there where `make` could not go on.
  private table: RopeTable | undefined;
  private prefill: Prefill | undefined;
  private decode: Plan | undefined;

  private constructor(device: Device, model: Chameleon, shape: GeneratorShape, cache: KVCache) {
    this.device = device;
    this.cache = cache;
    this.model = model;
    this.shape = shape;
    this.R = shape.prompts * shape.branches;
    this.copies = shape.guided ? 3 : 1;
    const make = (name: string, size: number) => device.tensor([size], { name, dtype: "u32", kind: "cache" });
    // Sections are bound on their own, which asks for multiples of 256 bytes.
    this.stride = Math.ceil((this.R * this.copies) / 64) * 64;
    this.rows = make("rows", rowSections.length * this.stride);
    this.seen = make("seen ids", shape.penalised ? this.R * this.seenWords : 1);
    this.history = make("history", 2 * this.R * shape.newTokens);
    this.packed = packRules(shape.rules, model.config.vocabSize, model.config.padId);
  }

  static async make(device: Device, model: Chameleon, shape: GeneratorShape): Promise<Generator> {
    if (shape.promptTokens < 2)
      throw new WorldlineError("generate: a prompt needs at least 2 tokens; put the begin-of-sequence id in front");
    if (shape.guided && !shape.rules.space)
      throw new WorldlineError("generate: guidance needs rules that know a vocabulary; make them with rulesFor");
    const { prefix } = prefillParts(shape.promptTokens - 1, shape.chunk ?? 512);
    const { branches, newTokens: capacity, cache: dtype } = shape;
    const prompts = shape.prompts * (shape.guided ? 3 : 1);
    const g = new Generator(device, model, shape, await KVCache.make(device, model.config, { prompts, branches, prefix, capacity, dtype }));
    try {
      g.table = ropeFor(device, model.config, shape.promptTokens + shape.newTokens, shape.promptTokens);
      g.prefill = await Prefill.make(device, model, g.table, g.cache, shape.promptTokens - 1, shape.chunk ?? 512);
      g.decode = await g.recordDecode(g.table);
      return g;
    } catch (error) {
      g.destroy();
      throw error;
    }
  }

  private get seenWords(): number {
    return Math.ceil(this.model.config.vocabSize / 32);
  }

  /** One section of the state of all rows. */
  private section(name: (typeof rowSections)[number], size: number): Tensor {
    const { buffer } = this.rows.storage!;
    const offset = rowSections.indexOf(name) * this.stride * 4;
    return new Tensor([size], "u32", name, { storage: { buffer, offset } });
  }

  private recordDecode(table: RopeTable): Promise<Plan> {
    const { R, copies, shape, stride } = this;
    const { vocabSize, hidden: C } = this.model.config;
    const tape = new Tape(this.device);
    const base = tape.scalar("step", 0);
    const streams = tape.input("streams", [R], "u32");
    const words = tape.input("rules", [this.packed.words.length], "u32");
    const allowed = tape.input("allowed", [shape.rules.masks.length + 1, this.seenWords], "u32");
    const ids = tape.bring(this.section("current", R * copies)).reshape(R * copies, 1);
    const hidden = this.model.forward(ids, this.section("positions", R * copies), table, this.cache.continuing(base));
    const logits = this.steered(tape, this.model.logits(hidden.reshape(R * copies, C)));
    const options = {
      temperature: tape.scalar("temperature", 1),
      topK: tape.scalar("topK", 0),
      topP: tape.scalar("topP", 1),
      seed: tape.scalar("seed", 0),
    };
    const chosen = sample(logits, { allowed, mode: this.section("mode", R), streams, counter: base, ...options });
    const { rules } = shape;
    const numbers = { picture: rules.picture, boi: rules.space?.boi ?? vocabSize, seenWords: shape.penalised ? this.seenWords : 0 };
    tape.launch(
      advance,
      { id: chosen.ids, logprob: chosen.logprobs, rules: words, rows: this.rows, seen: this.seen, history: this.history },
      { R, copies, stride, step: base, ...numbers },
    );
    return tape.plan();
  }

  /** Logits after guidance and penalty, where the shape asks for one. */
  private steered(tape: Tape, logits: Tensor): Tensor {
    const { R, shape } = this;
    if (!shape.guided && !shape.penalised) return logits;
    const V = this.model.config.vocabSize;
    const y = tape.empty([R, V], "f32", "steered logits");
    const number = (name: string): Scalar => tape.scalar(name, 1);
    tape.launch(
      steer,
      { logits, since: this.section("since", R), seen: this.seen, y },
      {
        ...{ R, V, guided: shape.guided ? 1 : 0, picture: shape.rules.picture },
        ...{ image: number("image"), full: number("full"), penalty: number("penalty") },
      },
    );
    return y;
  }

  /** Continues up to `prompts` prompts, `branches` times each: result[prompt][branch]. */
  async run(prompts: readonly Uint32Array[], options: SamplingOptions, how: RunOptions = {}): Promise<Continuation[][]> {
    const { R, shape } = this;
    const ids: number[][] = Array.from({ length: R }, () => []);
    const logprobs: number[][] = Array.from({ length: R }, () => []);
    for await (const steps of this.stream(prompts, options, how)) {
      for (let i = 0; i < steps.ids.length; i++) {
        ids[i % R].push(steps.ids[i]);
        logprobs[i % R].push(steps.logprobs[i]);
      }
    }
    const one = (r: number): Continuation => {
      const end = ids[r].findIndex((id) => shape.rules.stops.includes(id));
      const stopped = end >= 0;
      const kept = stopped ? ids[r].slice(0, end) : ids[r];
      return { ids: Uint32Array.from(kept), logprobs: Float32Array.from(logprobs[r].slice(0, kept.length + (stopped ? 1 : 0))), stopped };
    };
    return prompts.map((_, p) => Array.from({ length: shape.branches }, (_, b) => one(p * shape.branches + b)));
  }

  /**
   * The same, step by step as ids are chosen. Ends when every row has stopped or all new tokens are written; after its stop id a row writes padding.
   * Steps come in parts that take about 50 ms, two of them in flight. With `signal` it throws the signal's reason between parts.
   */
  async *stream(prompts: readonly Uint32Array[], options: SamplingOptions, how: RunOptions = {}): AsyncGenerator<Steps, void, undefined> {
    const { newTokens, rules } = this.shape;
    how.signal?.throwIfAborted();
    this.begin(prompts, options, how.streams);
    const active = prompts.length * this.shape.branches;
    const stopped = new Set<number>();
    const flight: Promise<Steps>[] = [];
    let [sent, count] = [0, 1];
    let then = this.device.host.now();
    while (sent < newTokens || flight.length) {
      while (sent < newTokens && flight.length < 2) {
        const n = Math.min(count, newTokens - sent);
        const first = sent;
        this.decode!.runMany(n, (i) => void this.decode!.set("step", first + i));
        const steps = this.read(first, n);
        steps.catch(() => {});
        flight.push(steps);
        sent += n;
      }
      const steps = await flight.shift()!;
      const now = this.device.host.now();
      count = Math.max(1, Math.min(32, 2 * count, Math.round((50 * (steps.ids.length / this.R)) / Math.max(1, now - then))));
      then = now;
      steps.ids.forEach((id, i) => void (rules.stops.includes(id) && i % this.R < active && stopped.add(i % this.R)));
      yield steps;
      how.signal?.throwIfAborted();
      if (stopped.size === active) break;
    }
    await Promise.all(flight);
  }

  /** Prefills, and sets every row's state before its first new id. */
  private begin(prompts: readonly Uint32Array[], options: SamplingOptions, streams?: Uint32Array): void {
    const { shape, device, R, copies, stride } = this;
    checkRun(prompts, options, shape, this.model.config.vocabSize);
    const padded = Array.from({ length: shape.prompts }, (_, i) => prompts[Math.min(i, prompts.length - 1)]);
    const all = shape.guided ? [0, 1, 2].flatMap((copy) => padded.map((p) => this.reduced(p, copy))) : padded;
    this.prefill!.run(
      device,
      all.map((p) => p.subarray(0, p.length - 1)),
    );
    const rows = new Uint32Array(rowSections.length * stride);
    const put = (name: (typeof rowSections)[number], r: number, value: number) => {
      rows[rowSections.indexOf(name) * stride + r] = value;
    };
    const seen = new Uint8Array(shape.penalised ? this.seen.size * 32 : 0);
    for (let r = 0; r < R * copies; r++) {
      const prompt = all[Math.floor(r / shape.branches)];
      put("current", r, prompt[prompt.length - 1]);
      put("positions", r, prompt.length - 1);
      if (r >= R) continue;
      const since = sinceBegin(prompt, shape.rules);
      put("since", r, since);
      put("room", r, shape.newTokens);
      put("mode", r, shape.rules.maskFor(firstState(since, shape.newTokens, shape.rules)));
      if (seen.length) for (const id of prompt) seen[r * this.seenWords * 32 + id] = 1;
    }
    device.write(this.rows, rows);
    if (seen.length) {
      const bits = new Uint32Array(this.seen.size);
      for (let i = 0; i < seen.length; i++) if (seen[i]) bits[i >> 5] |= 1 << (i & 31);
      device.write(this.seen, bits);
    }
    this.decode!.write("allowed", this.packed.masks).write("rules", this.packed.words);
    this.decode!.write("streams", streams ?? Uint32Array.from({ length: R }, (_, r) => r));
    const { temperature, topK = 0, topP = 1, seed, repetitionPenalty = 1, guidance } = options;
    this.decode!.set("temperature", temperature).set("topK", topK).set("topP", topP).set("seed", seed);
    if (!shape.guided && !shape.penalised) return;
    this.decode!.set("image", guidance?.image ?? 1)
      .set("full", guidance?.full ?? 1)
      .set("penalty", repetitionPenalty);
  }

  /** What the copies of a prompt see: 0 all of it, 1 its pictures with their marks, 2 nothing but the marks of a sequence and a picture. */
  private reduced(prompt: Uint32Array, copy: number): Uint32Array {
    if (copy === 0) return prompt;
    const { bos, boi, eoi, imageIds } = this.shape.rules.space!;
    if (copy === 2) return Uint32Array.of(bos, boi);
    const kept = new Set([bos, boi, eoi, ...imageIds]);
    const pictures = prompt.filter((id) => kept.has(id));
    return pictures.length > 1 ? pictures : Uint32Array.of(bos, boi);
  }

  private async read(first: number, count: number): Promise<Steps> {
    const { buffer, offset } = this.history.storage!;
    const size = 2 * this.R * count;
    const [words] = (await this.device.readRanges([{ buffer, offset: offset + 8 * this.R * first, dtype: "u32", size }])) as [Uint32Array];
    const bits = words.filter((_, i) => i % 2 === 1);
    return { first, ids: words.filter((_, i) => i % 2 === 0), logprobs: new Float32Array(bits.buffer) };
  }

  /** Bytes of keys and values. */
  get cacheBytes(): number {
    return this.cache.bytes;
  }

  destroy(): void {
    this.prefill?.destroy();
    this.decode?.destroy();
    this.cache.destroy();
    for (const t of [this.rows, this.seen, this.history]) this.device.release(t.storage!.buffer, "cache");
    for (const t of this.table ? [this.table.cos, this.table.sin] : []) this.device.release(t.storage!.buffer, "other");
  }
}
