// worldline goldens <folder>: runs a model folder against reference answers laid out as test/goldens/MANIFEST.md describes and prints a table of
// quantity, error and limit: logits, hidden states, losses, gradients by name, AdamW steps with and without clipping, picture codes and pixels.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { parameters, setTrainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { gatherRows } from "../engine/ops/embedding.ts";
import { crossEntropy } from "../engine/ops/index.ts";
import { nearestCode } from "../engine/ops/quantize.ts";
import { Tape } from "../engine/tape.ts";
import { plainPositions, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import { interleaved, planar } from "../tokenizer/image.ts";
import { defaultTraining, trainStep } from "../train/loop.ts";
import { fileSource } from "../weights/file_source.ts";
import { openSafetensors, toFloat32, toIntegers } from "../weights/safetensors.ts";
import { loadLanguageModel, loadPictureModel } from "../world/model.ts";
import { folderOf } from "./shared.ts";

interface Row {
  readonly quantity: string;
  readonly error: number;
  readonly limit: number;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("goldens")
    .argument("<folder>", "a configuration folder with expected/ inside")
    .description("check a model folder against reference answers (layout: test/goldens/MANIFEST.md)")
    .action(async (name: string) => {
      const folder = await folderOf(name);
      const device = await openDevice();
      const rows = await checkGoldens(device, folder);
      const width = Math.max(...rows.map((r) => r.quantity.length));
      for (const r of rows)
        console.log(
          `${r.error <= r.limit ? "ok  " : "MISS"} ${r.quantity.padEnd(width)} error ${r.error.toExponential(2)} limit ${r.limit.toExponential(0)}`,
        );
      const missed = rows.filter((r) => !(r.error <= r.limit)).length;
      console.log(`${rows.length - missed} within their limits, ${missed} not`);
      if (missed) process.exitCode = 1;
    });
}

/** All comparisons that the folder has answers for. */
export async function checkGoldens(device: Device, folder: string): Promise<Row[]> {
  const expected = new Goldens(join(folder, "expected"));
  const rows: Row[] = [];
  if (await expected.has("lm.safetensors")) rows.push(...(await languageModel(device, folder, expected)));
  if (await expected.has("vq_encode.safetensors")) rows.push(...(await pictureModel(device, folder, expected)));
  if (rows.length === 0)
    throw new WorldlineError(
      `${folder} has no expected/lm.safetensors or expected/vq_encode.safetensors; give a configuration folder as test/goldens/MANIFEST.md describes`,
    );
  return rows;
}

/** Answers of one folder, read by file and tensor name. */
class Goldens {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  async has(file: string): Promise<boolean> {
    return readFile(join(this.folder, file)).then(
      () => true,
      () => false,
    );
  }

  async json<T>(file: string): Promise<T> {
    return JSON.parse(await readFile(join(this.folder, file), "utf8")) as T;
  }

  /** Every tensor of a file as numbers with its shape. */
  async tensors(file: string): Promise<Map<string, { shape: readonly number[]; data: Float64Array }>> {
    const opened = await openSafetensors(await fileSource(join(this.folder, file)), file);
    const out = new Map<string, { shape: readonly number[]; data: Float64Array }>();
    for (const [name, t] of opened.tensors) {
      const bytes = await opened.read(name);
      const data =
        t.dtype === "F64"
          ? f64(bytes)
          : /^F|^BF/.test(t.dtype)
            ? Float64Array.from(toFloat32(bytes, t.dtype))
            : Float64Array.from(toIntegers(bytes, t.dtype));
      out.set(name, { shape: t.shape, data });
    }
    await opened.close();
    return out;
  }
}

function f64(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer);
}

function largest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const d = Math.abs(got[i] - want[i]);
    if (!(d <= worst)) worst = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
  }
  return worst;
}

const norm = (a: ArrayLike<number>) => Math.sqrt(Array.from(a).reduce((s, v) => s + v * v, 0));

interface Settings {
  readonly loss_f64: number;
  readonly optimizer: {
    readonly lr: number;
    readonly betas: [number, number];
    readonly eps: number;
    readonly weight_decay: number;
    readonly clip_global_norm: number;
  };
  readonly training_log: Record<string, { loss: number; grad_norm_before_clip: number }[]>;
}

