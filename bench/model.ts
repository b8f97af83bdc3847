// Speed of whole models at named sizes: prefill and decode tokens a second, a training step, picture encoding and decoding, how fast weights
// reach the device, and memory; each with the share of the nearer ceiling. And how cost grows with tokens, width and batch.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import { type Chameleon, createChameleon, flops, weightBytes } from "../models/chameleon.ts";
import { Generator } from "../models/generate.ts";
import { fixedRules } from "../models/rules.ts";
import { createVqgan, flops as vqFlops } from "../models/vqgan.ts";
import { TrainStep } from "../train/step.ts";
import type { ChameleonConfig, VqConfig } from "../weights/names.ts";
import type { StoredAs } from "../weights/stored.ts";
import type { Ceilings } from "./ceilings.ts";
import { shareOf } from "./measure.ts";
import { digits, duration, markdownTable } from "./report.ts";
import { powerFit, type Summary, summarize } from "./statistics.ts";

/** A named size: the model, and the work it is measured at. */
export interface ModelSize {
  readonly name: string;
  readonly config: ChameleonConfig;
  readonly vq?: VqConfig;
  readonly prompt: number;
  readonly newTokens: number;
  /** Batch and tokens of a training step; none where moments and gradients would not fit. */
  readonly training?: { readonly batch: number; readonly T: number };
  readonly note: string;
}

const ids = { bosId: 0, padId: 1, eosId: 2, boiId: 5, eoiId: 6, imageTokenId: 7 };
const common = { rmsNormEps: 1e-5, ropeScaling: null, swinNorm: false, modelParallelSize: 1, tieWordEmbeddings: false, ...ids };

/** A configuration like Chameleon's at another size. */
export function configOf(s: {
  vocabSize: number;
  hidden: number;
  intermediate: number;
  layers: number;
  heads: number;
  positions: number;
}): ChameleonConfig {
  const { positions: maxPositions, ...sizes } = s;
  return { ...common, ...sizes, kvHeads: s.heads, headDim: s.hidden / s.heads, maxPositions, ropeTheta: 10000 };
}

export const modelSizes: readonly ModelSize[] = [
  {
    name: "tabletop",
    config: configOf({ vocabSize: 416, hidden: 64, intermediate: 160, layers: 4, heads: 2, positions: 256 }),
    vq: {
      embedDim: 16,
      codes: 48,
      latentChannels: 16,
      resolution: 48,
      inChannels: 3,
      outChannels: 3,
      baseChannels: 32,
      channelMultiplier: [1, 1, 1, 2, 3],
      resBlocks: 1,
      attnResolutions: [],
      doubleLatent: false,
    },
    prompt: 48,
    newTokens: 32,
    training: { batch: 32, T: 32 },
    note: "the size of the shipped base",
  },
  {
    name: "small",
    config: configOf({ vocabSize: 2048, hidden: 256, intermediate: 688, layers: 6, heads: 8, positions: 512 }),
    prompt: 128,
    newTokens: 16,
    training: { batch: 4, T: 128 },
    note: "7 million parameters",
  },
  {
    name: "7b-wide",
    config: configOf({ vocabSize: 8192, hidden: 4096, intermediate: 11008, layers: 1, heads: 32, positions: 1024 }),
    prompt: 32,
    newTokens: 4,
    note: "one of the 7B model's 32 layers and an eighth of its vocabulary",
  },
];

export interface ModelRow extends Summary {
  readonly size: string;
  readonly work: string;
  /** Units a second, at the median. */
  readonly rate: number;
  readonly unit: string;
  readonly gflops?: number;
  readonly share?: number;
  readonly bound?: string;
}

export interface ModelOptions {
  readonly as: StoredAs;
  readonly samples: number;
  readonly seconds: number;
}

/** Repeats some work until there are samples enough or time is up; the first run is not counted. Microseconds. */
async function timed(device: Device, o: ModelOptions, work: () => Promise<unknown>): Promise<number[]> {
  await work();
  await device.finish();
  const times: number[] = [];
  const begin = device.host.now();
  while (times.length < o.samples && (times.length < 2 || device.host.now() - begin < o.seconds * 1000)) {
    const t = device.host.now();
    await work();
    await device.finish();
    times.push((device.host.now() - t) * 1000);
  }
  return times;
}

