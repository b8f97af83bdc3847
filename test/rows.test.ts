// Rows of the head or of the token table trained apart: loss and gradients against f64 with those rows in place, in parts and over a table in row ranges,
// with tied tables, and what they take and leave behind.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device } from "../engine/device.ts";
import { nodeHost, openGPU } from "../engine/host_node.ts";
import { setTrainable, trainable } from "../engine/module.ts";
import { adamw } from "../engine/optim.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import { type Chameleon, plainPositions, readTensors, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import { type RowChoice, tableRows, withRows } from "../models/rows.ts";
import { collate, type Example, shapeFor } from "../train/data.ts";
import { referenceLogits, referenceLoss } from "./reference_chameleon.ts";
import { messageOf, randomExamples, tinyConfig, tinyModel } from "./tiny_model.ts";

const { gpu, adapter } = await openGPU();
const device = await Device.open({ host: nodeHost, gpu, adapter });
// One that binds little at a time, so that tables of a few rows go in ranges.
const second = await openGPU();
const narrow = await Device.open({ host: nodeHost, gpu: second.gpu, adapter: second.adapter, bindingBytes: 2048 });

const inner = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((s, v, i) => s + v * b[i], 0);
const size = (a: ArrayLike<number>) => Math.sqrt(inner(a, a));

async function record(on: Device, model: Chameleon, examples: readonly Example[], which: RegExp[], logitBytes?: number) {
  const shape = shapeFor(examples, 1);
  const batch = collate(examples, shape, model.config.padId);
  setTrainable(model, which);
  const tape = new Tape(on, { training: true });
  const { ids, positions } = sequenceInputs(tape, examples.length, shape.T);
  const R = batch.rows.length;
  const [rows, targets, weights] = [tape.input("rows", [R], "u32"), tape.input("targets", [R], "u32"), tape.input("weights", [R])];
  const hidden = model.forward(ids, positions, ropeFor(on, model.config, shape.T), selfAttention());
  const logits = tape.keep(model.logits(hidden));
  const { loss } = model.loss(hidden, rows, targets, weights, { denominator: "weights", logitBytes });
  tape.backward(loss);
  const fill = (plan: Awaited<ReturnType<Tape["plan"]>>) =>
    plan
      .write("ids", batch.ids)
      .write("positions", plainPositions(examples.length, shape.T))
      .write("rows", batch.rows)
      .write("targets", batch.targets)
      .write("weights", batch.weights);
  return { tape, loss, logits, fill };
}

const cases: { name: string; on: Device; choice: RowChoice; tied?: boolean; logitBytes?: number; rows?: number }[] = [
  { name: "rows of the head", on: device, choice: { of: "lm_head", first: 5, count: 19 } },
  { name: "rows of the head, scored in parts", on: device, choice: { of: "lm_head", first: 4, count: 30 }, logitBytes: 1, rows: 40 },
  { name: "rows of the head, over tables in ranges", on: narrow, choice: { of: "lm_head", first: 3, count: 29 } },
  { name: "all rows of the token table", on: device, choice: { of: "model.embed_tokens", first: 0, count: 37 } },
  { name: "rows of the token table, in ranges", on: narrow, choice: { of: "model.embed_tokens", first: 9, count: 24 } },
  { name: "rows of tied tables", on: device, choice: { of: "lm_head", first: 8, count: 12 }, tied: true },
];

