// Trains the picture tokenizer: reconstruction first without the codebook, then a k-means start, then with it: mean squared error of the pixels,
// commitment |z - sg(e)|^2, codebook |sg(z) - e|^2, straight-through gradient, and codes that nothing uses put onto fresh features. Beside them a
// contrast between the features of a batch: those that show the same thing are to be alike, all others not (InfoNCE, arXiv 1807.03748).
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { parameters, setTrainable } from "../engine/module.ts";
import { add, scale } from "../engine/ops/elementwise.ts";
import { gatherRows } from "../engine/ops/embedding.ts";
import { crossEntropy, weightedSum } from "../engine/ops/loss.ts";
import { matmul } from "../engine/ops/matmul.ts";
import { rmsnorm } from "../engine/ops/norm.ts";
import { mse, quantize } from "../engine/ops/quantize.ts";
import { adamw, forgetTraining } from "../engine/optim.ts";
import type { Plan } from "../engine/plan.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { VQGAN } from "../models/vqgan.ts";
import type { Store } from "./loop.ts";
import { rateAt, type Schedule } from "./schedule.ts";

export interface VqganTraining {
  readonly batch: number;
  /** Without the codebook, then with it. The rate falls at the end of each: features that still move fast lose their codes. */
  readonly plain: Schedule;
  readonly quantized: Schedule;
  readonly commitment: number;
  /** Weight of the squared distance between features of cells that show the same thing. */
  readonly consistency: number;
  /** Weight of the contrast: cross-entropy of finding, by cosine / temperature, a cell that shows the same thing among all that show another. */
  readonly contrast: number;
  readonly temperature: number;
  /** Deviation of noise on the features before the codebook is in use: it sets their scale. */
  readonly noise: number;
  readonly betas: readonly [number, number];
  readonly clip: number;
  readonly seed: number;
  readonly logEvery: number;
  /** Steps between searches for unused codes; the last third of the quantised steps makes none. */
  readonly reviveEvery: number;
  readonly saveEvery: number;
}

export interface VqganRecord {
  readonly step: number;
  /** Mean squared pixel error, pixels in -1 ... 1. */
  readonly reconstruction: number;
  /** Codes used since the record before; 0 before the codebook is in use. */
  readonly used: number;
  readonly seconds: number;
}

/** Pictures (B, h, w, 3) in -1 ... 1, and for every code of the batch the number of what it shows, negative where that is nothing. */
export interface VqganBatch {
  readonly pixels: Float32Array;
  readonly shows: Int32Array;
}

interface StepPlan {
  readonly plan: Plan;
  readonly reconstruction: Tensor;
  readonly z: Tensor;
  readonly codes?: Tensor;
}

export interface VqganHooks {
  readonly onLog?: (r: VqganRecord) => void;
  readonly signal?: AbortSignal;
  /** Where training state is kept: the codes seen since the last search for unused ones go with it, so a resumed run ends with the same bits. */
  readonly store?: Store<VqganRecord, readonly number[]>;
}

/** Trains on the batches that `pictures(step)` makes; returns the log, or undefined where the signal stopped it (state is kept). */
export async function trainVqgan(
  device: Device,
  vqgan: VQGAN,
  size: { width: number; height: number },
  pictures: (step: number) => VqganBatch,
  o: VqganTraining,
  { onLog, signal, store }: VqganHooks = {},
): Promise<VqganRecord[] | undefined> {
  setTrainable(vqgan, true);
  forgetTraining(device, parameters(vqgan));
  const resumed = await store?.load();
  const log = [...(resumed?.log ?? [])];
  const used = new Set<number>(resumed?.extra ?? []);
  const begin = resumed?.step ?? 0;
  const steps = o.plain.steps + o.quantized.steps;
  if (begin >= steps) return log;
  let step = await record(device, vqgan, size, o, begin > o.plain.steps);
  let since = device.host.now();
  for (let i = begin; i < steps; i++) {
    const late = i - o.plain.steps;
    if (late === 0) {
      await startCodebook(device, vqgan, step, pictures, new Rng(o.seed, "vqgan codebook"));
      step.plan.destroy();
      step = await record(device, vqgan, size, o, true);
    }
    feed(step, pictures(i), new Rng(o.seed, `vqgan step ${i}`), o)
      .set("lr", late < 0 ? rateAt(o.plain, i) : rateAt(o.quantized, late))
      .set("step", i + 1)
      .run();
    if (step.codes && i % 4 === 0) for (const c of (await step.plan.read(step.codes))[0]) used.add(c);
    const searching = late >= 0 && (late + 1) % o.reviveEvery === 0;
    if (searching && late < (o.quantized.steps * 2) / 3) await revive(device, vqgan, step, used, new Rng(o.seed, `vqgan revival ${i}`));
    if ((i + 1) % o.logEvery === 0 || i + 1 === steps) {
      const reconstruction = await step.plan.readNumber(step.reconstruction);
      if (!Number.isFinite(reconstruction))
        throw new WorldlineError(`the picture tokenizer's loss became ${reconstruction} at step ${i + 1}; lower the learning rate`);
      const r = { step: i + 1, reconstruction, used: used.size, seconds: (device.host.now() - since) / 1000 };
      log.push(r);
      onLog?.(r);
      since = device.host.now();
    }
    if (searching) used.clear();
    const stop = signal?.aborted ?? false;
    if (stop || (i + 1) % o.saveEvery === 0 || i + 1 === steps) await store?.save({ step: i + 1, log, extra: [...used] });
    if (stop && i + 1 < steps) {
      step.plan.destroy();
      return undefined;
    }
  }
  step.plan.destroy();
  return log;
}

