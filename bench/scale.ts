// What a model of full width costs: loading, memory, prefill and decoding, measured in this process. The command is cli/scale.ts.
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import { flops, weightBytes } from "../models/chameleon.ts";
import { Generator } from "../models/generate.ts";
import { fixedRules } from "../models/rules.ts";
import { matmulCeiling } from "../train/ceiling.ts";
import { defaultGroupSize, type StoredType } from "../weights/stored.ts";
import { loadLanguageModel } from "../world/model.ts";
import { measureCeilings } from "./ceilings.ts";
import { Timer } from "./timer.ts";

export interface ScaleOptions {
  readonly dtype: StoredType;
  readonly groupSize?: number;
  /** Picture codes in the prompt, and tokens to write. */
  readonly pictureTokens: number;
  readonly newTokens: number;
  /** Hears what is being done. */
  readonly onStatus?: (text: string) => void;
}

export interface ScaleResult {
  readonly dtype: StoredType;
  readonly loadSeconds: number;
  /** Most host memory while loading, beyond what the process had before and, on a software adapter, what the device has been given. */
  readonly hostPeak: number;
  /** Most memory of the whole process, device memory of a software adapter included. */
  readonly processPeak: number;
  readonly device: Record<string, number>;
  readonly promptTokens: number;
  readonly prefillSeconds: number;
  readonly tokenSeconds: number;
  readonly ids: number[];
  /** Shares of the measured matmul (prefill) and copy (token) ceilings. */
  readonly prefillShare: number;
  readonly tokenShare: number;
}

/** Loads the folder as one type, prefills a prompt with one picture, decodes greedily. */
export async function measureScale(folder: string, o: ScaleOptions): Promise<ScaleResult> {
  const say = (text: string) => o.onStatus?.(`${o.dtype}: ${text}`);
  const device = await openDevice();
  // Before anything else has taken memory and given it back; the ceilings come last for that reason.
  const before = process.memoryUsage.rss();
  let hostPeak = 0;
  const begin = performance.now();
  const onBytes = (done: number, total: number, begun: number) => {
    hostPeak = Math.max(hostPeak, process.memoryUsage.rss() - before - (device.capabilities.software ? begun : 0));
    say(`loading ${(done / 1e9).toFixed(1)} of ${(total / 1e9).toFixed(1)} GB`);
  };
  const { config, lm } = await loadLanguageModel(device, folder, { dtype: o.dtype, groupSize: o.groupSize, onBytes });
  const loadSeconds = (performance.now() - begin) / 1000;
  const rng = new Rng(7, "prompt");
  const words = Array.from({ length: 8 }, () => 16384 + rng.int(config.vocabSize - 16384));
  const picture = Array.from({ length: o.pictureTokens }, () => 4 + rng.int(8192));
  const prompt = Uint32Array.from([config.bosId, ...words, config.boiId, ...picture, config.eoiId, config.sepId ?? 0]);
  const shape = { prompts: 1, branches: 1, promptTokens: prompt.length, newTokens: o.newTokens };
  const generator = await Generator.make(device, lm, { ...shape, rules: fixedRules(new Uint8Array(config.vocabSize).fill(1)), chunk: 256 });
  say(`prefill of ${prompt.length} tokens`);
  const ids: number[] = [];
  const times: number[] = [performance.now()];
  for await (const steps of generator.stream([prompt], { temperature: 0, seed: 0 })) {
    ids.push(...steps.ids);
    for (const _ of steps.ids) times.push(performance.now());
    say(`${ids.length} of ${o.newTokens} tokens`);
  }
  const tokenSeconds = (times[times.length - 1] - times[1]) / 1000 / Math.max(1, ids.length - 1);
  const prefillSeconds = (times[1] - times[0]) / 1000 - tokenSeconds;
  const taken = device.memory() as Record<string, number>;
  const processPeak = process.resourceUsage().maxRSS * 1024;
  const ceiling = await matmulCeiling(device);
  const { copy } = await measureCeilings(device, new Timer(device));
  const read = weightBytes({ ...config, tieWordEmbeddings: true }, { dtype: o.dtype, groupSize: o.groupSize ?? defaultGroupSize });
  return {
    dtype: o.dtype,
    loadSeconds,
    hostPeak,
    processPeak,
    device: taken,
    promptTokens: prompt.length,
    prefillSeconds,
    tokenSeconds,
    ids,
    prefillShare: flops(config, 1, prompt.length - 1, 0) / prefillSeconds / 1e9 / ceiling,
    tokenShare: read / tokenSeconds / 1e9 / copy,
  };
}
