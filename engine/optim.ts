// AdamW over all parameters in few launches: parameters that lie side by side in one buffer are updated as one range. Their gradients and
// moments are ranges of twin buffers (Device.mirror), so nothing is gathered, and what does not train has neither.
import { adamwBf16, adamwF16, clipScale, sumSquares, sumSquaresShare, adamw as update } from "../kernels/adamw/adamw.ts";
import { fill } from "../kernels/fill/fill.ts";
import { type DType, dtypeBytes } from "../kernels/kernel.ts";
import type { Device } from "./device.ts";
import { WorldlineError } from "./errors.ts";
import type { Scalar, Tape } from "./tape.ts";
import { Tensor, trainableTypes } from "./tensor.ts";

export interface AdamWOptions {
  readonly lr: Scalar;
  /** Number of this update, from 1. */
  readonly step: Scalar;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  /** Largest global gradient norm; none without. */
  readonly clip?: number;
  /** Names that are not decayed. */
  readonly noDecay?: (name: string) => boolean;
  /** Factor of the learning rate by name; 1 without. */
  readonly rate?: (name: string) => number;
  /** A loss of this tape: where it is not finite nothing is updated. */
  readonly loss?: Tensor;
}

/** Results of an update, to be kept and read. */
export interface Update {
  /** The global norm before clipping (1). */
  readonly norm: Tensor;
  /** u32 (2): updates skipped because norm or loss was not finite, in all and in a row up to now. */
  readonly skips: Tensor;
}

/**
 * Appends the update of every parameter that has a gradient: clipping by the global norm, then decoupled decay and Adam with bias correction. A norm
 * or loss that is not finite leaves parameters and moments as they are and is counted.
 */
export function adamw(tape: Tape, params: ReadonlyMap<string, Tensor>, o: AdamWOptions): Update {
  const { device } = tape;
  const ranges = rangesOf(tape, params, o);
  const groups = ranges.map((r) => Math.ceil(r.w.size / sumSquaresShare));
  const part = tape.empty([groups.reduce((a, n) => a + n, 0)], "f32", "norm parts");
  let at = 0;
  ranges.forEach((r, i) => {
    tape.launch(sumSquares, { x: r.grad, part }, { n: r.w.size, at });
    at += groups[i];
  });
  const norm = tape.empty([1], "f32", "gradient norm");
  const scale = tape.empty([1], "f32", "gradient scale");
  const skips = device.tensor([2], { dtype: "u32", name: "skipped updates" });
  const judged = { part, loss: o.loss ?? part, norm, scale, skips };
  tape.launch(clipScale, judged, { n: part.size, clip: o.clip ?? 0, hasLoss: o.loss ? 1 : 0 });
  const [b1, b2] = o.betas;
  const c1 = o.step.map((t) => 1 - b1 ** t);
  const c2 = o.step.map((t) => 1 - b2 ** t);
  for (const { w, grad, m, v, master, decay, rate } of ranges) {
    const lr = rate === 1 ? o.lr : o.lr.map((value) => value * rate);
    const numbers = { n: w.size, lr, b1, b2, c1, c2, eps: o.eps, decay };
    if (master) tape.launch(w.dtype === "f16" ? adamwF16 : adamwBf16, { grad, scale, w, master, m, v }, numbers);
    else tape.launch(update, { grad, scale, w, m, v }, numbers);
  }
  return { norm, skips };
}

/** Appends launches that set every gradient of the tape's parameters to zero: what follows an update where several plans' gradients are summed. */
export function zeroGradients(tape: Tape, params: ReadonlyMap<string, Tensor>): void {
  for (const { grad } of rangesOf(tape, params, { weightDecay: 0 })) tape.launch(fill, { y: grad }, { n: grad.size, value: 0 });
}

/**
 * Moments of those of the given parameters that train, by name, for checkpoints: `<name>.exp_avg` and `<name>.exp_avg_sq`, and `<name>.master`, in f32,
 * of a weight stored as bf16.
 */
export function optimizerState(device: Device, params: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const out = new Map<string, Tensor>();
  for (const [name, t] of params) {
    if (!t.trainable) continue;
    const { m, v, master } = twins(device, t);
    out.set(`${name}.exp_avg`, m).set(`${name}.exp_avg_sq`, v);
    if (master) out.set(`${name}.master`, master);
  }
  return out;
}