async function record(
  device: Device,
  vqgan: VQGAN,
  size: { width: number; height: number },
  o: VqganTraining,
  quantized: boolean,
): Promise<StepPlan> {
  const tape = new Tape(device, { training: true });
  const x = tape.input("pixels", [o.batch, size.height, size.width, 3]);
  const z = vqgan.encode(x);
  tape.keep(z);
  const dim = z.shape[z.shape.length - 1];
  const rows = z.reshape(z.size / dim, dim);
  let decoded: Tensor;
  const terms: [Tensor, number][] = [];
  const partners = tape.input("partners", [rows.shape[0]], "u32");
  terms.push(
    [mse(rows, gatherRows(rows, partners), { stopTarget: true }), o.consistency],
    [contrast(rows, partners, o.temperature), o.contrast],
  );
  let codes: Tensor | undefined;
  if (quantized) {
    const book = tape.bring(vqgan.quantize.embedding.weight);
    const q = quantize(rows, book);
    codes = tape.keep(q.codes);
    const e = gatherRows(book, codes);
    terms.push([mse(rows, e, { stopTarget: true }), o.commitment], [mse(e, rows, { stopTarget: true }), 1]);
    decoded = vqgan.decode(q.quantized.reshape(...z.shape));
  } else decoded = vqgan.decode(add(z, tape.input("noise", z.shape)));
  const reconstruction = tape.keep(mse(decoded, x));
  tape.backward(weightedSum([[reconstruction, 1], ...terms]));
  const options = {
    lr: tape.scalar("lr", 0),
    step: tape.scalar("step", 1),
    betas: [...o.betas] as [number, number],
    eps: 1e-8,
    weightDecay: 0,
    clip: o.clip,
  };
  adamw(tape, parameters(vqgan), options);
  return { plan: await tape.plan(), reconstruction, z, codes };
}

/**
 * The contrast (1) of features: rows (n, dim), the partner of each as u32 (n). The tape gets the inputs "alike" (n, n), very negative where a pair is none
 * to tell apart, and "counts" (n), the weight of each row.
 */
export function contrast(rows: Tensor, partners: Tensor, temperature: number): Tensor {
  const { tape, shape } = rows;
  const [n, dim] = shape;
  const ones = tape.device.tensor([dim], { name: "ones", data: new Float32Array(dim).fill(1) });
  const h = rmsnorm(rows, ones);
  const cosine = scale(matmul(h, h, { transposeB: true, name: "cosine" }), 1 / (dim * temperature));
  return crossEntropy(add(cosine, tape.input("alike", [n, n])), partners, tape.input("counts", [n]), { denominator: "weights" }).loss;
}

/** A cell that shows nothing counts a tenth: most of a table is bare. */
const BARE = 0.1;

/** What `contrast` needs of codes that show these things, `cells` of them in a picture: each row's partner, drawn from those that show the same, of another picture where there is one; its own where nothing does. */
export function contrastOf(
  shows: Int32Array,
  cells: number,
  rng: Rng,
): { partners: Uint32Array; alike: Float32Array; counts: Float32Array } {
  const n = shows.length;
  const partners = Uint32Array.from({ length: n }, (_, i) => i);
  const alike = new Float32Array(n * n);
  const counts = new Float32Array(n);
  const picture = (i: number) => Math.floor(i / cells);
  for (let i = 0; i < n; i++) {
    let best = 0;
    for (let j = 0; j < n; j++) {
      if (shows[i] !== shows[j]) continue;
      alike[i * n + j] = -1e9;
      if (i === j) continue;
      const draw = 1 + rng.uniform() + (picture(i) === picture(j) ? 0 : 1);
      if (draw > best) [partners[i], best] = [j, draw];
    }
    alike[i * n + partners[i]] = 0;
    if (best) counts[i] = shows[i] < 0 ? BARE : 1;
  }
  return { partners, alike, counts };
}

