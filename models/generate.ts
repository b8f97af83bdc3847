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
import { type CacheType, KVCache } from "./kvcache.ts";
import { Prefill, prefillParts } from "./prefill.ts";
import { firstState, packRules, type Rules, sinceBegin } from "./rules.ts";

export interface GeneratorShape {
  /** Prompts per call, and continuations of each. */
  readonly prompts: number;
  readonly branches: number;
  /** Longest prompt and most new tokens. */
  readonly promptTokens: number;
  readonly newTokens: number;
  readonly rules: Rules;
  /** Storage of keys and values; f32 unless told. */
  readonly cache?: CacheType;
  /** Most prompt tokens in one run of the prefill; 512 unless told. Bounds the activations of long prompts. */
  readonly chunk?: number;
  /** Three-way guidance of picture codes (see SamplingOptions.guidance), at three times the work. */
  readonly guided?: boolean;
  /** Allows a repetition penalty. */
  readonly penalised?: boolean;
}

export interface SamplingOptions {
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed: number;
  /** Divides positive logits of ids already in the sequence and multiplies negative ones, outside pictures; 1 changes nothing. */
  readonly repetitionPenalty?: number;
  /** Logits inside pictures: U + image (M - U) + full (F - M), F given the prompt, M its pictures alone, U nothing. Chameleon's: 1.2 and 3. */
  readonly guidance?: { readonly image: number; readonly full: number };
}

export interface Continuation {
  /** New ids, without the stop id. */
  readonly ids: Uint32Array;
  /** Log-probability of each new id (and of the stop id, last, where it was written) under the allowed ids at temperature 1. */
  readonly logprobs: Float32Array;
  readonly stopped: boolean;
}

/** Ids and log-probabilities of consecutive steps, row by row within a step; rows of a prompt's branches are neighbours. */
export interface Steps {
  readonly first: number;
  readonly ids: Uint32Array;
  readonly logprobs: Float32Array;
}

export interface RunOptions {
  /** Numbers the random stream of each row, so that a row's draws do not depend on its neighbours; 0, 1, 2 ... unless told. */
  readonly streams?: Uint32Array;
  readonly signal?: AbortSignal;
}

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
  private prefill!: Prefill;
  private decode!: Plan;

  private constructor(device: Device, model: Chameleon, shape: GeneratorShape) {
    this.device = device;
    this.model = model;
    this.shape = shape;
    this.R = shape.prompts * shape.branches;
    this.copies = shape.guided ? 3 : 1;
    const prompts = shape.prompts * this.copies;
    const { prefix } = prefillParts(shape.promptTokens - 1, shape.chunk ?? 512);
    const { branches, newTokens, cache: dtype } = shape;
    this.cache = new KVCache(device, model.config, { prompts, branches, prefix, capacity: newTokens, dtype });
    const make = (name: string, size: number) => device.tensor([size], { name, dtype: "u32", kind: "cache" });
    // Sections are bound on their own, which asks for multiples of 256 bytes.
    this.stride = Math.ceil((this.R * this.copies) / 64) * 64;
    this.rows = make("rows", rowSections.length * this.stride);
    this.seen = make("seen ids", shape.penalised ? this.R * this.seenWords : 1);
    this.history = make("history", 2 * this.R * newTokens);
    this.packed = packRules(shape.rules, model.config.vocabSize, model.config.padId);
  }

  static async make(device: Device, model: Chameleon, shape: GeneratorShape): Promise<Generator> {
    if (shape.promptTokens < 2)
      throw new WorldlineError("generate: a prompt needs at least 2 tokens; put the begin-of-sequence id in front");
    if (shape.guided && !shape.rules.space)
      throw new WorldlineError("generate: guidance needs rules that know a vocabulary; make them with rulesFor");
    const g = new Generator(device, model, shape);
    const table = ropeFor(device, model.config, shape.promptTokens + shape.newTokens, shape.promptTokens);
    g.prefill = await Prefill.make(device, model, table, g.cache, shape.promptTokens - 1, shape.chunk ?? 512);
    g.decode = await g.recordDecode(table);
    return g;
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
        this.decode.runMany(n, (i) => void this.decode.set("step", first + i));
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
    this.check(prompts, options);
    const padded = Array.from({ length: shape.prompts }, (_, i) => prompts[Math.min(i, prompts.length - 1)]);
    const all = shape.guided ? [0, 1, 2].flatMap((copy) => padded.map((p) => this.reduced(p, copy))) : padded;
    this.prefill.run(
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
    this.decode.write("allowed", this.packed.masks).write("rules", this.packed.words);
    this.decode.write("streams", streams ?? Uint32Array.from({ length: R }, (_, r) => r));
    const { temperature, topK = 0, topP = 1, seed, repetitionPenalty = 1, guidance } = options;
    this.decode.set("temperature", temperature).set("topK", topK).set("topP", topP).set("seed", seed);
    if (!shape.guided && !shape.penalised) return;
    this.decode
      .set("image", guidance?.image ?? 1)
      .set("full", guidance?.full ?? 1)
      .set("penalty", repetitionPenalty);
  }

  private check(prompts: readonly Uint32Array[], options: SamplingOptions): void {
    const { shape } = this;
    if (prompts.length < 1 || prompts.length > shape.prompts)
      throw new WorldlineError(`generate: ${prompts.length} prompts were given but the generator was made for 1 to ${shape.prompts}`);
    for (const p of prompts) {
      if (p.length < 2 || p.length > shape.promptTokens)
        throw new WorldlineError(
          `generate: a prompt has ${p.length} tokens but 2 to ${shape.promptTokens} fit; shorten it or make a longer generator`,
        );
      const outside = p.find((id) => id >= this.model.config.vocabSize);
      if (outside !== undefined)
        throw new WorldlineError(
          `generate: a prompt has the id ${outside} but the vocabulary has ${this.model.config.vocabSize}; do tokenizer and model belong together?`,
        );
      if (shape.guided && p[p.length - 1] !== shape.rules.space!.boi)
        throw new WorldlineError("generate: guidance is for drawing a picture, so a prompt must end with the begin-of-image id; append it");
    }
    if ((options.repetitionPenalty ?? 1) !== 1 && !shape.penalised)
      throw new WorldlineError("generate: a repetition penalty was given to a generator made without one; make it with penalised: true");
    if (options.repetitionPenalty !== undefined && !(options.repetitionPenalty > 0))
      throw new WorldlineError(`generate: the repetition penalty is ${options.repetitionPenalty}; a number above 0 is needed`);
    if (options.guidance && !shape.guided)
      throw new WorldlineError("generate: guidance was given to a generator made without it; make it with guided: true");
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
    this.prefill.destroy();
    this.decode.destroy();
    this.cache.destroy();
    for (const t of [this.rows, this.seen, this.history]) this.device.release(t.storage!.buffer, "cache");
  }
}