/** Zeroes what an earlier run left beside the parameters that train: gradients, moments and masters. */
export function forgetTraining(device: Device, params: ReadonlyMap<string, Tensor>): void {
  const encoder = device.raw.createCommandEncoder();
  for (const t of params.values())
    for (const twin of t.trainable ? (Object.values(twins(device, t)) as Tensor[]) : [])
      encoder.clearBuffer(twin.storage!.buffer, twin.storage!.offset, twin.bytes);
  device.raw.queue.submit([encoder.finish()]);
}

interface Twins {
  readonly grad: Tensor;
  readonly m: Tensor;
  readonly v: Tensor;
  /** f32, where the weight is bf16 or f16. */
  readonly master?: Tensor;
}

function twins(device: Device, w: Tensor): Twins {
  return {
    grad: device.mirror(w, "gradients", "gradients"),
    m: device.mirror(w, "moment 1", "moments"),
    v: device.mirror(w, "moment 2", "moments"),
    ...(w.dtype === "f32" ? {} : { master: device.mirror(w, "master", "masters") }),
  };
}

/** Parameters that lie side by side, with their gradients and moments, and are updated alike. */
interface Range extends Twins {
  readonly w: Tensor;
  readonly decay: number;
  readonly rate: number;
}

/** Joins parameters that follow each other (padding between them holds zeros) as far as one binding goes. */
function rangesOf(tape: Tape, params: ReadonlyMap<string, Tensor>, o: Pick<AdamWOptions, "noDecay" | "rate" | "weightDecay">): Range[] {
  const { device } = tape;
  const limit = Math.floor(device.raw.limits.maxStorageBufferBindingSize / 1024) * 1024;
  const buffers: GPUBuffer[] = [];
  const list = [...params]
    .filter(([, t]) => tape.hasGrad(t))
    .map(([name, t]) => {
      if (!trainableTypes.has(t.dtype) || !t.storage)
        throw new WorldlineError(`adamw: ${name} is ${t.dtype}; trained parameters must be stored as f32, bf16 or f16`);
      const { buffer, offset } = t.storage;
      if (!buffers.includes(buffer)) buffers.push(buffer);
      const places = Object.values(twins(device, t)).map((twin) => twin.storage!);
      const [decay, rate] = [o.noDecay?.(name) ? 0 : o.weightDecay, o.rate?.(name) ?? 1];
      const { dtype } = t;
      const end = offset + Math.ceil(t.size / 4) * 4 * dtypeBytes[dtype];
      return { buffer, dtype, begin: offset, end, places, decay, rate };
    });
  if (list.length === 0) throw new WorldlineError("adamw: no parameter has a gradient; call tape.backward(loss) first");
  list.sort((a, b) => buffers.indexOf(a.buffer) - buffers.indexOf(b.buffer) || a.begin - b.begin);
  const joined: typeof list = [];
  for (const r of list) {
    const last = joined[joined.length - 1];
    const near = last && r.dtype === "f32" && last.buffer === r.buffer && r.begin - last.end < 256 && r.end - last.begin <= limit;
    const alike = near && last.decay === r.decay && last.rate === r.rate;
    if (alike && r.places.every((p, i) => p.buffer === last.places[i].buffer && p.offset - last.places[i].offset === r.begin - last.begin))
      last.end = r.end;
    else joined.push({ ...r });
  }
  return joined.flatMap(({ buffer, dtype, begin, end, places, decay, rate }) => {
    const width = dtypeBytes[dtype];
    const all = (end - begin) / width;
    const parts: Range[] = [];
    for (let at = 0; at < all; at += limit / 4) {
      const n = Math.min(limit / 4, all - at);
      const name = `parameters ${begin / width + at} to ${begin / width + at + n} of ${buffer.label}`;
      const view = (place: { buffer: GPUBuffer; offset: number }, type: DType) =>
        new Tensor([n], type, name, { storage: { buffer: place.buffer, offset: place.offset + at * dtypeBytes[type] } });
      const [grad, m, v, master] = places.map((p) => view(p, "f32"));
      parts.push({ w: view({ buffer, offset: begin }, dtype), grad, m, v, master, decay, rate });
    }
    return parts;
  });
}