/** Fills the inputs of a step; without options the features get no noise. */
function feed(step: StepPlan, batch: VqganBatch, rng: Rng, o?: VqganTraining): Plan {
  const { partners, alike, counts } = contrastOf(batch.shows, step.z.shape[1] * step.z.shape[2], rng);
  step.plan.write("pixels", batch.pixels).write("partners", partners).write("alike", alike).write("counts", counts);
  return step.codes ? step.plan : step.plan.write("noise", rng.normals(step.z.size, o?.noise ?? 0));
}

/** Sets the codebook to k-means centres of features without noise, at least 24 for every code. */
async function startCodebook(
  device: Device,
  vqgan: VQGAN,
  step: StepPlan,
  pictures: (step: number) => VqganBatch,
  rng: Rng,
): Promise<void> {
  const { codes, embedDim } = vqgan.config;
  const all: Float32Array[] = [];
  for (let i = 0; i * step.z.size < 24 * codes * embedDim; i++) {
    feed(step, pictures(-1 - i), rng)
      .set("lr", 0)
      .run();
    all.push((await step.plan.read(step.z))[0] as Float32Array);
  }
  const points = new Float32Array(all.reduce((a, p) => a + p.length, 0));
  let at = 0;
  for (const p of all) {
    points.set(p, at);
    at += p.length;
  }
  device.write(vqgan.quantize.embedding.weight, kMeans(points, embedDim, codes, 25, rng));
}

/** Lloyd's algorithm from a k-means++ start. points (n, dim) -> centres (k, dim). */
export function kMeans(points: Float32Array, dim: number, k: number, rounds: number, rng: Rng): Float32Array {
  const n = points.length / dim;
  const centres = new Float32Array(k * dim);
  const nearest = new Float64Array(n).fill(Number.POSITIVE_INFINITY);
  const distance = (i: number, c: number) => {
    let s = 0;
    for (let d = 0; d < dim; d++) s += (points[i * dim + d] - centres[c * dim + d]) ** 2;
    return s;
  };
  for (let c = 0; c < k; c++) {
    let pick = rng.int(n);
    if (c > 0) {
      let r = rng.uniform() * nearest.reduce((a, v) => a + v, 0);
      pick = -1;
      do r -= nearest[++pick];
      while (r > 0 && pick < n - 1);
    }
    centres.set(points.subarray(pick * dim, (pick + 1) * dim), c * dim);
    for (let i = 0; i < n; i++) nearest[i] = Math.min(nearest[i], distance(i, c));
  }
  for (let round = 0; round < rounds; round++) {
    const sums = new Float64Array(k * dim);
    const counts = new Uint32Array(k);
    for (let i = 0; i < n; i++) {
      let best = 0;
      let least = Number.POSITIVE_INFINITY;
      for (let c = 0; c < k; c++) {
        const s = distance(i, c);
        if (s < least) [least, best] = [s, c];
      }
      counts[best]++;
      for (let d = 0; d < dim; d++) sums[best * dim + d] += points[i * dim + d];
    }
    for (let c = 0; c < k; c++) {
      if (counts[c]) for (let d = 0; d < dim; d++) centres[c * dim + d] = sums[c * dim + d] / counts[c];
    }
  }
  return centres;
}

/** Puts unused codes onto features of the last batch, drawn by their squared distance from the nearest code in use. */
async function revive(device: Device, vqgan: VQGAN, step: StepPlan, used: ReadonlySet<number>, rng: Rng): Promise<void> {
  const { codes, embedDim } = vqgan.config;
  if (used.size === codes) return;
  const [z] = await step.plan.read(step.z);
  const [book] = (await device.read(vqgan.quantize.embedding.weight)) as Float32Array[];
  const nearest = new Float64Array(z.length / embedDim).fill(Number.POSITIVE_INFINITY);
  const closer = (c: number) =>
    nearest.forEach((least, i) => {
      let s = 0;
      for (let d = 0; d < embedDim; d++) s += (z[i * embedDim + d] - book[c * embedDim + d]) ** 2;
      nearest[i] = Math.min(least, s);
    });
  for (const c of used) closer(c);
  for (let c = 0; c < codes; c++) {
    if (used.has(c)) continue;
    let r = rng.uniform() * nearest.reduce((a, v) => a + v, 0);
    let from = 0;
    while (from < nearest.length - 1 && r >= nearest[from]) r -= nearest[from++];
    book.set(z.subarray(from * embedDim, (from + 1) * embedDim) as Float32Array, c * embedDim);
    closer(c);
  }
  device.write(vqgan.quantize.embedding.weight, book);
}
