// AdamW over all parameters in few launches: parameters that lie side by side in one buffer are updated as one range. Their gradients and
// moments are ranges of buffers of equal size (Device.mirror), so nothing is gathered.
import { clipScale, sumSquares, sumSquaresShare, adamw as update } from "../kernels/adamw/adamw.ts";
import type { Device } from "./device.ts";
import { WorldlineError } from "./errors.ts";
import type { Scalar, Tape } from "./tape.ts";
import { Tensor } from "./tensor.ts";

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
}

/**
 * Appends the update of every parameter that has a gradient on the tape: clipping by the global norm, then decoupled decay and Adam with bias
 * correction. A gradient that is not finite changes nothing. Returns the norm before clipping (1).
 */
export function adamw(tape: Tape, params: ReadonlyMap<string, Tensor>, o: AdamWOptions): { norm: Tensor } {
  const { device } = tape;
  const used = [...params].filter(([, t]) => tape.hasGrad(t));
  if (used.length === 0) throw new WorldlineError("adamw: no parameter has a gradient; call tape.backward(loss) first");
  const limit = Math.floor(device.raw.limits.maxStorageBufferBindingSize / 1024) * 256;
  const ranges = mergedRanges(used, o.noDecay ?? (() => false), limit);
  const groups = ranges.map((r) => Math.ceil(r.tensor.size / sumSquaresShare));
  const part = tape.empty([groups.reduce((a, n) => a + n, 0)], "f32", "norm parts");
  let at = 0;
  ranges.forEach((r, i) => {
    tape.launch(sumSquares, { x: device.mirror(r.tensor, "gradients", "gradients"), part }, { n: r.tensor.size, at });
    at += groups[i];
  });
  const norm = tape.empty([1], "f32", "gradient norm");
  const scale = tape.empty([1], "f32", "gradient scale");
  tape.launch(clipScale, { part, norm, scale }, { n: part.size, clip: o.clip ?? 0 });
  const [b1, b2] = o.betas;
  const c1 = o.step.map((t) => 1 - b1 ** t);
  const c2 = o.step.map((t) => 1 - b2 ** t);
  for (const { tensor: w, decayed } of ranges) {
    const { grad, m, v } = twins(device, w);
    const decay = decayed ? o.weightDecay : 0;
    tape.launch(update, { grad, scale, w, m, v }, { n: w.size, lr: o.lr, b1, b2, c1, c2, eps: o.eps, decay });
  }
  return { norm };
}

function twins(device: Device, w: Tensor): { grad: Tensor; m: Tensor; v: Tensor } {
  return {
    grad: device.mirror(w, "gradients", "gradients"),
    m: device.mirror(w, "moment 1", "moments"),
    v: device.mirror(w, "moment 2", "moments"),
  };
}

/** Moments of the given parameters by name, for checkpoints: `<name>.exp_avg` and `<name>.exp_avg_sq`. */
export function optimizerState(device: Device, params: ReadonlyMap<string, Tensor>): Map<string, Tensor> {
  const out = new Map<string, Tensor>();
  for (const [name, t] of params) {
    const { m, v } = twins(device, t);
    out.set(`${name}.exp_avg`, m).set(`${name}.exp_avg_sq`, v);
  }
  return out;
}

interface Range {
  readonly tensor: Tensor;
  readonly decayed: boolean;
}

/** Joins parameters that follow each other in one buffer (padding between them holds zeros) up to `limit` values. */
function mergedRanges(params: readonly (readonly [string, Tensor])[], noDecay: (name: string) => boolean, limit: number): Range[] {
  const list = params.map(([name, t]) => {
    if (t.dtype !== "f32" || !t.storage)
      throw new WorldlineError(`adamw: ${name} is ${t.dtype}; trained parameters must be stored f32 tensors`);
    return {
      buffer: t.storage.buffer,
      begin: t.storage.offset / 4,
      end: t.storage.offset / 4 + Math.ceil(t.size / 4) * 4,
      decayed: !noDecay(name),
    };
  });
  const buffers = [...new Set(list.map((r) => r.buffer))];
  list.sort((a, b) => buffers.indexOf(a.buffer) - buffers.indexOf(b.buffer) || a.begin - b.begin);
  const joined: typeof list = [];
  for (const r of list) {
    const last = joined[joined.length - 1];
    if (last && last.buffer === r.buffer && last.decayed === r.decayed && r.begin - last.end < 64 && r.end - last.begin <= limit)
      last.end = r.end;
    else joined.push({ ...r });
  }
  return joined.flatMap(({ buffer, begin, end, decayed }) => {
    const parts: Range[] = [];
    for (let b = begin; b < end; b += limit) {
      const n = Math.min(limit, end - b);
      parts.push({
        decayed,
        tensor: new Tensor([n], "f32", `parameters ${b} to ${b + n} of ${buffer.label}`, { storage: { buffer, offset: b * 4 } }),
      });
    }
    return parts;
  });
}