async function languageModel(device: Device, folder: string, expected: Goldens): Promise<Row[]> {
  const lm = await expected.tensors("lm.safetensors");
  const facts = await expected.json<Settings>("lm.json");
  const { config, lm: model } = await loadLanguageModel(device, folder);
  const ids = lm.get("input_ids")!;
  const [B, T] = ids.shape;
  const weights = lm.get("weights")!.data;
  setTrainable(model, true);
  const tape = new Tape(device, { training: true });
  const inputs = sequenceInputs(tape, B, T);
  const targets = tape.input("targets", [B * T], "u32");
  const w = tape.input("weights", [B * T]);
  const hidden = tape.keep(model.forward(inputs.ids, inputs.positions, ropeFor(device, config, T), selfAttention()));
  const logits = tape.keep(model.logits(hidden).reshape(B * T, config.vocabSize));
  const { loss, ce } = crossEntropy(logits, targets, w, { denominator: "weights" });
  tape.keep(ce);
  tape.backward(loss);
  const plan = await tape.plan();
  const batch = shifted(ids.data, weights, B, T);
  plan
    .write("ids", Uint32Array.from(ids.data))
    .write("positions", plainPositions(B, T))
    .write("targets", batch.targets)
    .write("weights", batch.weights)
    .run();
  const [gotLogits, gotLoss, gotCe, gotHidden] = await plan.read(logits, loss, ce, hidden);
  const kept = (a: ArrayLike<number>) => Array.from(a).filter((_, i) => i % T !== T - 1);
  const rows: Row[] = [
    { quantity: "logits against f64", error: largest(gotLogits, lm.get("logits_f64")!.data), limit: 5e-5 },
    { quantity: "hidden.final_norm", error: largest(gotHidden, lm.get("hidden.final_norm")!.data), limit: 2e-4 },
    { quantity: "loss against f64", error: Math.abs(gotLoss[0] - facts.loss_f64), limit: 2e-5 },
    { quantity: "token_ce against f64", error: largest(kept(gotCe), lm.get("token_ce_f64")!.data), limit: 2e-4 },
  ];
  const all = parameters({ model: model.model, lm_head: model.lm_head });
  const grads = await expected.tensors("grads.safetensors");
  for (const [name, want] of grads) {
    const t = all.get(name);
    if (!t) throw new WorldlineError(`grads.safetensors names ${name}, which the model does not have`);
    const [got] = await device.read(tape.grad(t));
    rows.push({ quantity: `gradient ${name} (of its norm)`, error: largest(got, want.data) / norm(want.data), limit: 1e-4 });
  }
  plan.destroy();
  rows.push(
    ...(await optimizerSteps(device, folder, expected, facts, false)),
    ...(await optimizerSteps(device, folder, expected, facts, true)),
  );
  return rows;
}

