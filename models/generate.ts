// Generation and scoring of continuations. A prompt is prefilled once; its branches continue from that one prefix. Decoding keeps ids on the
// device from step to step (sampling is a kernel), so the host reads only finished rows. Each row's draws depend on seed, stream and step alone.

import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { crossEntropy, type RopeTable, sample } from "../engine/ops/index.ts";
import type { Plan } from "../engine/plan.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { recordIds } from "../kernels/record_ids/record_ids.ts";
import { type Chameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "./chameleon.ts";
import { KVCache, leftPad } from "./kvcache.ts";

export interface GeneratorShape {
  /** Prompts per call, and continuations of each. */
  readonly prompts: number;
  readonly branches: number;
  /** Longest prompt and most new tokens. */
  readonly promptTokens: number;
  readonly newTokens: number;
  /** Ids that may be written, one flag per vocabulary id. */
  readonly allowed: Uint8Array;
  /** Ends a continuation; absent where the number of tokens is fixed. */
  readonly stopId?: number;
}

export interface SamplingOptions {
  /** 0 is greedy. */
  readonly temperature: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly seed: number;
}

export interface Continuation {
  /** New ids, without the stop id. */
  readonly ids: Uint32Array;
  /** Log-probability of each new id (and of the stop id, last, where it was written) under the allowed ids at temperature 1. */
  readonly logprobs: Float32Array;
  readonly stopped: boolean;
}

/** Packs one flag per id into 32-bit words. */
export function packMask(allowed: Uint8Array): Uint32Array {
  const words = new Uint32Array(Math.ceil(allowed.length / 32));
  for (let i = 0; i < allowed.length; i++) if (allowed[i]) words[i >> 5] |= 1 << (i & 31);
  return words;
}

/** Both plans of generation at one shape; reusable. */
export class Generator {
  private readonly device: Device;
  private readonly model: Chameleon;
  private readonly shape: GeneratorShape;
  private readonly cache: KVCache;
  private readonly state: { current: Tensor; ids: Tensor; logprobs: Tensor };
  private prefill!: Plan;
  private decode!: Plan;

  private constructor(device: Device, model: Chameleon, shape: GeneratorShape) {
    const R = shape.prompts * shape.branches;
    this.device = device;
    this.model = model;
    this.shape = shape;
    this.cache = new KVCache(device, model.config, {
      prompts: shape.prompts,
      branches: shape.branches,
      prefix: shape.promptTokens - 1,
      capacity: shape.newTokens,
    });
    const make = (name: string, size: number, dtype: "u32" | "f32") => device.tensor([size], { name, dtype, kind: "cache" });
    this.state = {
      current: make("current ids", R, "u32"),
      ids: make("ids", R * shape.newTokens, "u32"),
      logprobs: make("logprobs", R * shape.newTokens, "f32"),
    };
  }

  static async make(device: Device, model: Chameleon, shape: GeneratorShape): Promise<Generator> {
    if (shape.promptTokens < 2)
      throw new WorldlineError("generate: a prompt needs at least 2 tokens; put the begin-of-sequence id in front");
    const g = new Generator(device, model, shape);
    const table = ropeFor(device, model.config, shape.promptTokens + shape.newTokens);
    g.prefill = await g.recordPrefill(table);
    g.decode = await g.recordDecode(table);
    return g;
  }

  private recordPrefill(table: RopeTable): Promise<Plan> {
    const tape = new Tape(this.device);
    const { ids, positions } = sequenceInputs(tape, this.shape.prompts, this.shape.promptTokens - 1);
    this.model.forward(ids, positions, table, this.cache.filling());
    return tape.plan();
  }

  private recordDecode(table: RopeTable): Promise<Plan> {
    const { prompts, branches } = this.shape;
    const R = prompts * branches;
    const tape = new Tape(this.device);
    const base = tape.scalar("step", 0);
    const positions = tape.input("positions", [R], "u32");
    const streams = tape.input("streams", [R], "u32");
    const allowed = tape.input("allowed", [1, packMask(this.shape.allowed).length], "u32");
    const mode = tape.input("mode", [R], "u32");
    const ids = tape.bring(this.state.current).reshape(R, 1);
    const hidden = this.model.forward(ids, positions, table, this.cache.continuing(base));
    const logits = this.model.logits(hidden.reshape(R, this.model.config.hidden));
    const options = {
      temperature: tape.scalar("temperature", 1),
      topK: tape.scalar("topK", 0),
      topP: tape.scalar("topP", 1),
      seed: tape.scalar("seed", 0),
    };
    const chosen = sample(logits, { allowed, mode, streams, counter: base, ...options });
    tape.launch(recordIds, { id: chosen.ids, logprob: chosen.logprobs, ...this.state }, { R, step: base });
    return tape.plan();
  }

  /**
   * Continues up to `prompts` prompts, `branches` times each: result[prompt][branch].
   * `streams` numbers the random stream of each row, so that a row's draws do not depend on its neighbours; default 0, 1, 2 ...
   */
  async run(prompts: readonly Uint32Array[], options: SamplingOptions, streams?: Uint32Array): Promise<Continuation[][]> {
    const { shape, device } = this;
    const P = shape.prompts;
    if (prompts.length < 1 || prompts.length > P)
      throw new WorldlineError(`generate: ${prompts.length} prompts were given but the generator was made for 1 to ${P}`);
    for (const p of prompts) {
      if (p.length < 2 || p.length > shape.promptTokens)
        throw new WorldlineError(
          `generate: a prompt has ${p.length} tokens but 2 to ${shape.promptTokens} fit; shorten it or make a longer generator`,
        );
    }
    const padded = Array.from({ length: P }, (_, i) => prompts[Math.min(i, prompts.length - 1)]);
    const heads = padded.map((p) => p.subarray(0, p.length - 1));
    const { ids, start, positions } = leftPad(heads, shape.promptTokens - 1, this.model.config.padId);
    device.write(this.cache.start, start);
    this.prefill.write("ids", ids).write("positions", positions).run();
    const R = P * shape.branches;
    const row = (r: number) => padded[Math.floor(r / shape.branches)];
    device.write(
      this.state.current,
      Uint32Array.from({ length: R }, (_, r) => row(r)[row(r).length - 1]),
    );
    this.decode.write("allowed", packMask(shape.allowed)).write("mode", new Uint32Array(R));
    this.decode.write("streams", streams ?? Uint32Array.from({ length: R }, (_, r) => r));
    this.decode
      .set("temperature", options.temperature)
      .set("topK", options.topK ?? 0)
      .set("topP", options.topP ?? 1)
      .set("seed", options.seed);
    let done = 0;
    while (done < shape.newTokens) {
      this.decode.write(
        "positions",
        Uint32Array.from({ length: R }, (_, r) => row(r).length - 1 + done),
      );
      this.decode.set("step", done++).run();
      if (shape.stopId !== undefined && done % 4 === 0 && done < shape.newTokens && (await this.allStopped(done))) break;
    }
    return this.collect(prompts.length, done);
  }

  private async allStopped(done: number): Promise<boolean> {
    const [ids] = await this.device.read(this.state.ids);
    const R = this.shape.prompts * this.shape.branches;
    for (let r = 0; r < R; r++) {
      let stopped = false;
      for (let t = 0; t < done && !stopped; t++) stopped = ids[t * R + r] === this.shape.stopId;
      if (!stopped) return false;
    }
    return true;
  }

  private async collect(count: number, steps: number): Promise<Continuation[][]> {
    const [ids, logprobs] = await this.device.read(this.state.ids, this.state.logprobs);
    const { branches, prompts, stopId } = this.shape;
    const R = prompts * branches;
    const one = (r: number): Continuation => {
      const all = Uint32Array.from({ length: steps }, (_, t) => ids[t * R + r]);
      const end = stopId === undefined ? -1 : all.indexOf(stopId);
      const stopped = end >= 0;
      const scored = stopped ? end + 1 : steps;
      return {
        ids: stopped ? all.subarray(0, end) : all,
        logprobs: Float32Array.from({ length: scored }, (_, t) => logprobs[t * R + r]),
        stopped,
      };
    };
    return Array.from({ length: count }, (_, p) => Array.from({ length: branches }, (_, b) => one(p * branches + b)));
  }

  destroy(): void {
    this.prefill.destroy();
    this.decode.destroy();
    this.cache.destroy();
    for (const t of Object.values(this.state)) this.device.release(t.storage!.buffer, "cache");
  }
}

/** A sequence to score: weights[i] = 1 where ids[i] counts. */
export interface Scored {
  readonly ids: Uint32Array;
  readonly weights: Float32Array;
}

export interface ScoredGroup {
  readonly prefix?: Uint32Array;
  readonly candidates: readonly Scored[];
}

export interface Score {
  /** Summed and mean log-probability of the counted tokens, in nats. */
  readonly sum: number;
  readonly mean: number;
  readonly tokens: number;
}

export interface ScorerShape {
  /** Rows per call; with a prefix, prompts x branches. */
  readonly prompts: number;
  readonly branches: number;
  /** Longest shared prefix; 0 scores whole sequences. */
  readonly prefixTokens: number;
  /** Longest continuation (or whole sequence), and most counted tokens in one. */
  readonly tokens: number;
  readonly scored: number;
}

function checkGroups(groups: readonly ScoredGroup[], { prompts, branches, prefixTokens }: ScorerShape): void {
  if (groups.length < 1 || groups.length > prompts)
    throw new WorldlineError(`score: ${groups.length} groups were given but the scorer was made for 1 to ${prompts}`);
  for (const { prefix, candidates } of groups) {
    const [n, k] = [prefix?.length ?? 0, candidates.length];
    if (k < 1 || k > branches)
      throw new WorldlineError(`score: ${k} candidates were given but 1 to ${branches} fit; make a scorer with more branches`);
    if (prefixTokens && (n < 2 || n > prefixTokens))
      throw new WorldlineError(`score: a prefix has ${n} tokens but 2 to ${prefixTokens} fit; shorten it or make a longer scorer`);
  }
}

/** Log-probabilities of given continuations; candidates of one prompt share its prefilled prefix. */
export class Scorer {
  private readonly device: Device;
  private readonly model: Chameleon;
  private readonly shape: ScorerShape;
  private readonly cache: KVCache | undefined;
  private prefill: Plan | undefined;
  private plan!: Plan;
  private ce!: Tensor;

  private constructor(device: Device, model: Chameleon, shape: ScorerShape) {
    this.device = device;
    this.model = model;
    this.shape = shape;
    const { prompts, branches, prefixTokens, tokens } = shape;
    if (prefixTokens) this.cache = new KVCache(device, model.config, { prompts, branches, prefix: prefixTokens - 1, capacity: tokens + 1 });
  }

  static async make(device: Device, model: Chameleon, shape: ScorerShape): Promise<Scorer> {
    if (shape.prefixTokens === 1)
      throw new WorldlineError("score: a shared prefix needs at least 2 tokens; give 0 to score whole sequences");
    const s = new Scorer(device, model, shape);
    const table = ropeFor(device, model.config, shape.prefixTokens + shape.tokens + 1);
    const R = shape.prompts * shape.branches;
    if (s.cache) {
      const tape = new Tape(device);
      const { ids, positions } = sequenceInputs(tape, shape.prompts, shape.prefixTokens - 1);
      model.forward(ids, positions, table, s.cache.filling());
      s.prefill = await tape.plan();
    }
    const tape = new Tape(device);
    const T = shape.tokens + (s.cache ? 1 : 0);
    const { ids, positions } = sequenceInputs(tape, R, T);
    const rows = tape.input("rows", [R * shape.scored], "u32");
    const targets = tape.input("targets", [R * shape.scored], "u32");
    const weights = tape.input("weights", [R * shape.scored]);
    const hidden = model.forward(ids, positions, table, s.cache ? s.cache.continuing(0) : selfAttention());
    s.ce = tape.keep(crossEntropy(model.logits(hidden, rows), targets, weights, { denominator: 1 }).ce);
    s.plan = await tape.plan();
    return s;
  }

  /** Scores groups: with a prefix, each group's candidates continue it; without, each group is `branches` whole sequences. */
  async run(groups: readonly ScoredGroup[]): Promise<Score[][]> {
    const { shape } = this;
    checkGroups(groups, shape);
    const all = Array.from({ length: shape.prompts }, (_, i) => groups[Math.min(i, groups.length - 1)]);
    const offsets = all.map((g) => (this.cache ? g.prefix!.length - 1 : 0));
    if (this.cache) {
      const heads = all.map((g) => g.prefix!.subarray(0, g.prefix!.length - 1));
      const { ids, start, positions } = leftPad(heads, shape.prefixTokens - 1, this.model.config.padId);
      this.device.write(this.cache.start, start);
      this.prefill!.write("ids", ids).write("positions", positions).run();
    }
    const T = shape.tokens + (this.cache ? 1 : 0);
    const R = shape.prompts * shape.branches;
    const ids = new Uint32Array(R * T).fill(this.model.config.padId);
    const positions = plainPositions(R, T);
    const rows = new Uint32Array(R * shape.scored);
    const targets = new Uint32Array(R * shape.scored);
    const counts = new Uint32Array(R);
    for (let r = 0; r < R; r++) {
      const p = Math.floor(r / shape.branches);
      const group = all[p];
      const c = group.candidates[Math.min(r % shape.branches, group.candidates.length - 1)];
      const sequence = this.cache ? Uint32Array.from([group.prefix![group.prefix!.length - 1], ...c.ids]) : c.ids;
      if (sequence.length > T) throw new WorldlineError(`score: a sequence has ${sequence.length} tokens but ${T} fit`);
      ids.set(sequence, r * T);
      for (let t = 0; t < T; t++) positions[r * T + t] += offsets[p];
      const shift = this.cache ? 1 : 0;
      for (let i = shift ? 0 : 1; i < c.ids.length; i++) {
        if (c.weights[i] === 0) continue;
        if (counts[r] === shape.scored) throw new WorldlineError(`score: a sequence counts more than ${shape.scored} tokens`);
        rows[r * shape.scored + counts[r]] = r * T + i + shift - 1;
        targets[r * shape.scored + counts[r]++] = c.ids[i];
      }
    }
    this.plan.write("ids", ids).write("positions", positions).write("rows", rows).write("targets", targets);
    this.plan.write("weights", new Float32Array(rows.length).fill(1)).run();
    const [ce] = await this.plan.read(this.ce);
    return groups.map((g, p) =>
      g.candidates.map((_, b) => {
        const r = p * shape.branches + b;
        let sum = 0;
        for (let i = 0; i < counts[r]; i++) sum -= ce[r * shape.scored + i];
        return { sum, mean: sum / Math.max(1, counts[r]), tokens: counts[r] };
      }),
    );
  }

  destroy(): void {
    this.prefill?.destroy();
    this.plan.destroy();
    this.cache?.destroy();
  }
}
