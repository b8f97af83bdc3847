// Recomputing blocks: the same bits as without, for full training and for LoRA with dropout, in less memory; and accumulation with dropout and LoRA
// against one large batch.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parameters, setTrainable, trainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { attention, dot, linear, rmsnorm, scale, sum, swiglu } from "../engine/ops/index.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { type Chameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import { type Adapter, createAdapter, withAdapter } from "../models/lora.ts";
import { type Example, shapeFor } from "../train/data.ts";
import { defaultTraining, type TrainOptions, train } from "../train/loop.ts";
import type { ExampleSource } from "../train/order.ts";
import { defaultLora } from "../weights/adapter.ts";
import { randomExamples, tinyConfig, tinyModel } from "./tiny_model.ts";

const device = await openDevice();
const T = 20;

/** Loss and every gradient of one run, and the bytes of its activations. */
async function gradients(model: Chameleon, recompute: boolean) {
  const tape = new Tape(device, { training: true });
  const { ids, positions } = sequenceInputs(tape, 2, T);
  const [targets, weights] = [tape.input("targets", [2 * T], "u32"), tape.input("weights", [2 * T])];
  const hidden = model.forward(ids, positions, ropeFor(device, model.config, T), selfAttention(), { recompute });
  const { loss } = model.loss(hidden, undefined, targets, weights, { denominator: "weights" });
  tape.backward(loss);
  const plan = await tape.plan();
  const words = Uint32Array.from({ length: 2 * T }, (_, i) => 3 + ((i * 7) % 30));
  plan
    .write("ids", words)
    .write("positions", plainPositions(2, T))
    .write("targets", words)
    .write("weights", new Float32Array(2 * T).fill(1));
  const [value] = await plan.run().read(loss);
  const trained = trainable(model);
  const grads = await device.read(...[...trained.values()].map((t) => tape.grad(t)));
  const { activationBytes, bound } = plan;
  const forward = bound.filter((b) => !b.launch.scope.includes("backward")).length;
  plan.destroy();
  return { bits: [value, ...grads], names: [...trained.keys()], activationBytes, launches: bound.length, forward };
}

const deep = { layers: 4, hidden: 32, heads: 4, kvHeads: 2, intermediate: 64 };

for (const swinNorm of [false, true]) {
  test(`recompute on and off: same bits, less memory, one more forward pass at most; ${swinNorm ? "norms behind" : "norms first"}`, async () => {
    const { lm } = await tinyModel(device, tinyConfig({ ...deep, swinNorm }), 4);
    setTrainable(lm, true);
    const [off, on] = [await gradients(lm, false), await gradients(lm, true)];
    assert.is(off.names.length, 13 * 4 + 3);
    assert.equal(on.bits, off.bits);
    assert.ok(on.activationBytes < 0.5 * off.activationBytes, `${on.activationBytes} of ${off.activationBytes} bytes`);
    assert.is(on.forward, off.forward);
    assert.ok(on.launches - off.launches < off.forward, "the last product of a block is not made again");
  });
}

test("recompute with LoRA and dropout: the same masks, the same bits", async () => {
  const { lm, config } = await tinyModel(device, tinyConfig(deep), 5);
  const adapter = await createAdapter(device, config, { ...defaultLora, rank: 4, dropout: 0.3 }, new Rng(1, "adapter"));
  for (const { B } of adapter.pairs.values()) device.write(B, new Rng(2, B.name).normals(B.size, 0.3));
  const model = withAdapter(lm, adapter);
  setTrainable(model, /\.lora_[AB]\./);
  const [off, on] = [await gradients(model, false), await gradients(model, true)];
  assert.equal(on.bits, off.bits);
  assert.ok(on.activationBytes < 0.6 * off.activationBytes, `${on.activationBytes} of ${off.activationBytes} bytes`);
});

test("recompute within recompute, and a result that is used twice", async () => {
  const make = async (nested: boolean) => {
    const w = device.tensor([8, 8], { name: "w", data: new Rng(3).normals(64) });
    w.trainable = true;
    const tape = new Tape(device, { training: true });
    const x = tape.input("x", [4, 8]);
    const again = (fn: () => Tensor) => (nested ? tape.recompute(fn) : fn());
    const y = again(() => {
      const a = linear(x, w);
      const b = again(() => swiglu(linear(a, w), a));
      return swiglu(b, linear(scale(b, 2), w));
    });
    tape.backward(dot(y, y));
    const plan = await tape.plan();
    plan.write("x", new Rng(4).normals(32)).run();
    const [g] = await device.read(tape.grad(w));
    plan.destroy();
    return g;
  };
  assert.equal(await make(true), await make(false));
});

test("attention and its gradient take memory linear in the length", async () => {
  const bytes = async (length: number) => {
    const tape = new Tape(device, { training: true });
    const w = device.tensor([128], { name: "w", data: new Float32Array(128).fill(1) });
    w.trainable = true;
    const x = rmsnorm(tape.input("x", [1, length, 4, 128]), w);
    tape.backward(sum(attention(x, x, x, { causal: true })));
    const plan = await tape.plan();
    plan.destroy();
    return plan.activationBytes;
  };
  const [one, two] = [await bytes(512), await bytes(1024)];
  assert.ok(Math.abs(two / one - 2) < 0.01, `${one} bytes, twice the length ${two}`);
});

/** Examples always in the same order. */
function inOrder(examples: readonly Example[]): ExampleSource {
  const at = (i: number) => examples[i % examples.length];
  return {
    shapes: [shapeFor(examples)],
    count: examples.length,
    batch: (step, size) => Array.from({ length: size }, (_, i) => at(step * size + i)),
  };
}

test("four micro-batches equal one batch of four, with LoRA and dropout", async () => {
  const run = async (o: Partial<TrainOptions>): Promise<Map<string, Float32Array>> => {
    const { lm, config } = await tinyModel(device, tinyConfig(), 6);
    const adapter: Adapter = await createAdapter(device, config, { ...defaultLora, rank: 4, dropout: 0.2 }, new Rng(1, "adapter"));
    const model = withAdapter(lm, adapter);
    setTrainable(model, /\.lora_[AB]\./);
    const examples = randomExamples(config, 8, 10, 2);
    for (const [i, e] of examples.entries()) e.weights.fill(0.5 + i / 4);
    await train(device, model, inOrder(examples), { ...defaultTraining, steps: 2, learningRate: 1e-3, logEvery: 1, ...o });
    const trained = [...parameters(model)].filter(([, t]) => t.trainable);
    const values = (await device.read(...trained.map(([, t]) => t))) as Float32Array[];
    return new Map(trained.map(([name], i) => [name, values[i]]));
  };
  const [whole, parts] = [await run({ batch: 4, accumulate: 1 }), await run({ batch: 1, accumulate: 4 })];
  for (const [name, want] of whole) {
    const got = parts.get(name)!;
    const size = Math.sqrt(want.reduce((s, v) => s + v * v, 0));
    const error = Math.sqrt(want.reduce((s, v, i) => s + (v - got[i]) ** 2, 0)) / size;
    assert.ok(error < 1e-5, `${name} is ${error} of its norm off`);
  }
});

test.run();
