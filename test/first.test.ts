// Run this first on a new machine: `npm test -- first`. A copy, a sum, a product, a gradient and one training step, in seconds.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { add, dot, linear, matmul, scale, sum } from "../engine/ops/index.ts";
import { adamw } from "../engine/optim.ts";
import { Tape } from "../engine/tape.ts";
import { defaultTraining, train } from "../train/loop.ts";
import { shuffled } from "../train/order.ts";
import { randomExamples, tinyConfig, tinyModel } from "./tiny_model.ts";

const device = await openDevice();
console.log(device.describe());

test("copy: what is written comes back", async () => {
  const data = Float32Array.from({ length: 1000 }, (_, i) => i / 7);
  const t = device.tensor([10, 100], { name: "numbers", data });
  assert.equal([...(await device.read(t))[0]], [...data]);
});

test("add", async () => {
  const tape = new Tape(device);
  const y = tape.keep(add(tape.input("a", [3]), tape.input("b", [3])));
  const plan = await tape.plan();
  plan
    .write("a", Float32Array.of(1, 2, 3))
    .write("b", Float32Array.of(10, 20, 30))
    .run();
  assert.equal([...(await plan.read(y))[0]], [11, 22, 33]);
  plan.write("b", Float32Array.of(0, 0, -3)).run();
  assert.equal([...(await plan.read(y))[0]], [1, 2, 0]);
});

test("matmul: (2, 3) x (3, 2)", async () => {
  const tape = new Tape(device);
  const b = device.tensor([3, 2], { name: "b", data: Float32Array.of(1, 0, 0, 1, 1, 1) });
  const y = tape.keep(matmul(tape.input("a", [2, 3]), b));
  const plan = await tape.plan();
  plan.write("a", Float32Array.of(1, 2, 3, 4, 5, 6)).run();
  assert.equal([...(await plan.read(y))[0]], [4, 5, 10, 11]);
});

test("one gradient: d(sum(3 x w^T)) is 3 times the sums of columns", async () => {
  const w = device.tensor([2, 3], { name: "w", data: Float32Array.of(1, 2, 3, -1, 0, 1) });
  w.trainable = true;
  const tape = new Tape(device, { training: true });
  const loss = sum(scale(linear(tape.input("x", [2, 3]), w), 3));
  tape.backward(loss);
  const plan = await tape.plan();
  const [value, g] = await plan
    .write("x", Float32Array.of(1, 2, 3, 4, 5, 6))
    .run()
    .read(loss, tape.grad(w));
  assert.equal([...value], [3 * (14 + 32 + 2 + 2)]);
  assert.equal([...g], [15, 21, 27, 15, 21, 27]);
});

test("one update of AdamW moves a weight by the learning rate against its gradient", async () => {
  const w = device.tensor([4], { name: "w", data: Float32Array.of(1, 2, 3, 4) });
  w.trainable = true;
  const tape = new Tape(device, { training: true });
  tape.backward(dot(tape.input("x", [4]), w));
  adamw(tape, new Map([["w", w]]), {
    lr: tape.scalar("lr", 0.5),
    step: tape.scalar("step", 1),
    betas: [0.9, 0.99],
    eps: 1e-12,
    weightDecay: 0,
  });
  const plan = await tape.plan();
  plan.write("x", Float32Array.of(2, -3, 0.5, 0)).run();
  const [got] = await device.read(w);
  for (const [i, want] of [0.5, 2.5, 2.5, 4].entries())
    assert.ok(Math.abs(got[i] - want) < 1e-5, `w[${i}] is ${got[i]} but must be ${want}`);
});

test("one training step of a tiny transformer lowers the loss of its batch", async () => {
  const config = tinyConfig();
  const { lm } = await tinyModel(device, config, 0);
  const source = shuffled(randomExamples(config, 2, 8, 0), 0);
  const { log } = await train(device, lm, source, { ...defaultTraining, steps: 2, batch: 2, logEvery: 1 });
  assert.ok(log[1].loss < log[0].loss && log[0].loss > 1, `losses ${log.map((r) => r.loss).join(", ")}`);
});

test.run();