/** Weights without meaning, made quickly: a block of normals repeated at the right scale. */
function filler(): (name: string, shape: readonly number[]) => Promise<Float32Array> {
  const block = new Rng(1, "filler").normals(1 << 16);
  return async (name, shape) => {
    const size = shape.reduce((a, b) => a * b, 1);
    if (shape.length === 1) return new Float32Array(size).fill(/weight$/.test(name) ? 1 : 0);
    const scale = 1 / Math.sqrt(shape[1]);
    const scaled = block.map((v) => v * scale);
    const out = new Float32Array(size);
    for (let at = 0; at < size; at += scaled.length) out.set(scaled.subarray(0, Math.min(scaled.length, size - at)), at);
    return out;
  };
}

/** Measures one size; `told` hears of each step of the work. */
export async function measureModel(
  device: Device,
  size: ModelSize,
  ceilings: Ceilings,
  o: ModelOptions,
  told: (text: string) => void,
): Promise<{ rows: ModelRow[]; memory: Record<string, number> }> {
  const rows: ModelRow[] = [];
  const put = (work: string, times: readonly number[], count: number, unit: string, cost: { flops?: number; bytes?: number } = {}) => {
    const summary = summarize(times);
    const gflops = cost.flops && cost.flops / summary.median / 1e3;
    rows.push({
      size: size.name,
      work,
      ...summary,
      rate: (count / summary.median) * 1e6,
      unit,
      gflops,
      ...shareOf(cost.flops, cost.bytes, summary.median, ceilings),
    });
  };
  told(`${size.name}: weights`);
  const bytes = weightBytes(size.config, o.as);
  const begin = device.host.now();
  const model = await createChameleon(device, size.config, filler(), { as: o.as });
  put(`weights to the device as ${o.as.dtype}`, [(device.host.now() - begin) * 1000], bytes / 1e9, "GB/s");
  told(`${size.name}: prefill and decode`);
  const { prefill, decode } = await generation(device, model, size, o);
  const P = size.prompt - 1;
  put(`prefill of ${P} tokens`, prefill, P, "tokens/s", { flops: flops(size.config, 1, P, 0) });
  // One row of the token table is read, not the table.
  const read = weightBytes({ ...size.config, tieWordEmbeddings: true }, o.as);
  put("decode of one sequence", decode, 1, "tokens/s", { flops: flops(size.config, 1, 1), bytes: read });
  if (size.training && o.as.dtype === "f32") {
    told(`${size.name}: training step`);
    const { batch, T } = size.training;
    const times = await trainingTimes(device, model, batch, T, o);
    put(`training step, ${batch} x ${T} tokens`, times, batch * T, "tokens/s", { flops: 3 * flops(size.config, batch, T) });
  }
  if (size.vq) {
    told(`${size.name}: pictures`);
    const { encode, decode: drawn } = await pictureTimes(device, size.vq, o);
    const cost = vqFlops(size.vq, size.vq.resolution, size.vq.resolution);
    put(`picture to codes, ${size.vq.resolution} x ${size.vq.resolution}`, encode, pictures, "pictures/s", {
      flops: pictures * cost.encode,
    });
    put("codes to picture", drawn, pictures, "pictures/s", { flops: pictures * cost.decode });
  }
  return { rows, memory: { ...device.memory() } as Record<string, number> };
}

/** Times of a prefill and of one more token: a call with few new tokens, and with many. */
async function generation(
  device: Device,
  model: Chameleon,
  size: Pick<ModelSize, "config" | "prompt" | "newTokens">,
  o: ModelOptions,
  prompts = 1,
): Promise<{ prefill: number[]; decode: number[] }> {
  const { config, prompt, newTokens } = size;
  const rules = fixedRules(new Uint8Array(config.vocabSize).fill(1));
  const heads = Array.from({ length: prompts }, (_, p) =>
    Uint32Array.from({ length: prompt }, (_, i) => 8 + ((i * 7 + p) % (config.vocabSize - 8))),
  );
  const times = async (count: number) => {
    const g = await Generator.make(device, model, { prompts, branches: 1, promptTokens: prompt, newTokens: count, rules });
    const all = await timed(device, o, () => g.run(heads, { temperature: 1, seed: 1 }));
    g.destroy();
    return all;
  };
  const short = await times(1);
  // The shortest times: a difference of two is blurred most by what else the machine does.
  const one = (Math.min(...(await times(1 + newTokens))) - Math.min(...short)) / newTokens;
  if (!(one > 0))
    throw new WorldlineError("bench model: more tokens took no more time; the machine is too busy to tell them apart, try again");
  return { prefill: short.map((t) => Math.max(1, t - one)), decode: [one] };
}

