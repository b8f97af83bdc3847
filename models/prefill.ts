// The prefill of a cache: prompts padded on the left to one length, run through the model at once, or in parts where they are long.
import type { Device } from "../engine/device.ts";
import type { RopeTable } from "../engine/ops/index.ts";
import type { Plan } from "../engine/plan.ts";
import { Tape } from "../engine/tape.ts";
import { type Chameleon, sequenceInputs } from "./chameleon.ts";
import type { KVCache } from "./kvcache.ts";

/** How prompts of up to `tokens` ids are prefilled: in `runs` parts of `length` ids that end at the prefix's end. */
export function prefillParts(tokens: number, chunk: number): { length: number; runs: number; prefix: number } {
  const runs = Math.max(1, Math.ceil(tokens / chunk));
  const length = Math.ceil(tokens / runs);
  return { length, runs, prefix: length * runs };
}

/** Token ids of prompts padded on the left to S, the first real column of each, and positions (0 on padding). */
export function leftPad(
  prompts: readonly Uint32Array[],
  S: number,
  padId: number,
): { ids: Uint32Array; start: Uint32Array; positions: Uint32Array } {
  const ids = new Uint32Array(prompts.length * S).fill(padId);
  const positions = new Uint32Array(prompts.length * S);
  const start = Uint32Array.from(prompts, (p) => S - p.length);
  prompts.forEach((p, b) => {
    ids.set(p, b * S + start[b]);
    for (let i = 0; i < p.length; i++) positions[b * S + start[b] + i] = i;
  });
  return { ids, start, positions };
}

/** Fills the prefixes of a cache, in parts where a prompt is long. */
export class Prefill {
  private readonly cache: KVCache;
  private readonly padId: number;
  private readonly parts: { length: number; runs: number; prefix: number };
  private readonly plan: Plan;

  private constructor(cache: KVCache, padId: number, parts: Prefill["parts"], plan: Plan) {
    this.cache = cache;
    this.padId = padId;
    this.parts = parts;
    this.plan = plan;
  }

  /** For prompts of up to `tokens` ids, at most `chunk` of them in one run. The cache's prefix must be prefillParts(tokens, chunk).prefix long. */
  static async make(device: Device, model: Chameleon, table: RopeTable, cache: KVCache, tokens: number, chunk: number): Promise<Prefill> {
    const parts = prefillParts(tokens, chunk);
    const tape = new Tape(device);
    const { ids, positions } = sequenceInputs(tape, cache.shape.prompts, parts.length);
    model.forward(ids, positions, table, cache.filling(parts.runs > 1 ? tape.scalar("base", 0) : undefined));
    return new Prefill(cache, model.config.padId, parts, await tape.plan());
  }

  /** Prefills one prompt a row; `device` work only, nothing is waited for. */
  run(device: Device, prompts: readonly Uint32Array[]): void {
    const { length, runs, prefix } = this.parts;
    const { ids, start, positions } = leftPad(prompts, prefix, this.padId);
    device.write(this.cache.start, start);
    const padding = start.reduce((a, b) => Math.min(a, b));
    const columns = (all: Uint32Array, from: number) =>
      Uint32Array.from({ length: prompts.length * length }, (_, i) => all[Math.floor(i / length) * prefix + from + (i % length)]);
    for (let from = 0; from < prefix; from += length) {
      if (from + length <= padding) continue;
      this.plan.write("ids", columns(ids, from)).write("positions", columns(positions, from));
      if (runs > 1) this.plan.set("base", from);
      this.plan.run();
    }
  }

  destroy(): void {
    this.plan.destroy();
  }
}
