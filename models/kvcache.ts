// Keys and values of tokens already seen. Each of P prompts has one prefix (padded on the left to S tokens), held once; its `branches`
// continuations have a suffix of their own. Row r continues prefix floor(r / branches).
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { attention, attentionCached } from "../engine/ops/index.ts";
import type { Scalar } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { ChameleonConfig } from "../weights/names.ts";
import type { Attend } from "./chameleon.ts";

interface Pair {
  readonly k: Tensor;
  readonly v: Tensor;
}

export type CacheType = "f32" | "f16";

export interface CacheShape {
  readonly prompts: number;
  readonly branches: number;
  readonly prefix: number;
  readonly capacity: number;
  /** Storage of keys and values; f32 unless told. */
  readonly dtype?: CacheType;
}

export class KVCache {
  readonly shape: CacheShape;
  /** First real token of each prefix (u32, P). */
  readonly start: Tensor;
  private readonly prefix: Pair[];
  private readonly suffix: Pair[];
  private readonly device: Device;

  /** Bytes of keys and values. */
  static bytesOf(c: ChameleonConfig, { prompts, branches, prefix, capacity, dtype = "f32" }: CacheShape): number {
    return 2 * c.layers * c.kvHeads * c.headDim * (dtype === "f16" ? 2 : 4) * prompts * (prefix + branches * capacity);
  }

  /** A cache, or a sentence where there is no memory for it. */
  static make(device: Device, config: ChameleonConfig, shape: CacheShape): Promise<KVCache> {
    const remedy = () => `use fewer prompts, branches or tokens${shape.dtype === "f16" ? "" : ", or a cache in f16"}`;
    return device.guarded("keys and values", KVCache.bytesOf(config, shape), remedy, () => new KVCache(device, config, shape));
  }

  private constructor(device: Device, config: ChameleonConfig, shape: CacheShape) {
    const { prompts, branches, prefix, capacity, dtype = "f32" } = shape;
    if (dtype === "f16" && !device.capabilities.features.has("shader-f16"))
      throw new WorldlineError("a cache in f16 was asked for but this adapter has no shader-f16; take f32");
    const tokens = Math.max(prompts * prefix, prompts * branches * capacity);
    const bytes = tokens * config.kvHeads * config.headDim * (dtype === "f16" ? 2 : 4);
    if (bytes > device.bindingBytes)
      throw new WorldlineError(
        `the keys of ${tokens} tokens take ${bytes} bytes a layer but one binding holds ${device.bindingBytes}; use fewer branches, prompts or tokens${dtype === "f16" ? "" : ", or a cache in f16"}`,
      );
    const pair = (rows: number, length: number, layer: number, what: string): Pair => {
      const make = (name: string) =>
        device.tensor([rows, length, config.kvHeads, config.headDim], { dtype, name: `${what} ${name} ${layer}`, kind: "cache" });
      return { k: make("keys"), v: make("values") };
    };
    this.shape = shape;
    this.device = device;
    this.start = device.tensor([prompts], { dtype: "u32", name: "prefix start", kind: "cache" });
    this.prefix = Array.from({ length: config.layers }, (_, i) => pair(prompts, prefix, i, "prefix"));
    this.suffix = Array.from({ length: config.layers }, (_, i) => pair(prompts * branches, capacity, i, "suffix"));
  }

  /** Attention that fills the prefixes: rows are prompts, their tokens come all at once, or in parts that begin at `base`. */
  filling(base?: Scalar): Attend {
    const { start } = this;
    return {
      cache: (layer) => ({ ...this.prefix[layer], base: base ?? 0 }),
      over: (q, k, v) => (base ? attentionCached(q, { suffix: { k, v }, base, start }) : attention(q, k, v, { causal: true, start })),
    };
  }

  /** Attention of suffix tokens from position `base` on: each row sees its prefix and its own suffix. */
  continuing(base: Scalar | number): Attend {
    const { start } = this;
    const { branches } = this.shape;
    return {
      cache: (layer) => ({ ...this.suffix[layer], base }),
      over: (q, k, v, layer) => attentionCached(q, { prefix: { ...this.prefix[layer], branches }, start, suffix: { k, v }, base }),
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
