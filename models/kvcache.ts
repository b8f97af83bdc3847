// Keys and values of tokens already seen. Each of P prompts has one prefix (padded on the left to S tokens), held once; its `branches`
// continuations have a suffix of their own. Row r continues prefix floor(r / branches).
import type { Device } from "../engine/device.ts";
import { attention, attentionCached, writeCache } from "../engine/ops/index.ts";
import type { Scalar } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { ChameleonConfig } from "../weights/names.ts";
import type { Attend } from "./chameleon.ts";

interface Pair {
  readonly k: Tensor;
  readonly v: Tensor;
}

export interface CacheShape {
  readonly prompts: number;
  readonly branches: number;
  readonly prefix: number;
  readonly capacity: number;
}

export class KVCache {
  readonly shape: CacheShape;
  /** First real token of each prefix (u32, P). */
  readonly start: Tensor;
  private readonly prefix: Pair[];
  private readonly suffix: Pair[];
  private readonly device: Device;

  constructor(device: Device, config: ChameleonConfig, shape: CacheShape) {
    const { prompts, branches, prefix, capacity } = shape;
    const pair = (rows: number, length: number, layer: number, what: string): Pair => {
      const make = (name: string) =>
        device.tensor([rows, length, config.kvHeads, config.headDim], { name: `${what} ${name} ${layer}`, kind: "cache" });
      return { k: make("keys"), v: make("values") };
    };
    this.shape = shape;
    this.device = device;
    this.start = device.tensor([prompts], { dtype: "u32", name: "prefix start", kind: "cache" });
    this.prefix = Array.from({ length: config.layers }, (_, i) => pair(prompts, prefix, i, "prefix"));
    this.suffix = Array.from({ length: config.layers }, (_, i) => pair(prompts * branches, capacity, i, "suffix"));
  }

  /** Attention that fills the prefixes: rows are prompts. */
  filling(): Attend {
    return (q, k, v, layer) => {
      writeCache(k, this.prefix[layer].k, 0);
      writeCache(v, this.prefix[layer].v, 0);
      return attention(q, k, v, { causal: true, start: this.start });
    };
  }

  /** Attention of suffix tokens from position `base` on: each row sees its prefix and its own suffix. */
  continuing(base: Scalar | number): Attend {
    return (q, k, v, layer) => {
      const suffix = this.suffix[layer];
      writeCache(k, suffix.k, base);
      writeCache(v, suffix.v, base);
      const { branches } = this.shape;
      return attentionCached(q, { prefix: { ...this.prefix[layer], start: this.start, branches }, suffix, base });
    };
  }

  /** Bytes held. */
  get bytes(): number {
    return [...this.prefix, ...this.suffix].reduce((a, p) => a + p.k.bytes + p.v.bytes, 0);
  }

  destroy(): void {
    for (const p of [...this.prefix, ...this.suffix]) {
      this.device.release(p.k.storage!.buffer, "cache");
      this.device.release(p.v.storage!.buffer, "cache");
    }
    this.device.release(this.start.storage!.buffer, "cache");
  }
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
