// Scores of given continuations: summed and mean log-probability, candidates of one prompt sharing its prefilled prefix.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import type { RopeTable } from "../engine/ops/index.ts";
import type { Plan } from "../engine/plan.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type Chameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "./chameleon.ts";
import { type CacheType, KVCache } from "./kvcache.ts";
import { Prefill, prefillParts } from "./prefill.ts";

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
  /** Storage of keys and values; f32 unless told. */
  readonly cache?: CacheType;
  /** Most prefix tokens in one run of the prefill; 512 unless told. */
  readonly chunk?: number;
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
  private table!: RopeTable;
  private prefill: Prefill | undefined;
  private plan!: Plan;
  private ce!: Tensor;

  private constructor(device: Device, model: Chameleon, shape: ScorerShape, cache: KVCache | undefined) {
    this.device = device;
    this.model = model;
    this.shape = shape;
    this.cache = cache;
  }

  static async make(device: Device, model: Chameleon, shape: ScorerShape): Promise<Scorer> {
    if (shape.prefixTokens === 1)
      throw new WorldlineError("score: a shared prefix needs at least 2 tokens; give 0 to score whole sequences");
    const { prompts, branches, prefixTokens, tokens, cache: dtype } = shape;
    const { prefix } = prefillParts(prefixTokens - 1, shape.chunk ?? 512);
    const sizes = { prompts, branches, prefix, capacity: tokens + 1, dtype };
    const s = new Scorer(device, model, shape, prefixTokens ? await KVCache.make(device, model.config, sizes) : undefined);
    const table = ropeFor(device, model.config, shape.prefixTokens + shape.tokens + 1);
    s.table = table;
    const R = shape.prompts * shape.branches;
    if (s.cache) s.prefill = await Prefill.make(device, model, table, s.cache, shape.prefixTokens - 1, shape.chunk ?? 512);
    const tape = new Tape(device);
    const T = shape.tokens + (s.cache ? 1 : 0);
    const { ids, positions } = sequenceInputs(tape, R, T);
    const rows = tape.input("rows", [R * shape.scored], "u32");
    const targets = tape.input("targets", [R * shape.scored], "u32");
    const weights = tape.input("weights", [R * shape.scored]);
    const hidden = model.forward(ids, positions, table, s.cache ? s.cache.continuing(0) : selfAttention());
    s.ce = tape.keep(model.loss(hidden, rows, targets, weights, { denominator: 1 }).ce);
    s.plan = await tape.plan();
    return s;
  }

  /** Scores groups: with a prefix, each group's candidates continue it; without, each group is `branches` whole sequences. */
  async run(groups: readonly ScoredGroup[]): Promise<Score[][]> {
    const { shape } = this;
    checkGroups(groups, shape);
    const all = Array.from({ length: shape.prompts }, (_, i) => groups[Math.min(i, groups.length - 1)]);
    const offsets = all.map((g) => (this.cache ? g.prefix!.length - 1 : 0));
    this.prefill?.run(
      this.device,
      all.map((g) => g.prefix!.subarray(0, g.prefix!.length - 1)),
    );
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
    for (const t of [this.table.cos, this.table.sin]) this.device.release(t.storage!.buffer, "other");
  }
}
