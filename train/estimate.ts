// What a training run takes, found by recording it on a device that only counts (engine/null_gpu.ts): the same allocations as in the run itself, by kind, and
// its floating point operations.
import type { Device, MemoryKind } from "../engine/device.ts";
import type { Host } from "../engine/host.ts";
import { setTrainable } from "../engine/module.ts";
import { type NullAdapter, openNullDevice } from "../engine/null_gpu.ts";
import { type Chameleon, createChameleon } from "../models/chameleon.ts";
import { createAdapter, trainAdapter, withAdapter } from "../models/lora.ts";
import { createVqgan } from "../models/vqgan.ts";
import { isTarget, type LoraConfig, rankAndScale } from "../weights/adapter.ts";
import type { ChameleonConfig } from "../weights/names.ts";
import type { StoredAs } from "../weights/stored.ts";
import type { Shape } from "./data.ts";
import { type StepOptions, TrainStep } from "./step.ts";

export interface EstimateOptions {
  readonly config: ChameleonConfig;
  readonly as: StoredAs;
  readonly lora?: LoraConfig;
  readonly shapes: readonly Shape[];
  readonly step: StepOptions;
  /** Count the picture tokenizer, which a run from picture files holds beside the model. */
  readonly pictures?: boolean;
}

/** Bytes by kind while a run trains. */
export type Bytes = Readonly<Partial<Record<MemoryKind, number>>>;

/** The memory of a run on a device of the given limits. */
export async function trainingMemory(host: Host, o: EstimateOptions, adapter: NullAdapter = {}): Promise<Bytes> {
  const device = await openNullDevice(host, adapter);
  const model = await emptyModel(device, o);
  await TrainStep.record(device, model, o.shapes, o.step);
  return device.memory();
}

/** The model as a run holds it, without values. */
async function emptyModel(device: Device, o: EstimateOptions): Promise<Chameleon> {
  const base = await createChameleon(device, o.config, null, { as: o.as });
  if (o.pictures && o.config.vq)
    await createVqgan(device, o.config.vq, (_, shape) => Promise.resolve(new Float32Array(shape.reduce((a, b) => a * b, 1))));
  if (!o.lora) {
    setTrainable(base, true);
    return base;
  }
  const adapter = await createAdapter(device, o.config, o.lora, null);
  const model = withAdapter(base, adapter);
  trainAdapter(model, adapter);
  return model;
}

/** Floating point operations of one micro-batch by part, a multiply-add as two. */
export interface TrainingFlops {
  readonly forward: number;
  readonly backward: number;
  /** Blocks computed once more for their gradients. */
  readonly recompute: number;
  readonly total: number;
}

/**
 * Operations of a step on B rows of T tokens with `scored` positions each through the head. A trained linear layer costs twice its forward pass in the
 * backward pass, a frozen one once; attention counts every key (no half for causality), twice that in the backward pass.
 */
export function trainingFlops(
  c: ChameleonConfig,
  B: number,
  { T, scored }: Shape,
  o: { lora?: LoraConfig; recompute: boolean },
): TrainingFlops {
  const { hidden: H, intermediate: I, heads: N, kvHeads: K, headDim: D, vocabSize: V, layers: L } = c;
  const sizes: Record<string, readonly [number, number]> = {
    "self_attn.q_proj": [H, N * D],
    "self_attn.k_proj": [H, K * D],
    "self_attn.v_proj": [H, K * D],
    "self_attn.o_proj": [N * D, H],
    "mlp.gate_proj": [H, I],
    "mlp.up_proj": [H, I],
    "mlp.down_proj": [I, H],
  };
  let [linears, pairs] = [0, 0];
  for (let i = 0; i < L; i++)
    for (const [name, [inner, out]] of Object.entries(sizes)) {
      const path = `model.layers.${i}.${name}`;
      linears += 2 * inner * out;
      if (o.lora && isTarget(o.lora, path)) pairs += 2 * rankAndScale(o.lora, path).rank * (inner + out);
    }
  const attention = 4 * T * N * D * L;
  const block = B * T * (linears + attention + pairs);
  const head = 2 * B * scored * H * V;
  const backward = B * T * ((o.lora ? 1 : 2) * linears + 2 * attention + 2 * pairs) + (o.lora ? 1 : 2) * head;
  const recompute = o.recompute ? block : 0;
  return { forward: block + head, backward, recompute, total: block + head + backward + recompute };
}