const trainingStep = (device: Device, model: Chameleon, batch: number, T: number): Promise<TrainStep> =>
  TrainStep.record(device, model, [{ T, scored: T }], {
    batch,
    accumulate: 1,
    learningRate: 1e-4,
    betas: [0.9, 0.98],
    epsilon: 1e-8,
    weightDecay: 0.1,
    clip: 1,
    divideBy: "weights",
    recompute: false,
  });

async function trainingTimes(device: Device, model: Chameleon, batch: number, T: number, o: ModelOptions): Promise<number[]> {
  const step = await trainingStep(device, model, batch, T);
  const R = batch * T;
  const line = Uint32Array.from({ length: R }, (_, i) => 8 + ((i * 13) % (model.config.vocabSize - 8)));
  const given = {
    ids: line,
    rows: Uint32Array.from(line.keys()),
    targets: line,
    weights: new Float32Array(R).fill(1),
    weight: R,
    counted: R,
    tokens: R,
    shape: { T, scored: T },
  };
  let n = 0;
  const times = await timed(device, o, () => step.run([given], { lr: 1e-4, step: ++n }));
  step.destroy();
  return times;
}

const pictures = 4;

async function pictureTimes(device: Device, vq: VqConfig, o: ModelOptions): Promise<{ encode: number[]; decode: number[] }> {
  const model = await createVqgan(device, vq, new Rng(1, "vq"));
  const { resolution: S, inChannels: C, channelMultiplier } = vq;
  const cells = S / 2 ** (channelMultiplier.length - 1);
  const tape = new Tape(device);
  tape.keep(model.quantise(model.encode(tape.input("x", [pictures, S, S, C]))).codes);
  const encode = await tape.plan();
  encode.write("x", new Rng(1, "pictures").normals(pictures * S * S * C));
  const back = new Tape(device);
  back.keep(model.decodeCodes(back.input("codes", [pictures, cells, cells], "u32")));
  const decode = await back.plan();
  decode.write(
    "codes",
    Uint32Array.from({ length: pictures * cells * cells }, (_, i) => i % vq.codes),
  );
  const times = async (plan: typeof encode) => timed(device, o, async () => void plan.run());
  const found = { encode: await times(encode), decode: await times(decode) };
  encode.destroy();
  decode.destroy();
  return found;
}

/** Rows as lines. */
export function modelLines(rows: readonly ModelRow[]): string[] {
  return rows.map((r) => {
    const share = r.share === undefined ? "" : `${Math.round(r.share * 100)}% ${r.bound}`;
    const spread = Number.isFinite(r.spread) ? `+-${Math.round(r.spread * 100)}%` : "";
    return `${r.size.padEnd(10)} ${r.work.padEnd(34)} ${digits(r.rate).padStart(8)} ${r.unit.padEnd(11)} ${duration(r.median).padStart(9)} ${spread.padStart(6)} ${(r.gflops ? digits(r.gflops) : "").padStart(7)} ${share}`.trimEnd();
  });
}

export const modelHead = `${"size".padEnd(10)} ${"work".padEnd(34)} ${"rate".padStart(8)} ${"".padEnd(11)} ${"median".padStart(9)} ${"".padStart(6)} ${"GFLOP/s".padStart(7)} share`;

/** How one cost grows along one axis. */
export interface Growth {
  readonly work: string;
  readonly axis: string;
  readonly at: readonly number[];
  /** Microseconds, or bytes of memory. */
  readonly cost: readonly number[];
  readonly unit: "us" | "bytes";
  /** Of cost = factor x^exponent, fitted over the upper half of the axis, where fixed costs matter less; and its standard error. */
  readonly exponent: number;
  readonly error: number;
}

export type Axis = "tokens" | "width" | "batch";
export const growthAxes: Readonly<Record<Axis, readonly number[]>> = {
  tokens: [32, 64, 128, 256, 512],
  width: [64, 128, 256, 512],
  batch: [1, 2, 4, 8, 16],
};

