// The part of the browser test that runs in the page: opens a device as a web page would, runs checks on it and trains a small model.
import { runCheck } from "../bench/check.ts";
import { configOf } from "../bench/model.ts";
import { Device } from "../engine/device.ts";
import { describe, NoAdapterError } from "../engine/host.ts";
import { browserHost, openGPU } from "../engine/host_browser.ts";
import { Rng } from "../engine/rng.ts";
import type { Check } from "../kernels/kernel.ts";
import { createChameleon } from "../models/chameleon.ts";
import { TrainStep } from "../train/step.ts";

export interface Opened {
  readonly adapter: string;
  readonly features: readonly string[];
}

export interface Asked {
  /** Addresses of check files. */
  readonly files: readonly string[];
  /** Only the first cases of each check. */
  readonly cases?: number;
  /** Multiplies the references, so that a test sees what a wrong result looks like. */
  readonly scale?: number;
}

export interface Checked {
  readonly passed: number;
  readonly worst: number;
  readonly failures: readonly string[];
  /** Variants that no case could use on this adapter, as kernel:variant. */
  readonly skipped: readonly string[];
}

let device: Device | undefined;

/** Opens the device that all later calls use. */
export async function open(): Promise<Opened | { missing: string }> {
  try {
    const { gpu, adapter } = await openGPU();
    device = await Device.open({ host: browserHost, gpu, adapter });
    const features = [...device.capabilities.features].filter((f) => ["shader-f16", "subgroups", "timestamp-query"].includes(f));
    return { adapter: describe(adapter.info), features };
  } catch (cause) {
    if (cause instanceof NoAdapterError) return { missing: cause.message };
    throw cause;
  }
}

function theDevice(): Device {
  if (!device) throw new Error("open() was not called");
  return device;
}

/** Losses of six training steps of a small model from a seed, on the given device or the page's. */
export async function train(on?: Device | null): Promise<number[]> {
  const config = configOf({ vocabSize: 40, hidden: 32, intermediate: 48, layers: 2, heads: 2, positions: 16 });
  const model = await createChameleon(on ?? theDevice(), config, async (name, shape) => {
    const data = new Rng(3, name).normals(shape.reduce((a, b) => a * b, 1));
    return shape.length === 1 ? data.fill(/weight$/.test(name) ? 1 : 0) : data.map((v) => v / Math.sqrt(shape[1]));
  });
  const [batch, shape] = [2, { T: 12, scored: 12 }];
  const o = { batch, accumulate: 1, learningRate: 1e-2, betas: [0.9, 0.98], epsilon: 1e-8, weightDecay: 0.1, clip: 1 } as const;
  const step = await TrainStep.record(on ?? theDevice(), model, [shape], { ...o, divideBy: "weights", recompute: false });
  const R = batch * shape.T;
  const ids = Uint32Array.from({ length: R }, (_, i) => 8 + ((i * 13) % 32));
  const rows = Uint32Array.from(ids.keys());
  const given = { ids, rows, targets: ids, weights: new Float32Array(R).fill(1), weight: R, counted: R, tokens: R, shape };
  const losses: number[] = [];
  for (let n = 1; n <= 6; n++) losses.push((await step.run([given], { lr: 1e-2, step: n })).loss);
  return losses;
}

/** Runs every case and variant of the check files. */
export async function check({ files, cases, scale = 1 }: Asked): Promise<Checked> {
  const all: Checked[] = [];
  for (const file of files) {
    const module = (await import(file)) as { default: Check | Check[] };
    for (const one of [module.default].flat()) {
      const reference: Check["reference"] = (c, values) =>
        Object.fromEntries(
          Object.entries(one.reference(c, values)).map(([name, want]) => [name, scale === 1 ? want : want.map((v) => v * scale)]),
        );
      const v = await runCheck(theDevice(), { name: one.kernel.name, check: { ...one, reference, cases: one.cases.slice(0, cases) } });
      all.push({ ...v, skipped: v.skipped.map((name) => `${v.name}:${name}`) });
    }
  }
  return {
    passed: all.reduce((a, v) => a + v.passed, 0),
    worst: Math.max(0, ...all.map((v) => v.worst)),
    failures: all.flatMap((v) => v.failures),
    skipped: all.flatMap((v) => v.skipped),
  };
}
