// Gradients by name and AdamW steps, with and without clipping, against reference answers.
import { parameters, setTrainable } from "../../engine/module.ts";
import { Tape } from "../../engine/tape.ts";
import { plainPositions, ropeFor, selfAttention, sequenceInputs } from "../../models/chameleon.ts";
import { defaultTraining } from "../../train/loop.ts";
import { TrainStep } from "../../train/step.ts";
import { loadLanguageModel } from "../../world/model.ts";
import { type Case, largest, norm, type Row } from "./answers.ts";

/** The part of lm.json that training needs. */
interface Settings {
  readonly grad_global_norm_f64?: number;
  readonly optimizer: {
    readonly lr: number;
    readonly betas: [number, number];
    readonly eps: number;
    readonly weight_decay: number;
    readonly clip_global_norm: number;
  };
  readonly training_log: Record<string, { loss: number; grad_norm_before_clip: number }[]>;
}

export async function training(given: Case): Promise<Row[]> {
  const rows: Row[] = [];
  if (await given.answers.has("grads.safetensors")) rows.push(...(await gradients(given)));
  for (const name of ["adamw", "adamw_clip"]) {
    if ((await given.answers.has(`${name}.step1.safetensors`)) || (await given.answers.has(`${name}.step5.safetensors`)))
      rows.push(...(await optimizerSteps(given, name)));
  }
  return rows;
}

async function gradients({ device, folder, answers }: Case): Promise<Row[]> {
  const lm = await answers.file("lm.safetensors");
  const facts = await answers.json<Settings>("lm.json");
  const { config, lm: model } = await loadLanguageModel(device, folder);
  const ids = lm.get("input_ids");
  const [B, T] = ids.shape;
  setTrainable(model, true);
  const tape = new Tape(device, { training: true });
  const inputs = sequenceInputs(tape, B, T);
  const hidden = model.forward(inputs.ids, inputs.positions, ropeFor(device, config, T), selfAttention());
  const [targets, weights] = [tape.input("targets", [B * T], "u32"), tape.input("weights", [B * T])];
  const { loss } = model.loss(hidden, undefined, targets, weights, { denominator: "weights" });
  tape.backward(loss);
  const plan = await tape.plan();
  const batch = shifted(ids.data, lm.get("weights").data, B, T);
  plan.write("ids", Uint32Array.from(ids.data)).write("positions", plainPositions(B, T));
  plan.write("targets", batch.targets).write("weights", batch.weights).run();
  const all = parameters({ model: model.model, ...(config.tieWordEmbeddings ? {} : { lm_head: model.lm_head }) });
  const file = await answers.file("grads.safetensors");
  const rows: Row[] = [];
  let squares = 0;
  for (const [name, t] of all) {
    const [got] = await device.read(tape.grad(t));
    squares += norm(got) ** 2;
    const want = file.get(name).data;
    rows.push({ quantity: `gradient ${name} (of its norm)`, error: largest(got, want) / norm(want), limit: 1e-4 });
  }
  if (facts.grad_global_norm_f64 !== undefined)
    rows.push({ quantity: "norm of all gradients", error: Math.abs(Math.sqrt(squares) - facts.grad_global_norm_f64), limit: 1e-3 });
  plan.destroy();
  return rows;
}

/** The target and weight of every position: those of the next token; none at the end of a row. */
export function shifted(
  ids: ArrayLike<number>,
  weights: ArrayLike<number>,
  B: number,
  T: number,
): { targets: Uint32Array; weights: Float32Array } {
  const at = (i: number) => (i % T === T - 1 ? -1 : i + 1);
  return {
    targets: Uint32Array.from({ length: B * T }, (_, i) => (at(i) < 0 ? 0 : ids[at(i)])),
    weights: Float32Array.from({ length: B * T }, (_, i) => (at(i) < 0 ? 0 : weights[at(i)])),
  };
}

async function optimizerSteps({ device, folder, answers }: Case, name: string): Promise<Row[]> {
  const facts = await answers.json<Settings>("lm.json");
  const batches = await answers.file("train_batches.safetensors");
  const [steps, B, T] = batches.get("train.input_ids").shape;
  const { lr, betas, eps, weight_decay, clip_global_norm } = facts.optimizer;
  const clip = name.endsWith("clip") ? clip_global_norm : 0;
  const { lm: model } = await loadLanguageModel(device, folder);
  const options = { ...defaultTraining, learningRate: lr, betas, epsilon: eps, weightDecay: weight_decay, clip, batch: B };
  const step = await TrainStep.record(device, model, [{ T, scored: T }], options);
  const rows: Row[] = [];
  const log = facts.training_log[`${name}.f64`];
  for (let s = 0; s < steps; s++) {
    const part = (key: string) => batches.get(key).data.subarray(s * B * T, (s + 1) * B * T);
    const ids = part("train.input_ids");
    const { targets, weights } = shifted(ids, part("train.weights"), B, T);
    const rowsOf = Uint32Array.from({ length: B * T }, (_, i) => i);
    const sums = { tokens: B * T, counted: B * T, weight: weights.reduce((a, w) => a + w, 0) };
    const batch = { shape: { T, scored: T }, ids: Uint32Array.from(ids), rows: rowsOf, targets, weights, ...sums };
    const { loss, norm: gradNorm } = await step.run([batch], { lr, step: s + 1 });
    if (log) {
      rows.push({ quantity: `${name} loss of step ${s + 1}`, error: Math.abs(loss - log[s].loss), limit: 1e-4 });
      const error = Math.abs(gradNorm - log[s].grad_norm_before_clip);
      rows.push({ quantity: `${name} gradient norm of step ${s + 1}`, error, limit: 1e-3 });
    }
    const file = `${name}.step${s + 1}.safetensors`;
    if (!(await answers.has(file))) continue;
    const want = await answers.file(file);
    const all = parameters({ model: model.model, ...(model.config.tieWordEmbeddings ? {} : { lm_head: model.lm_head }) });
    let [worst, squares, count] = [0, 0, 0];
    for (const [key, t] of all) {
      const [got] = await device.read(t);
      const { data } = want.get(key);
      worst = Math.max(worst, largest(got, data));
      for (let i = 0; i < got.length; i++) squares += (got[i] - data[i]) ** 2;
      count += got.length;
    }
    rows.push({ quantity: `${name} parameters after step ${s + 1}`, error: worst, limit: clip ? 5e-5 : 1e-4 });
    rows.push({ quantity: `${name} parameters after step ${s + 1}, root mean square`, error: Math.sqrt(squares / count), limit: 2e-6 });
  }
  step.destroy();
  return rows;
}