/** The sizes at one place of an axis: the axis' own number, the others as they are everywhere else. */
function sizesAt(axis: Axis, n: number): { config: ChameleonConfig; T: number; batch: number } {
  const [tokens, width, batch] = (["tokens", "width", "batch"] as const).map((a, i) => (a === axis ? n : [64, 128, 2][i]));
  const config = configOf({ vocabSize: 512, hidden: width, intermediate: width * 2, layers: 2, heads: 4, positions: 1024 });
  return { config, T: tokens, batch };
}

function growth(work: string, axis: Axis, at: readonly number[], cost: readonly number[], unit: Growth["unit"]): Growth {
  const from = Math.min(Math.floor(at.length / 2), at.length - 3);
  const { exponent, error } = powerFit(at.slice(from), cost.slice(from));
  return { work, axis, at, cost, unit, exponent, error };
}

/** Times of training step, prefill and decode, and memory, over tokens, width and batch. */
export async function* measureGrowth(device: Device, o: ModelOptions, told: (text: string) => void): AsyncGenerator<Growth> {
  const median = (times: readonly number[]) => summarize(times).median;
  for (const [axis, at] of Object.entries(growthAxes) as [Axis, number[]][]) {
    const costs: Record<string, number[]> = { "training step": [], prefill: [], decode: [] };
    for (const n of at) {
      told(`${axis} ${n}`);
      const { config, T, batch } = sizesAt(axis, n);
      const model = await createChameleon(device, config, filler());
      const { prefill, decode } = await generation(device, model, { config, prompt: T + 1, newTokens: 8 }, o, batch);
      costs.prefill.push(median(prefill));
      costs.decode.push(median(decode));
      costs["training step"].push(median(await trainingTimes(device, model, batch, T, o)));
    }
    for (const [work, cost] of Object.entries(costs)) yield growth(work, axis, at, cost, "us");
    yield* await memoryGrowth(device, axis, at);
  }
}

/**
 * Memory along one axis, in bytes, by what it is for: nothing runs, so the numbers are exact. A training step at batch x T tokens; a
 * generation of as many sequences with T tokens each, eight of them new.
 */
export async function memoryGrowth(device: Device, axis: Axis, at: readonly number[]): Promise<Growth[]> {
  const rows: Record<string, number>[] = [];
  for (const n of at) {
    const { config, T, batch } = sizesAt(axis, n);
    const first = device.memory();
    const model = await createChameleon(device, config, filler());
    const made = device.memory();
    const step = await trainingStep(device, model, batch, T);
    const trained = device.memory();
    step.destroy();
    const freed = device.memory();
    const rules = fixedRules(new Uint8Array(config.vocabSize).fill(1));
    const g = await Generator.make(device, model, { prompts: batch, branches: 1, promptTokens: T - 8, newTokens: 8, rules });
    const generated = device.memory();
    g.destroy();
    const more = (from: typeof first, to: typeof first, ...kinds: (keyof typeof first)[]) =>
      kinds.reduce((sum, k) => sum + (to[k] ?? 0) - (from[k] ?? 0), 0);
    rows.push({
      weights: more(first, made, "weights"),
      "gradients and moments": more(made, trained, "gradients", "moments"),
      "activations in training": more(made, trained, "activations"),
      "activations in generation": more(freed, generated, "activations"),
      "key-value cache": more(freed, generated, "cache"),
    });
  }
  const works = Object.keys(rows[0]);
  return works.map((work) =>
    growth(
      work,
      axis,
      at,
      rows.map((r) => r[work]),
      "bytes",
    ),
  );
}

/** Growths as a markdown table, one row a cost, one column a place on the axis. */
export function growthTable(all: readonly Growth[]): string[] {
  const cost = (g: Growth) => g.cost.map((c) => (g.unit === "us" ? duration(c) : `${digits(c / 2 ** 20)} MiB`));
  const axes = [...new Set(all.map((g) => g.axis))];
  return axes.flatMap((axis) => {
    const rows = all.filter((g) => g.axis === axis);
    const fit = (g: Growth) => `${g.exponent.toFixed(2)} +- ${g.error.toFixed(2)}`;
    return [
      "",
      ...markdownTable(
        [axis, ...rows[0].at.map(String), "exponent"],
        rows.map((g) => [g.work, ...cost(g), fit(g)]),
      ),
    ];
  });
}