/** The target and weight of every position: those of the next token; none at the end of a row. */
function shifted(
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

async function optimizerSteps(device: Device, folder: string, expected: Goldens, facts: Settings, clipped: boolean): Promise<Row[]> {
  const name = clipped ? "adamw_clip" : "adamw";
  if (!(await expected.has(`${name}.step5.safetensors`))) return [];
  const batches = await expected.tensors("train_batches.safetensors");
  const [steps, B, T] = batches.get("train.input_ids")!.shape;
  const { lr, betas, eps, weight_decay, clip_global_norm: clip } = facts.optimizer;
  const { lm: model } = await loadLanguageModel(device, folder);
  const options = {
    ...defaultTraining,
    learningRate: lr,
    betas,
    epsilon: eps,
    weightDecay: weight_decay,
    clip: clipped ? clip : 0,
    batch: B,
  };
  const step = await trainStep(device, model, { T, scored: T }, options);
  const rows: Row[] = [];
  const log = facts.training_log[`${name}.f64`];
  const all = parameters({ model: model.model, lm_head: model.lm_head });
  for (let s = 0; s < steps; s++) {
    const part = (key: string) => batches.get(key)!.data.subarray(s * B * T, (s + 1) * B * T);
    const ids = part("train.input_ids");
    const { targets, weights } = shifted(ids, part("train.weights"), B, T);
    step.plan
      .write("ids", Uint32Array.from(ids))
      .write(
        "rows",
        Uint32Array.from({ length: B * T }, (_, i) => i),
      )
      .write("targets", targets)
      .write("weights", weights);
    step.plan
      .set("lr", lr)
      .set("step", s + 1)
      .run();
    const [[loss], [gradNorm]] = await step.plan.read(step.loss, step.norm);
    if (log) rows.push({ quantity: `${name} loss of step ${s + 1}`, error: Math.abs(loss - log[s].loss), limit: 1e-4 });
    if (log)
      rows.push({
        quantity: `${name} gradient norm of step ${s + 1}`,
        error: Math.abs(gradNorm - log[s].grad_norm_before_clip),
        limit: 1e-3,
      });
    if (s !== 0 && s !== steps - 1) continue;
    const want = await expected.tensors(`${name}.step${s + 1}.safetensors`);
    let worst = 0;
    let squares = 0;
    let count = 0;
    for (const [key, w] of want) {
      const [got] = await device.read(all.get(key)!);
      worst = Math.max(worst, largest(got, w.data));
      for (let i = 0; i < got.length; i++) squares += (got[i] - w.data[i]) ** 2;
      count += got.length;
    }
    rows.push({ quantity: `${name} parameters after step ${s + 1}`, error: worst, limit: clipped ? 5e-5 : 1e-4 });
    rows.push({ quantity: `${name} parameters after step ${s + 1}, root mean square`, error: Math.sqrt(squares / count), limit: 2e-6 });
  }
  step.plan.destroy();
  return rows;
}

async function pictureModel(device: Device, folder: string, expected: Goldens): Promise<Row[]> {
  const model = await loadPictureModel(device, folder);
  const encoded = await expected.tensors("vq_encode.safetensors");
  const rows: Row[] = [];
  const dim = model.config.embedDim;
  for (const prefix of ["", "wide."]) {
    const pixels = encoded.get(`${prefix}pixel_values`);
    if (!pixels) continue;
    const [n, , h, w] = pixels.shape;
    const tape = new Tape(device);
    const z = tape.keep(model.encode(tape.input("pixels", [n, h, w, 3])));
    const codes = tape.keep(nearestCode(z.reshape(z.size / dim, dim), model.quantize.embedding.weight));
    const plan = await tape.plan();
    const images = Float32Array.from({ length: n * h * w * 3 });
    for (let b = 0; b < n; b++)
      images.set(interleaved(Float32Array.from(pixels.data.subarray(b * 3 * h * w, (b + 1) * 3 * h * w)), h * w), b * 3 * h * w);
    plan.write("pixels", images).run();
    const [gotZ, gotCodes] = await plan.read(z, codes);
    rows.push({
      quantity: `${prefix}prequant`,
      error: largest(channelsFirst(gotZ, n, dim), encoded.get(`${prefix}prequant`)!.data),
      limit: 2e-4,
    });
    rows.push({ quantity: `${prefix}codes`, error: largest(gotCodes, encoded.get(`${prefix}codes`)!.data), limit: 0 });
    plan.destroy();
  }
  if (!model.decoder || !(await expected.has("vq_decode.safetensors"))) return rows;
  const decoded = await expected.tensors("vq_decode.safetensors");
  for (const prefix of ["", "wide."]) {
    const want = decoded.get(`${prefix}pixel_values_f64`) ?? decoded.get(`${prefix}pixel_values`);
    const codes = decoded.get(`${prefix}codes`);
    if (!want || !codes) continue;
    const [n, , h, w] = want.shape;
    const step = 2 ** (model.config.channelMultiplier.length - 1);
    const tape = new Tape(device);
    const ids = tape.input("codes", [codes.data.length], "u32");
    const quantized = gatherRows(tape.bring(model.quantize.embedding.weight), ids).reshape(n, h / step, w / step, dim);
    const out = tape.keep(model.decode(quantized));
    const plan = await tape.plan();
    plan.write("codes", Uint32Array.from(codes.data)).run();
    const [got] = await plan.read(out);
    const size = h * w * 3;
    const images = Float64Array.from({ length: n * size });
    for (let b = 0; b < n; b++) images.set(planar(got.slice(b * size, (b + 1) * size) as Float32Array), b * size);
    rows.push({ quantity: `${prefix}decoded pixels`, error: largest(images, want.data), limit: 2e-4 });
    plan.destroy();
  }
  return rows;
}

/** (n, cells, dim) to (n, dim, cells). */
function channelsFirst(z: ArrayLike<number>, n: number, dim: number): Float64Array {
  const cells = z.length / n / dim;
  const out = new Float64Array(z.length);
  for (let b = 0; b < n; b++)
    for (let c = 0; c < cells; c++) for (let d = 0; d < dim; d++) out[(b * dim + d) * cells + c] = z[(b * cells + c) * dim + d];
  return out;
}
