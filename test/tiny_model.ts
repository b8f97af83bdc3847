// Small random Chameleon models on the device with the same weights for the f64 reference, folders that vanish with the test, and a device
// whose log lines can be read.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Device } from "../engine/device.ts";
import { nodeHost, openGPU } from "../engine/host_node.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import { type Chameleon, createChameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import type { Example } from "../train/data.ts";
import type { ChameleonConfig } from "../weights/names.ts";

export interface TinyModel {
  readonly config: ChameleonConfig;
  readonly lm: Chameleon;
  /** The same weights by checkpoint name. */
  readonly weights: Map<string, Float64Array>;
}

/** A configuration of a few thousand parameters; ids 0 ... 3 are BOS, padding, EOS and unknown. */
export function tinyConfig(sizes: Partial<ChameleonConfig> = {}): ChameleonConfig {
  const config = {
    vocabSize: 37,
    hidden: 24,
    intermediate: 40,
    layers: 2,
    heads: 3,
    kvHeads: 3,
    maxPositions: 128,
    rmsNormEps: 1e-5,
    ropeTheta: 1000,
    ropeScaling: null,
    swinNorm: false,
    modelParallelSize: 1,
    tieWordEmbeddings: false,
    ...{ bosId: 0, padId: 1, eosId: 2, boiId: 5, eoiId: 6, imageTokenId: 7 },
    ...sizes,
  };
  return { ...config, headDim: config.hidden / config.heads };
}

/** A model with weights from a seed: norm weights 1 +- 0.2 and biases +-0.2, so that a forgotten one shows. */
export async function tinyModel(device: Device, config: ChameleonConfig, seed: number): Promise<TinyModel> {
  const weights = new Map<string, Float64Array>();
  const lm = await createChameleon(device, config, async (name, shape) => {
    const n = shape.reduce((a, b) => a * b, 1);
    const rng = new Rng(seed, name);
    const spread = /norm|bias/.test(name) ? 0.2 : name.includes("embed_tokens") ? 1 : 1.2 / Math.sqrt(shape[1]);
    const data = rng.normals(n, spread).map((v) => (/norm\.weight$/.test(name) ? v + 1 : v));
    weights.set(name, Float64Array.from(data));
    return data;
  });
  if (config.tieWordEmbeddings) weights.set("lm_head.weight", weights.get("model.embed_tokens.weight")!);
  return { config, lm, weights };
}

/** Logits (T, V) of whole sequences of up to T tokens, each by one full forward pass without a cache. */
export async function fullForward(device: Device, lm: Chameleon, T: number): Promise<(ids: ArrayLike<number>) => Promise<Float32Array>> {
  const tape = new Tape(device);
  const inputs = sequenceInputs(tape, 1, T);
  const hidden = lm.forward(inputs.ids, inputs.positions, ropeFor(device, lm.config, T), selfAttention());
  const logits = tape.keep(lm.logits(hidden));
  const plan = await tape.plan();
  plan.write("positions", plainPositions(1, T));
  return async (ids) => {
    const padded = new Uint32Array(T).fill(lm.config.padId);
    padded.set(Array.from(ids));
    const [values] = await plan.write("ids", padded).run().read(logits);
    return values.slice(0, ids.length * lm.config.vocabSize) as Float32Array;
  };
}

/** Examples of random text ids (from 8 on) that start with BOS and score every later token. */
export function randomExamples(config: ChameleonConfig, count: number, T: number, seed: number): Example[] {
  const rng = new Rng(seed, "examples");
  return Array.from({ length: count }, () => ({
    ids: Uint32Array.from({ length: T }, (_, i) => (i ? 8 + rng.int(config.vocabSize - 8) : config.bosId)),
    weights: new Float32Array(T).fill(1),
  }));
}

/** A device that keeps its log lines. */
export async function openLogged(debug = 0): Promise<{ device: Device; lines: string[] }> {
  const { gpu, adapter } = await openGPU();
  const lines: string[] = [];
  const device = await Device.open({ host: { ...nodeHost, log: (line) => void lines.push(line) }, gpu, adapter, debug });
  return { device, lines };
}

const scratch: string[] = [];
process.on("exit", () => {
  for (const folder of scratch) rmSync(folder, { recursive: true, force: true });
});

/** A new folder that is removed when the process ends. */
export function scratchFolder(): string {
  scratch.push(mkdtempSync(join(tmpdir(), "worldline-test-")));
  return scratch[scratch.length - 1];
}

/** The message of what `fn` throws. */
export async function messageOf(fn: () => unknown): Promise<string> {
  try {
    await fn();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}
