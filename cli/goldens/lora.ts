// The part of `worldline goldens` about LoRA: logits and gradients with an adapter on the base, clipped AdamW steps, merged weights, and
// adapter_config.json written back field by field.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../engine/device.ts";
import { setTrainable, trainable } from "../../engine/module.ts";
import { adamw } from "../../engine/optim.ts";
import { Tape } from "../../engine/tape.ts";
import { type Chameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "../../models/chameleon.ts";
import { createAdapter, withAdapter } from "../../models/lora.ts";
import { mergedTensor, openAdapter, peftName, writeAdapterConfig } from "../../weights/adapter.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { loadLanguageModel } from "../../world/model.ts";
import { type Case, largest, norm, type Row } from "./answers.ts";
import { shifted } from "./training.ts";

/** The part of lm.json that training needs. */
interface Settings {
  readonly optimizer: {
    readonly lr: number;
    readonly betas: [number, number];
    readonly eps: number;
    readonly weight_decay: number;
    readonly clip_global_norm: number;
  };
}

interface LoraFacts {
  readonly loss_f64: number;
  readonly training_log_adamw_clip: readonly { readonly loss: number; readonly grad_norm_before_clip: number }[];
}

/** All comparisons that the folder's lora/ and expected/lora* have answers for. */
export async function lora(given: Case): Promise<Row[]> {
  const { answers, folder } = given;
  if (!(await answers.has("lora.safetensors"))) return [];
  const facts = await answers.json<LoraFacts>("lora.json");
  const rows = await firstBatch(given, facts);
  if (await answers.has("lora.adamw_clip.step5.safetensors")) rows.push(...(await steps(given, facts)));
  return [...rows, ...(await merged(given)), await configuration(folder)];
}

/** The base with the folder's adapter, of which alone gradients are wanted. */
async function adapted(device: Device, folder: string): Promise<Chameleon> {
  const { config, lm } = await loadLanguageModel(device, folder);
  const file = await openAdapter(join(folder, "lora"));
  try {
    const model = withAdapter(lm, await createAdapter(device, config, file.config, file));
    setTrainable(model, /\.lora_[AB]\./);
    return model;
  } finally {
    await file.close();
  }
}

/** A training tape over whole rows: logits, loss, and gradients. */
function record(device: Device, model: Chameleon, B: number, T: number) {
  const tape = new Tape(device, { training: true });
  const inputs = sequenceInputs(tape, B, T);
  const targets = tape.input("targets", [B * T], "u32");
  const weights = tape.input("weights", [B * T]);
  const hidden = model.forward(inputs.ids, inputs.positions, ropeFor(device, model.config, T), selfAttention());
  const logits = tape.keep(model.logits(hidden).reshape(B * T, model.config.vocabSize));
  const { loss } = model.loss(hidden, undefined, targets, weights, { denominator: "weights" });
  tape.backward(loss);
  return { tape, logits, loss };
}

async function firstBatch({ device, folder, answers }: Case, facts: LoraFacts): Promise<Row[]> {
  const lm = await answers.file("lm.safetensors");
  const ids = lm.get("input_ids");
  const [B, T] = ids.shape;
  const model = await adapted(device, folder);
  const { tape, logits, loss } = record(device, model, B, T);
  const plan = await tape.plan();
  const batch = shifted(ids.data, lm.get("weights").data, B, T);
  plan.write("ids", Uint32Array.from(ids.data)).write("positions", plainPositions(B, T));
  plan.write("targets", batch.targets).write("weights", batch.weights).run();
  const [gotLogits, gotLoss] = await plan.read(logits, loss);
  const want = await answers.file("lora.safetensors");
  const rows: Row[] = [
    { quantity: "lora logits", error: largest(gotLogits, want.get("logits").data), limit: 2e-4 },
    { quantity: "lora logits against f64", error: largest(gotLogits, want.get("logits_f64").data), limit: 5e-5 },
    { quantity: "lora loss against f64", error: Math.abs(gotLoss[0] - facts.loss_f64), limit: 2e-5 },
  ];
  const grads = await answers.file("lora.grads.safetensors");
  const trained = trainable(model);
  for (const [name, t] of trained) {
    const [got] = await device.read(tape.grad(t));
    const { data } = grads.get(peftName(name));
    rows.push({ quantity: `lora gradient ${name} (of its norm)`, error: largest(got, data) / norm(data), limit: 1e-4 });
  }
  plan.destroy();
  return rows;
}

async function steps({ device, folder, answers }: Case, facts: LoraFacts): Promise<Row[]> {
  const settings = await answers.json<Settings>("lm.json");
  const batches = await answers.file("train_batches.safetensors");
  const [count, B, T] = batches.get("train.input_ids").shape;
  const model = await adapted(device, folder);
  const { tape, loss } = record(device, model, B, T);
  const trained = trainable(model);
  const { lr, betas, eps, weight_decay: weightDecay, clip_global_norm: clip } = settings.optimizer;
  const scalars = { lr: tape.scalar("lr", lr), step: tape.scalar("step", 1) };
  const gradNorm = tape.keep(adamw(tape, trained, { ...scalars, betas, eps, weightDecay, clip }).norm);
  const plan = await tape.plan();
  plan.write("positions", plainPositions(B, T));
  const rows: Row[] = [];
  for (let s = 0; s < count; s++) {
    const part = (key: string) => batches.get(key).data.subarray(s * B * T, (s + 1) * B * T);
    const ids = part("train.input_ids");
    const batch = shifted(ids, part("train.weights"), B, T);
    plan.write("ids", Uint32Array.from(ids)).write("targets", batch.targets).write("weights", batch.weights);
    const [[gotLoss], [gotNorm]] = await plan
      .set("step", s + 1)
      .run()
      .read(loss, gradNorm);
    const log = facts.training_log_adamw_clip[s];
    rows.push({ quantity: `lora loss of step ${s + 1}`, error: Math.abs(gotLoss - log.loss), limit: 1e-4 });
    rows.push({ quantity: `lora gradient norm of step ${s + 1}`, error: Math.abs(gotNorm - log.grad_norm_before_clip), limit: 1e-3 });
    const file = `lora.adamw_clip.step${s + 1}.safetensors`;
    if (!(await answers.has(file))) continue;
    const want = await answers.file(file);
    let worst = 0;
    let squares = 0;
    let values = 0;
    for (const [name, t] of trained) {
      const [got] = await device.read(t);
      const w = want.get(peftName(name)).data;
      worst = Math.max(worst, largest(got, w));
      for (let i = 0; i < got.length; i++) squares += (got[i] - w[i]) ** 2;
      values += got.length;
    }
    rows.push({ quantity: `lora A and B after step ${s + 1}`, error: worst, limit: 5e-5 });
    rows.push({ quantity: `lora A and B after step ${s + 1}, root mean square`, error: Math.sqrt(squares / values), limit: 2e-6 });
  }
  plan.destroy();
  return rows;
}

/** "merged.layer0.q_proj.weight" and "merged.layer1.mlp.down_proj.weight" both name a weight of that layer. */
async function merged({ folder, answers }: Case): Promise<Row[]> {
  const base = await openCheckpoint(folder);
  const adapter = await openAdapter(join(folder, "lora"));
  const rows: Row[] = [];
  try {
    const file = await answers.file("lora.safetensors");
    for (const key of file.names) {
      const [, layer, rest] = /^merged\.layer(\d+)\.(.*)$/.exec(key) ?? [];
      if (!layer) continue;
      const name = [...base.tensors.keys()].find((n) => n.startsWith(`model.layers.${layer}.`) && n.endsWith(`.${rest}`))!;
      const got = await mergedTensor(adapter, name, await base.readFloat32(name));
      rows.push({ quantity: `lora merged ${name}`, error: largest(got, file.get(key).data), limit: 2e-6 });
    }
  } finally {
    await base.close();
    await adapter.close();
  }
  return rows;
}

/** The fields of adapter_config.json that come out otherwise when it is read and written. */
async function configuration(folder: string): Promise<Row> {
  const given = JSON.parse(await readFile(join(folder, "lora", "adapter_config.json"), "utf8")) as Record<string, unknown>;
  const adapter = await openAdapter(join(folder, "lora"));
  await adapter.close();
  const written = writeAdapterConfig(adapter.config);
  const other = Object.keys(given).filter((key) => JSON.stringify(written[key]) !== JSON.stringify(given[key]));
  return {
    quantity: `lora adapter_config.json, fields that differ${other.length ? `: ${other.join(", ")}` : ""}`,
    error: other.length,
    limit: 0,
  };
}