for (const { name, on, choice, tied = false, logitBytes, rows = 12 } of cases) {
  test(`${name}: logits, loss and gradients against f64`, async () => {
    const config = tinyConfig({ tieWordEmbeddings: tied });
    const m = await tinyModel(on, config, 31);
    const model = await withRows(on, m.lm, choice, new Rng(7, "rows"));
    const examples = randomExamples(config, 3, rows, 5);
    const { tape, loss, logits, fill } = await record(on, model, examples, [/\.rows\./, /^model\.norm\./], logitBytes);
    const trained = trainable(model);
    assert.equal([...trained.keys()].sort(), [`${tied ? "model.embed_tokens" : choice.of}.rows.weight`, "model.norm.weight"].sort());
    const plan = await tape.plan();
    const [gotLoss, gotLogits] = await fill(plan).run().read(loss, logits);
    const rowsTensor = trained.get(`${tied ? "model.embed_tokens" : choice.of}.rows.weight`)!;
    const [values] = (await on.read(rowsTensor)) as Float32Array[];
    const table = tied ? "model.embed_tokens.weight" : `${choice.of}.weight`;
    /** The model's weights with the rows in place. */
    const placed = (rowsOf: ArrayLike<number>, norm = m.weights.get("model.norm.weight")!) => {
      const w = m.weights.get(table)!.slice();
      w.set(Float64Array.from(rowsOf), choice.first * config.hidden);
      const out = new Map([...m.weights, [table, w], ["model.norm.weight", norm]] as [string, Float64Array][]);
      if (tied) out.set("lm_head.weight", w);
      return out;
    };
    const want = referenceLogits(config, placed(values), examples[0].ids);
    assert.ok(
      want.every((v, i) => Math.abs(v - gotLogits[i]) < 5e-5),
      "logits",
    );
    const f64 = referenceLoss(config, placed(values), examples);
    assert.ok(Math.abs(gotLoss[0] - f64) < 2e-5, `the loss is ${gotLoss[0]} but must be ${f64}`);
    for (const [key, t] of trained) {
      const [g] = (await on.read(tape.grad(t))) as Float32Array[];
      const d = Float64Array.from(new Rng(2, key).normals(t.size));
      const at = (h: number) =>
        key === "model.norm.weight"
          ? referenceLoss(
              config,
              placed(
                values,
                m.weights.get(key)!.map((v, i) => v + h * d[i]),
              ),
              examples,
            )
          : referenceLoss(config, placed(Float64Array.from(values).map((v, i) => v + h * d[i])), examples);
      const h = 1e-4;
      const slope = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
      const error = Math.abs(inner(g, d) - slope) / (size(g) * size(d));
      assert.ok(error < 1e-4, `the gradient of ${key} is ${error} of its norm off`);
    }
    plan.destroy();
  });
}

test("rows begin as the table's own, take memory for themselves alone, and come back in their places", async () => {
  const config = tinyConfig();
  const { lm, weights } = await tinyModel(device, config, 3);
  const model = await withRows(device, lm, { of: "lm_head", first: 4, count: 16 });
  const own = await readTensors(device, lm);
  assert.equal([...(await readTensors(device, model))], [...own]);
  const before = device.memory();
  const { tape, loss, fill } = await record(device, model, randomExamples(config, 2, 8, 1), [/\.rows\./]);
  const options = { betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0, loss } as const;
  adamw(tape, trainable(model), { ...options, lr: tape.scalar("lr", 0.1), step: tape.scalar("step", 1) });
  const after = device.memory();
  assert.is((after.gradients ?? 0) - (before.gradients ?? 0), 4 * 16 * config.hidden);
  assert.is((after.moments ?? 0) - (before.moments ?? 0), 8 * 16 * config.hidden);
  const plan = await tape.plan();
  fill(plan).run();
  const [changed, base] = [await readTensors(device, model), await readTensors(device, lm)];
  assert.equal([...base], [...own], "the base does not move");
  for (const [name, { data, shape }] of changed) {
    const moved = Array.from({ length: shape[0] }, (_, r) => r).filter((r) => {
      const C = data.length / shape[0];
      return data.subarray(r * C, (r + 1) * C).some((v, c) => v !== own.get(name)!.data[r * C + c]);
    });
    assert.equal(moved, name === "lm_head.weight" ? Array.from({ length: 16 }, (_, i) => 4 + i) : [], name);
  }
  assert.is(weights.size, changed.size);
  plan.destroy();
});

test("a table larger than a binding is read in parts", async () => {
  const { lm } = await tinyModel(narrow, tinyConfig(), 3);
  const whole = await tableRows(device, (await tinyModel(device, tinyConfig(), 3)).lm.lm_head);
  assert.ok(4 * whole.length > narrow.bindingBytes);
  assert.equal(await tableRows(narrow, lm.lm_head), whole);
});

test("rows outside the table, or a table trained beside its rows, are refused", async () => {
  const { lm, config } = await tinyModel(device, tinyConfig(), 4);
  assert.match(
    await messageOf(() => withRows(device, lm, { of: "lm_head", first: 30, count: 8 })),
    /^rows 30 to 37 of lm_head: they must lie within 0 to 36; choose others$/,
  );
  const model = await withRows(device, lm, { of: "lm_head", first: 3, count: 8 });
  const message = await messageOf(() => record(device, model, randomExamples(config, 1, 5, 1), [/^lm_head/]));
  assert.match(message, /lm_head.weight and rows of it are both trained; freeze one of them$/);
});

test.run();
