// What `worldline plan` says: the memory that the same run really takes, byte for byte and by kind, on the adapter that runs the tests; the operations
// of the products that a step really launches; and that the paper's world model fits 16 GiB.
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { nodeHost } from "../engine/host_node.ts";
import { setTrainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import { type Chameleon, createChameleon } from "../models/chameleon.ts";
import { createAdapter, withAdapter } from "../models/lora.ts";
import { type EstimateOptions, trainingFlops, trainingMemory } from "../train/estimate.ts";
import { defaultTraining } from "../train/loop.ts";
import { TrainStep } from "../train/step.ts";
import { defaultLora } from "../weights/adapter.ts";
import { tinyConfig } from "./tiny_model.ts";

const config = tinyConfig({ hidden: 64, intermediate: 96, heads: 2, kvHeads: 1, layers: 3, vocabSize: 320 });
const shapes = [
  { T: 24, scored: 9 },
  { T: 40, scored: 12 },
];

/** The run itself: its bytes by kind, and the products of its largest plan. */
async function really(o: EstimateOptions): Promise<{ bytes: Record<string, number>; products: number; limits: object }> {
  const device = await openDevice();
  const base = await createChameleon(device, o.config, new Rng(1, "model"), { as: o.as });
  let model: Chameleon = base;
  if (o.lora) {
    model = withAdapter(base, await createAdapter(device, o.config, o.lora, new Rng(1, "adapter")));
    setTrainable(model, /\.lora_[AB]\./);
  }
  const step = await TrainStep.record(device, model, o.shapes, o.step);
  const bytes = { ...device.memory() } as Record<string, number>;
  const products = [...step.print().matchAll(/ M=(\d+) N=(\d+) K=(\d+) /g)].reduce((a, [, M, N, K]) => a + 2 * +M * +N * +K, 0);
  const { features, lanes } = device.capabilities;
  const { maxStorageBufferBindingSize: bindingBytes, maxBufferSize: bufferBytes } = device.raw.limits;
  step.destroy();
  device.destroy();
  return { bytes, products, limits: { features: [...features], lanes, bindingBytes, bufferBytes } };
}

const step = { ...defaultTraining, batch: 2 };
const cases: [name: string, o: Omit<EstimateOptions, "config" | "shapes">][] = [
  ["all trained, f32", { as: { dtype: "f32", groupSize: 64 }, step }],
  ["all trained, recompute, accumulation", { as: { dtype: "f32", groupSize: 64 }, step: { ...step, recompute: true, accumulate: 3 } }],
  [
    "LoRA on int4, recompute",
    { as: { dtype: "int4", groupSize: 32 }, lora: { ...defaultLora, rank: 4 }, step: { ...step, recompute: true } },
  ],
  [
    "LoRA on bf16, two layers' names, accumulation",
    { as: { dtype: "bf16", groupSize: 64 }, lora: { ...defaultLora, target: ["q_proj", "v_proj"] }, step: { ...step, accumulate: 2 } },
  ],
];

for (const [name, o] of cases)
  test(`the plan's memory is what the run takes: ${name}`, async () => {
    const all = { config, shapes, ...o };
    const { bytes, limits } = await really(all);
    const planned = await trainingMemory(nodeHost, all, limits);
    assert.equal(planned, bytes);
    assert.ok(bytes.activations > 0 && bytes.gradients > 0 && bytes.moments === 2 * bytes.gradients);
  });

test("the plan's operations are those of the products that are launched", async () => {
  const shape = shapes[1];
  const attention = (c: typeof config, passes: number) => step.batch * passes * 4 * shape.T ** 2 * c.heads * c.headDim * c.layers;
  const o = { config, shapes: [shape], as: { dtype: "f32", groupSize: 64 } as const, step };
  const whole = await really(o);
  const said = trainingFlops(config, step.batch, shape, { recompute: false });
  assert.is(said.total - attention(config, 3), whole.products);
  const lora = { ...defaultLora, rank: 4 };
  const adapted = await really({ ...o, lora });
  const saidLora = trainingFlops(config, step.batch, shape, { lora, recompute: false });
  // Nothing flows back through the first block's queries, keys and values to the frozen embedding.
  const { hidden: H, heads, kvHeads, headDim } = config;
  const unneeded = step.batch * shape.T * 2 * (H + lora.rank) * (heads + 2 * kvHeads) * headDim;
  const missing = saidLora.total - attention(config, 3) - adapted.products;
  assert.ok(missing >= 0 && missing <= unneeded + step.batch * shape.T * 6 * lora.rank * H, `${missing} of at most ${unneeded}`);
});

test("the command: 7B, int4 base, one triplet of 2,100 tokens, recompute on, fits 16 GiB; without recompute it says more", () => {
  const root = fileURLToPath(new URL("../", import.meta.url));
  const flags = ["--preset", "paper-cwm", "--model", "7b", "--batch", "1", "--dtype", "int4", "--recompute", "--json"];
  const run = spawnSync(process.execPath, ["--import", "tsx", "cli/main.ts", "plan", ...flags], { cwd: root, encoding: "utf8" });
  assert.is(run.status, 0, run.stderr);
  const said = JSON.parse(run.stdout) as { memory: Record<string, number>; held: Record<string, number>; flops: { total: number } };
  const sum = (b: Record<string, number>) => Object.values(b).reduce((a, n) => a + n, 0) / 2 ** 30;
  assert.ok(sum(said.memory) < 16 && sum(said.memory) > 4, `${sum(said.memory)} GiB`);
  assert.ok(sum(said.held) > 16, `${sum(said.held)} GiB`);
  // 39.98 million LoRA parameters: gradients and both moments in f32.
  const pairs = 32 * 16 * (4 * (4096 + 4096) + 3 * (4096 + 11008));
  assert.ok(Math.abs(said.memory.gradients / (4 * pairs) - 1) < 0.001);
  assert.ok(said.flops.total > 60e12 && said.flops.total < 120e12);
});

test.run();
