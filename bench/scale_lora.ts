// LoRA steps of a model as wide as Chameleon-7B (hidden 4096, 32 heads, MLP 11008, vocabulary 65,536), two layers deep, and what `worldline plan` said of them:
// bytes by kind against what the device really holds, for a triplet of 2,100 tokens and for the short one that is then trained.
//   npm run scale:train -- [--dtype int4] [--tokens 64] [--steps 2]
// Cost on two shared cores: about 3 GiB of memory for int4; the minutes it takes are printed and noted in docs/log.md.
import { parseArgs } from "node:util";
import { nodeHost } from "../engine/host_node.ts";
import { setTrainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import { createChameleon } from "../models/chameleon.ts";
import { createAdapter, withAdapter } from "../models/lora.ts";
import { collate, type Example } from "../train/data.ts";
import { type Bytes, type EstimateOptions, trainingFlops, trainingMemory } from "../train/estimate.ts";
import { defaultTraining } from "../train/loop.ts";
import { TrainStep } from "../train/step.ts";
import { defaultLora } from "../weights/adapter.ts";
import { parseConfig } from "../weights/names.ts";
import type { StoredAs } from "../weights/stored.ts";

const { values: flags } = parseArgs({
  options: {
    dtype: { type: "string", default: "int4" },
    tokens: { type: "string", default: "64" },
    steps: { type: "string", default: "2" },
    layers: { type: "string", default: "2" },
  },
});
const say = (text: string) => console.log(text);
const gib = (n: number) => `${(n / 2 ** 30).toFixed(4)} GiB`;
const sum = (b: Bytes) => Object.values(b).reduce((a, n) => a + n, 0);

const device = await openDevice();
say(device.describe());
const config = { ...parseConfig({}), layers: Number(flags.layers) };
const as = { dtype: flags.dtype, groupSize: 64 } as StoredAs;
const short = { T: Number(flags.tokens), scored: Math.ceil(Number(flags.tokens) / 2) };
const step = { ...defaultTraining, batch: 1, recompute: true, learningRate: 1e-3 };
const { features, lanes } = device.capabilities;
const { maxStorageBufferBindingSize: bindingBytes, maxBufferSize: bufferBytes } = device.raw.limits;
const limits = { features: [...features], lanes, bindingBytes, bufferBytes };
const planned = (shape: { T: number; scored: number }) => {
  const o: EstimateOptions = { config, as, lora: defaultLora, shapes: [shape], step };
  return trainingMemory(nodeHost, o, limits);
};

// One stretch of normal numbers, at another place for each tensor: random enough to train on, and quick to make.
const noise = new Rng(1, "scale").normals(1 << 20);
const begin = performance.now();
const base = await createChameleon(
  device,
  config,
  (name, shape) => {
    const size = shape.reduce((a, b) => a * b, 1);
    const data = new Float32Array(size);
    if (name.endsWith("norm.weight")) return Promise.resolve(data.fill(1));
    if (name.endsWith("bias")) return Promise.resolve(data);
    for (let at = 0; at < size; at += noise.length) data.set(noise.subarray(0, Math.min(noise.length, size - at)), at);
    const spread = name.includes("embed") ? 1 : 1 / Math.sqrt(shape[1]);
    for (let i = 0; i < size; i++) data[i] *= spread;
    return Promise.resolve(data);
  },
  { as },
);
const model = withAdapter(base, await createAdapter(device, config, defaultLora, new Rng(1, "adapter")));
setTrainable(model, /\.lora_[AB]\./);
say(`weights and adapter on the device: ${((performance.now() - begin) / 1000).toFixed(1)} s`);

const triplet = { T: 2100, scored: 1024 };
for (const shape of [triplet, short]) {
  const want = await planned(shape);
  const made = await TrainStep.record(device, model, [shape], step);
  const got = device.memory();
  const off = Math.max(
    ...Object.keys({ ...want, ...got }).map((k) => Math.abs((got[k as keyof Bytes] ?? 0) - (want[k as keyof Bytes] ?? 0))),
  );
  say(
    `\n1 x ${shape.T} tokens: planned ${gib(sum(want))}, held ${gib(sum(got))} (${((100 * sum(got)) / sum(want) - 100).toFixed(2)}%), largest difference of a kind ${off} bytes`,
  );
  for (const kind of Object.keys(got) as (keyof Bytes)[])
    say(`  ${kind.padEnd(12)} planned ${gib(want[kind] ?? 0)}  held ${gib(got[kind] ?? 0)}`);
  if (Math.abs(sum(got) / sum(want) - 1) > 0.05) throw new Error("the plan is off by more than 5%");
  if (shape === short) await steps(made);
  made.destroy();
}

async function steps(made: TrainStep): Promise<void> {
  const rng = new Rng(2, "tokens");
  const example: Example = {
    ids: Uint32Array.from({ length: short.T }, (_, i) => (i ? 4 + rng.int(8192) : 0)),
    weights: Float32Array.from({ length: short.T }, (_, i) => (i >= short.T - short.scored ? 1 : 0)),
  };
  const batch = collate([example], short, config.padId);
  const flops = trainingFlops(config, 1, short, { lora: defaultLora, recompute: true }).total;
  const losses: number[] = [];
  for (let i = 0; i < Number(flags.steps); i++) {
    const start = performance.now();
    const { loss, norm } = await made.run([batch], { lr: 1e-3, step: i + 1 });
    const seconds = (performance.now() - start) / 1000;
    losses.push(loss);
    say(
      `step ${i + 1}: loss ${loss.toFixed(4)}, gradient ${norm.toFixed(3)}, ${seconds.toFixed(1)} s, ${(flops / seconds / 1e9).toFixed(1)} GFLOP/s`,
    );
  }
  if (!losses.every(Number.isFinite)) throw new Error("a loss is no number");
  if (losses.length > 1 && !(losses[losses.length - 1] < losses[0])) throw new Error("the loss did not fall");
}
say(`\npeak memory of the process ${(process.resourceUsage().maxRSS / 2 ** 20).toFixed(2)} GiB`);
process.exit();
