// LoRA: every gradient of a small model against f64, dropout that can be drawn again, which layers PEFT's target_modules name, files that come back
// as they were written, and two adapters over one base. The published implementation's answers are in test/model.test.ts (goldens).

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parameters, setTrainable, trainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { addLowRank, dot, embedding, type LowRank, linear } from "../engine/ops/index.ts";
import { adamw } from "../engine/optim.ts";
import { hashName, Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { dropoutFactors } from "../kernels/dropout/dropout.check.ts";
import {
  type Chameleon,
  chameleonSpecs,
  createChameleon,
  plainPositions,
  ropeFor,
  selfAttention,
  sequenceInputs,
} from "../models/chameleon.ts";
import { Generator } from "../models/generate.ts";
import { type Adapter, adapterData, adapterTensors, createAdapter, trainAdapter, withAdapter } from "../models/lora.ts";
import { fixedRules } from "../models/rules.ts";
import { collate, type Example, shapeFor } from "../train/data.ts";
import {
  allLinear,
  defaultLora,
  isTarget,
  type LoraConfig,
  mergedTensor,
  openAdapter,
  parseAdapterConfig,
  rankAndScale,
  saveAdapter,
  writeAdapterConfig,
} from "../weights/adapter.ts";
import type { ChameleonConfig } from "../weights/names.ts";
import { goldenPath } from "./goldens.ts";
import { referenceLoss } from "./reference_chameleon.ts";
import { fullForward, messageOf, randomExamples, scratchFolder, type TinyModel, tinyConfig, tinyModel } from "./tiny_model.ts";

const device = await openDevice();
const size = (a: ArrayLike<number>) => Math.sqrt(Array.from(a).reduce((s, v) => s + v * v, 0));
const inner = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((s, v, i) => s + v * b[i], 0);
const lora = (rest: Partial<LoraConfig> = {}): LoraConfig => ({ ...defaultLora, rank: 3, alpha: 6, dropout: 0, ...rest });

/** An adapter whose B is not zero either, so that every gradient flows. */
async function warm(config: ChameleonConfig, settings: LoraConfig, seed = 5): Promise<Adapter> {
  const adapter = await createAdapter(device, config, settings, new Rng(seed, "adapter"));
  for (const { B } of adapter.pairs.values()) device.write(B, new Rng(seed, B.name).normals(B.size, 0.3));
  return adapter;
}

/** A training step's tape over examples, every weight of `which` trained. */
function record(model: Chameleon, examples: readonly Example[], which: RegExp | RegExp[]) {
  const shape = shapeFor(examples, 1);
  const batch = collate(examples, shape, model.config.padId);
  setTrainable(model, which);
  const tape = new Tape(device, { training: true });
  const inputs = sequenceInputs(tape, examples.length, shape.T);
  const R = batch.rows.length;
  const [rows, targets, weights] = [tape.input("rows", [R], "u32"), tape.input("targets", [R], "u32"), tape.input("weights", [R])];
  const hidden = model.forward(inputs.ids, inputs.positions, ropeFor(device, model.config, shape.T), selfAttention());
  const { loss } = model.loss(hidden, rows, targets, weights, { denominator: "weights" });
  tape.backward(loss);
  const fill = (plan: Awaited<ReturnType<Tape["plan"]>>) =>
    plan
      .write("ids", batch.ids)
      .write("positions", plainPositions(examples.length, shape.T))
      .write("rows", batch.rows)
      .write("targets", batch.targets)
      .write("weights", batch.weights);
  return { tape, loss, fill };
}

const cases: { name: string; sizes: Partial<ChameleonConfig>; lora: LoraConfig }[] = [
  { name: "all layers, norms first", sizes: {}, lora: lora() },
  {
    name: "some layers, norms behind, grouped heads, rank stabilised",
    sizes: { hidden: 32, heads: 4, kvHeads: 2, intermediate: 44, swinNorm: true },
    lora: lora({ rsLora: true, rank: 4, target: ["v_proj", "o_proj", "layers.1.mlp.down_proj"], rankPattern: { o_proj: 5 } }),
  },
];

for (const c of cases) {
  test(`loss and gradients of every pair against f64: ${c.name}`, async () => {
    const config = tinyConfig(c.sizes);
    const m = await tinyModel(device, config, 21);
    const adapter = await warm(config, c.lora);
    const model = withAdapter(m.lm, adapter);
    const examples = randomExamples(config, 2, 9, 3);
    const { tape, loss, fill } = record(model, examples, /\.lora_[AB]\./);
    const plan = await tape.plan();
    const [[got]] = await fill(plan).run().read(loss);
    const tensors = adapterTensors(adapter);
    assert.is(tensors.size, c.name.startsWith("all") ? 4 * 7 : 2 * (2 + 2 + 1));
    assert.equal([...trainable(model).keys()].sort(), [...tensors.keys()].sort());
    const values = new Map((await device.read(...tensors.values())).map((v, i) => [[...tensors.keys()][i], Float64Array.from(v)]));
    const lossOf = (pairs: ReadonlyMap<string, Float64Array>) => referenceLoss(config, mergedInF64(m, adapter, pairs), examples);
    assert.ok(Math.abs(got - lossOf(values)) < 2e-5, `the loss is ${got} but must be ${lossOf(values)}`);
    for (const [name, t] of tensors) {
      const [g] = await device.read(tape.grad(t));
      const d = Float64Array.from(new Rng(1, name).normals(t.size));
      const at = (h: number) =>
        lossOf(
          new Map(values).set(
            name,
            values.get(name)!.map((v, i) => v + h * d[i]),
          ),
        );
      const h = 1e-4;
      const want = (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h);
      const error = Math.abs(inner(g, d) - want) / (size(g) * size(d));
      assert.ok(error < 1e-4, `the gradient of ${name} is ${error} of its norm off`);
    }
    plan.destroy();
  });
}

for (const dtype of ["bf16", "int8", "int4"] as const) {
  test(`LoRA over a frozen base stored as ${dtype} trains as over the same numbers in f32`, async () => {
    const config = tinyConfig({ hidden: 48, heads: 4, kvHeads: 2, intermediate: 64 });
    const stored = await createChameleon(device, config, new Rng(1, "base"), { as: { dtype, groupSize: 16 } });
    const held = await readHeld(stored);
    const plain = await createChameleon(device, config, async (name) => held.get(name)!);
    const adapter = await warm(config, lora({ rank: 4, dropout: 0.1 }));
    const examples = randomExamples(config, 2, 9, 3);
    const run = async (base: Chameleon) => {
      const { tape, loss, fill } = record(withAdapter(base, adapter), examples, /\.lora_[AB]\./);
      const plan = await tape.plan();
      const [value] = await fill(plan).run().read(loss);
      const grads = await device.read(...[...adapterTensors(adapter).values()].map((t) => tape.grad(t)));
      plan.destroy();
      return { loss: value[0], grads };
    };
    const [got, want] = [await run(stored), await run(plain)];
    assert.ok(Math.abs(got.loss - want.loss) < 1e-5, `the losses are ${got.loss} and ${want.loss}`);
    for (const [i, name] of [...adapterTensors(adapter).keys()].entries()) {
      const error = size(want.grads[i].map((v, k) => v - got.grads[i][k]) as Float32Array) / size(want.grads[i]);
      assert.ok(error < 1e-5, `the gradient of ${name} is ${error} of its norm off`);
    }
  });
}

/** Every tensor of a model as the device reads it, whatever it is stored as. */
async function readHeld(model: Chameleon): Promise<Map<string, Float32Array>> {
  const out = new Map<string, Float32Array>();
  for (const [name, t] of parameters(model)) {
    const rows = t.shape.length === 2 ? t.shape[0] : 1;
    if (t.dtype === "f32") {
      out.set(name, (await device.read(t))[0] as Float32Array);
      continue;
    }
    const tape = new Tape(device);
    const y = tape.keep(embedding(t, tape.input("ids", [rows], "u32")));
    const plan = await tape.plan();
    const [values] = await plan
      .write(
        "ids",
        Uint32Array.from({ length: rows }, (_, i) => i),
      )
      .run()
      .read(y);
    plan.destroy();
    out.set(name, values as Float32Array);
  }
  return out;
}

/** W + s B A for every pair, in f64. */
function mergedInF64(m: TinyModel, adapter: Adapter, pairs: ReadonlyMap<string, Float64Array>): Map<string, Float64Array> {
  const out = new Map(m.weights);
  for (const [module, { A, B }] of adapter.pairs) {
    const [R, K] = A.shape;
    const [a, b] = [pairs.get(A.name)!, pairs.get(B.name)!];
    const { scale } = rankAndScale(adapter.config, module);
    const w = out.get(`${module}.weight`)!.slice();
    for (let n = 0; n < B.shape[0]; n++)
      for (let r = 0; r < R; r++) for (let k = 0; k < K; k++) w[n * K + k] += scale * b[n * R + r] * a[r * K + k];
    out.set(`${module}.weight`, w);
  }
  return out;
}

/** y = x W^T + s drop(x) A^T B^T and its gradients for a given dy, once on the device. */
async function lowRankOnce(x: Float32Array, dy: Float32Array, pair: LowRank, W: Tensor, set: Record<string, number>) {
  const M = x.length / W.shape[1];
  const source = device.tensor([M, W.shape[1]], { name: "x", data: x });
  for (const t of [source, pair.A, pair.B]) t.trainable = true;
  const tape = new Tape(device, { training: true });
  const y = linear(tape.bring(source), W);
  addLowRank(y, tape.bring(source), pair);
  tape.keep(y);
  tape.backward(dot(y, device.tensor(y.shape, { name: "dy", data: dy })));
  const plan = await tape.plan();
  for (const [name, value] of Object.entries(set)) plan.set(name, value);
  const results = await plan.run().read(y, tape.grad(source), tape.grad(pair.A), tape.grad(pair.B));
  plan.destroy();
  return results as Float32Array[];
}

test("dropout: result and gradients against f64 with the same mask, other masks at other steps, the mask of a micro-batch", async () => {
  const [M, K, N, R, rate, scale] = [6, 20, 12, 3, 0.3, 2];
  const rng = new Rng(3, "dropout");
  const [x, w, a, b, dy] = [M * K, N * K, R * K, N * R, M * N].map((n) => rng.normals(n));
  const tensor = (name: string, shape: number[], data: Float32Array) => device.tensor(shape, { name, data });
  const W = tensor("W", [N, K], w);
  const pair: LowRank = { A: tensor("A", [R, K], a), B: tensor("B", [N, R], b), scale, dropout: { rate, seed: 9, name: "here" } };
  const factors = dropoutFactors({
    ...{ n: M * K, scale: 1 / (1 - rate), below: Math.round(rate * 2 ** 32), seed: 9, stream: hashName("here"), step: 4, first: 0 },
  });
  const kept = factors.filter((f) => f > 0).length / (M * K);
  assert.ok(kept > 0.5 && kept < 0.9, `${kept} of the elements are kept`);
  const want = { y: new Float64Array(M * N), dx: new Float64Array(M * K), dA: new Float64Array(R * K), dB: new Float64Array(N * R) };
  for (let m = 0; m < M; m++) {
    const xd = Float64Array.from({ length: K }, (_, k) => x[m * K + k] * factors[m * K + k]);
    const u = Float64Array.from({ length: R }, (_, r) => scale * inner(xd, a.subarray(r * K, (r + 1) * K)));
    const row = dy.subarray(m * N, (m + 1) * N);
    const du = Float64Array.from({ length: R }, (_, r) => scale * row.reduce((s, v, n) => s + v * b[n * R + r], 0));
    for (let n = 0; n < N; n++) {
      want.y[m * N + n] = inner(x.subarray(m * K, (m + 1) * K), w.subarray(n * K, (n + 1) * K)) + inner(u, b.subarray(n * R, (n + 1) * R));
      for (let r = 0; r < R; r++) want.dB[n * R + r] += row[n] * u[r];
    }
    for (let k = 0; k < K; k++) {
      want.dx[m * K + k] = row.reduce((s, v, n) => s + v * w[n * K + k], 0);
      for (let r = 0; r < R; r++) {
        want.dA[r * K + k] += du[r] * xd[k];
        want.dx[m * K + k] += du[r] * a[r * K + k] * factors[m * K + k];
      }
    }
  }
  const got = await lowRankOnce(x, dy, pair, W, { step: 4 });
  Object.entries(want).forEach(([name, values], i) => {
    const worst = values.reduce((most, v, j) => Math.max(most, Math.abs(v - got[i][j])), 0);
    assert.ok(worst < 2e-5 * (size(values) / Math.sqrt(values.length) + 1), `${name} is ${worst} off`);
  });
  const again = await lowRankOnce(x, dy, pair, W, { step: 4 });
  assert.equal(again, got, "the same seed and step draw the same bits");
  assert.not.equal((await lowRankOnce(x, dy, pair, W, { step: 5 }))[0], got[0]);
  for (const [row, rows] of [
    [0, 2],
    [2, 4],
  ]) {
    const of = (values: Float32Array, columns: number) => values.subarray(row * columns, (row + rows) * columns);
    const part = await lowRankOnce(of(x, K), of(dy, N), pair, W, { step: 4, row });
    const whole = of(got[0], N);
    // Another number of rows may take another variant of the product, so the last bits may differ.
    assert.ok(
      part[0].every((v, i) => Math.abs(v - whole[i]) < 1e-5),
      `the micro-batch of ${rows} rows from row ${row} on`,
    );
  }
});

test("a new adapter changes nothing, A is uniform within 1/sqrt(in), and a seed gives its bits", async () => {
  const config = tinyConfig();
  const m = await tinyModel(device, config, 2);
  const make = (seed: number) => createAdapter(device, config, lora(), new Rng(seed, "adapter"));
  const adapter = await make(4);
  const logits = async (model: Chameleon) => {
    const tape = new Tape(device);
    const { ids, positions } = sequenceInputs(tape, 1, 8);
    const out = tape.keep(model.logits(model.forward(ids, positions, ropeFor(device, config, 8), selfAttention())));
    const plan = await tape.plan();
    return (
      await plan
        .write("ids", Uint32Array.of(3, 9, 8, 30, 2, 5, 6, 7))
        .write("positions", plainPositions(1, 8))
        .run()
        .read(out)
    )[0];
  };
  assert.equal(await logits(withAdapter(m.lm, adapter)), await logits(m.lm));
  const { A } = adapter.pairs.get("model.layers.1.mlp.down_proj")!;
  const [a] = await device.read(A);
  const bound = 1 / Math.sqrt(config.intermediate);
  assert.ok(
    a.every((v) => Math.abs(v) <= bound) &&
      a.some((v) => Math.abs(v) > 0.9 * bound) &&
      Math.abs(
        inner(
          a,
          a.map(() => 1),
        ),
      ) <
        0.2 * bound * a.length,
  );
  assert.equal(await adapterData(device, await make(4)), await adapterData(device, adapter));
  assert.not.equal(await adapterData(device, await make(5)), await adapterData(device, adapter));
});

test("target_modules name layers as in PEFT", () => {
  const q = "model.layers.11.self_attn.q_proj";
  const table: [Partial<LoraConfig>, string, boolean][] = [
    [{ target: ["q_proj"] }, q, true],
    [{ target: ["proj"] }, q, false],
    [{ target: ["self_attn.q_proj"] }, q, true],
    [{ target: [q] }, q, true],
    [{ target: "q_proj" }, q, false],
    [{ target: ".*q_proj" }, q, true],
    [{ target: "model\\.layers\\.(?P<n>1[0-9])\\..*" }, q, true],
    [{ target: ".*layers\\.1\\..*" }, q, false],
    [{ target: "all-linear" }, q, true],
    [{ target: allLinear, exclude: ["q_proj"] }, q, false],
    [{ target: allLinear, exclude: ".*\\.self_attn\\..*" }, q, false],
    [{ target: allLinear, exclude: ".*\\.self_attn\\..*" }, "model.layers.0.mlp.up_proj", true],
    [{ target: allLinear, modulesToSave: ["lm_head"] }, q, true],
  ];
  for (const [c, module, want] of table) assert.is(isTarget(lora(c), module), want, `${JSON.stringify(c)} ${module}`);
  assert.equal(rankAndScale(lora({ rank: 16, alpha: 32 }), q), { rank: 16, scale: 2 });
  assert.equal(rankAndScale(lora({ rank: 16, alpha: 32, rsLora: true }), q), { rank: 16, scale: 8 });
  assert.equal(rankAndScale(lora({ rankPattern: { "1.self_attn.q_proj": 8 }, alphaPattern: { q_proj: 4 } }), q), { rank: 3, scale: 4 / 3 });
  assert.equal(rankAndScale(lora({ rankPattern: { "layers.11.self_attn.q_proj": 8 } }), q), { rank: 8, scale: 6 / 8 });
});

test("an adapter comes back from its folder bit for bit, and merges into what the view computes", async () => {
  const config = tinyConfig();
  const m = await tinyModel(device, config, 6);
  const settings = lora({ target: ["q_proj", "down_proj"], rankPattern: { down_proj: 2 }, dropout: 0.05, base: "some/base" });
  const adapter = await warm(config, settings);
  const folder = join(scratchFolder(), "adapter");
  await saveAdapter(folder, settings, await adapterData(device, adapter));
  const file = await openAdapter(folder);
  assert.equal(file.config, settings);
  const again = await createAdapter(device, config, file.config, file);
  assert.equal(await adapterData(device, again), await adapterData(device, adapter));
  const tensors = adapterTensors(adapter);
  const values = new Map((await device.read(...tensors.values())).map((v, i) => [[...tensors.keys()][i], Float64Array.from(v)]));
  const want = mergedInF64(m, adapter, values);
  for (const { name } of chameleonSpecs(config)) {
    const before = Float32Array.from(m.weights.get(name)!);
    const got = await mergedTensor(file, name, before.slice());
    const worst = got.reduce((most, v, i) => Math.max(most, Math.abs(v - want.get(name)![i])), 0);
    assert.ok(worst < 1e-6, `${name} is ${worst} off`);
    assert.is(
      got.every((v, i) => v === before[i]),
      !/(?:q|down)_proj/.test(name),
      name,
    );
  }
  await file.close();
});

test("adapter_config.json says what PEFT says, and what is not supported is refused by name", async () => {
  const given = JSON.parse(readFileSync(goldenPath("tiny-mha/lora/adapter_config.json"), "utf8")) as Record<string, unknown>;
  const config = parseAdapterConfig(given, "here");
  const written = writeAdapterConfig(config);
  for (const [key, value] of Object.entries(given)) assert.equal(written[key], value, key);
  assert.equal(Object.keys(written), Object.keys(written).slice().sort());
  const refused = (change: Record<string, unknown>) => messageOf(() => parseAdapterConfig({ ...given, ...change }, "here"));
  assert.match(await refused({ use_dora: true }), /^here: use_dora is true, which is not supported; merge the adapter with PEFT/);
  for (const init of ["pissa", "pissa_niter_4", "olora", "corda", "loftq", "lora_ga"])
    assert.match(
      await refused({ init_lora_weights: init }),
      /^here: init_lora_weights is ".*", under which PEFT changes the base's weights/,
    );
  for (const init of [true, false, "gaussian", "eva", "orthogonal"]) parseAdapterConfig({ ...given, init_lora_weights: init }, "here");
  assert.match(await refused({ bias: "all" }), /^here: bias is "all", "none" is needed/);
  assert.match(await refused({ peft_type: "IA3" }), /^here: peft_type is "IA3", LORA is needed/);
  assert.match(await refused({ target_modules: null }), /^here: target_modules is null, a pattern or a list/);
  assert.match(await refused({ rank_pattern: { q_proj: "8" } }), /^here: rank_pattern must map patterns to numbers/);
});

test("a damaged adapter, or one of another model, is refused in one sentence", async () => {
  const config = tinyConfig();
  const folder = join(scratchFolder(), "adapter");
  const adapter = await warm(config, lora());
  const data = await adapterData(device, adapter);
  await saveAdapter(folder, lora(), data);
  const other = await openAdapter(folder);
  assert.match(
    await messageOf(() => createAdapter(device, tinyConfig({ intermediate: 44 }), other.config, other)),
    /gate_proj.lora_B.weight of the adapter has 120 values but \(44, 3\) is needed; it belongs to another base/,
  );
  assert.match(
    await messageOf(() => createAdapter(device, tinyConfig({ layers: 1 }), other.config, other)),
    /the adapter changes model.layers.1.self_attn.q_proj.lora_A.weight, which this model has not/,
  );
  await other.close();
  await saveAdapter(folder, lora(), data.slice(1), { overwrite: true });
  assert.match(await messageOf(() => openAdapter(folder)), /q_proj has lora_B without the other half/);
  await saveAdapter(folder, lora({ rank: 4 }), data, { overwrite: true });
  assert.match(await messageOf(() => openAdapter(folder)), /is \(3, 24\), adapter_config.json says rank 4/);
  writeFileSync(join(folder, "adapter_config.json"), "{");
  assert.match(await messageOf(() => openAdapter(folder)), /adapter_config.json: the file is not valid JSON/);
  assert.match(
    await messageOf(() => createAdapter(device, config, lora({ target: ["query"] }), new Rng(1))),
    /\["query"\] names no linear layer/,
  );
});

test("with an adapter cached and uncached decoding agree, ids and log-probabilities", async () => {
  const config = tinyConfig();
  const m = await tinyModel(device, config, 7);
  const model = withAdapter(m.lm, await warm(config, lora({ target: ["q_proj", "k_proj", "v_proj"] })));
  const [V, newTokens] = [config.vocabSize, 6];
  const prompt = Uint32Array.of(0, 9, 12, 30);
  const rules = fixedRules(new Uint8Array(V).fill(1));
  const g = await Generator.make(device, model, { prompts: 1, branches: 1, promptTokens: prompt.length, newTokens, rules });
  const [[got]] = await g.run([prompt], { temperature: 0, seed: 0 });
  g.destroy();
  const forward = await fullForward(device, model, prompt.length + newTokens);
  const sequence = [...prompt];
  for (let t = 0; t < newTokens; t++) {
    const row = (await forward(sequence)).subarray((sequence.length - 1) * V, sequence.length * V);
    const best = Math.max(...row);
    sequence.push(row.indexOf(best));
    const want = -Math.log(row.reduce((sum, v) => sum + Math.exp(v - best), 0));
    assert.ok(Math.abs(got.logprobs[t] - want) < 1e-4, `token ${t}: ${got.logprobs[t]} but must be ${want}`);
  }
  assert.equal([...got.ids], sequence.slice(prompt.length));
});

test("two adapters over one base hold the base once, and each gives its own answer", async () => {
  const config = tinyConfig();
  const m = await tinyModel(device, config, 8);
  const before = device.memory();
  const [a, b] = [await warm(config, lora(), 1), await warm(config, lora(), 2)];
  const [first, second] = [withAdapter(m.lm, a), withAdapter(m.lm, b)];
  assert.is(device.memory().weights, before.weights);
  const names = (model: Chameleon) => new Map([...parameters(model)].filter(([name]) => !name.includes("lora_")));
  for (const [name, t] of names(m.lm)) assert.ok(names(first).get(name) === t && names(second).get(name) === t, name);
  assert.is(withAdapter(first, b).model.layers[0].mlp.up_proj.lora_A?.weight, b.pairs.get("model.layers.0.mlp.up_proj")?.A);
});

test("the head and the token table can be trained whole beside the pairs, and are saved with them", async () => {
  const config = tinyConfig();
  const m = await tinyModel(device, config, 12);
  const settings = lora({ modulesToSave: ["lm_head", "embed_tokens"] });
  assert.match(
    await messageOf(() => createAdapter(device, config, settings, new Rng(1))),
    /lm_head is to be trained whole and needs the base's values/,
  );
  assert.match(
    await messageOf(() => createAdapter(device, config, lora({ modulesToSave: ["q_norm"] }), new Rng(1))),
    /modules_to_save names "q_norm"/,
  );
  const adapter = await createAdapter(device, config, settings, new Rng(1), m.lm);
  const model = withAdapter(m.lm, adapter);
  trainAdapter(model, adapter);
  const own = await device.read(m.lm.lm_head.weight, m.lm.model.embed_tokens.weight);
  const { tape, fill } = record(model, randomExamples(config, 2, 9, 3), [/\.lora_[AB]\./, /^lm_head\./, /embed_tokens/]);
  assert.equal([...trainable(model).keys()].sort(), [...adapterTensors(adapter).keys()].sort());
  adamw(tape, trainable(model), {
    lr: tape.scalar("lr", 1e-2),
    step: tape.scalar("step", 1),
    betas: [0.9, 0.98],
    eps: 1e-8,
    weightDecay: 0,
  });
  fill(await tape.plan()).run();
  const [head, table] = await device.read(adapter.whole.get("lm_head")!, adapter.whole.get("model.embed_tokens")!);
  assert.ok(head.some((v, i) => v !== own[0][i]) && table.some((v, i) => v !== own[1][i]), "both moved");
  assert.equal(await device.read(m.lm.lm_head.weight, m.lm.model.embed_tokens.weight), own, "the base did not");
  const folder = join(scratchFolder(), "adapter");
  await saveAdapter(folder, settings, await adapterData(device, adapter));
  const file = await openAdapter(folder);
  const again = await createAdapter(device, config, file.config, file);
  assert.equal(await adapterData(device, again), await adapterData(device, adapter));
  assert.equal(await mergedTensor(file, "lm_head.weight", Float32Array.from(own[0])), head);
  assert.ok(
    withAdapter(model, await warm(config, lora())).lm_head.weight === m.lm.lm_head.weight,
    "another adapter over the view takes the base's head",
  );
  await file.close();
});

test("a low-rank adapter alone learns a batch by heart; the base does not move", async () => {
  const config = tinyConfig({ hidden: 96, intermediate: 80, heads: 6, kvHeads: 6 });
  const m = await tinyModel(device, config, 9);
  const base = await device.read(...parameters(m.lm).values());
  const adapter = await createAdapter(device, config, lora({ rank: 8, alpha: 16, dropout: 0.02 }), new Rng(1, "adapter"));
  const model = withAdapter(m.lm, adapter);
  const examples = randomExamples(config, 3, 10, 8);
  for (const e of examples) e.weights[1] = 0;
  const { tape, loss, fill } = record(model, examples, /\.lora_[AB]\./);
  const moments = device.memory().moments ?? 0;
  adamw(tape, trainable(model), {
    lr: tape.scalar("lr", 1e-2),
    step: tape.scalar("step", 1),
    betas: [0.9, 0.98],
    eps: 1e-8,
    weightDecay: 0,
    clip: 1,
  });
  const bytes = [...adapterTensors(adapter).values()].reduce((s, t) => s + Math.ceil(t.bytes / 256) * 256, 0);
  assert.is((device.memory().moments ?? 0) - moments, 2 * bytes, "moments are kept for the adapter alone");
  const plan = await tape.plan();
  fill(plan);
  // A frozen head over a frozen norm bounds the logits by about 1.2 sqrt(hidden), hence the width.
  for (let i = 1; i <= 150; i++) plan.set("step", i).run();
  const last = await plan.readNumber(loss);
  assert.ok(last < 0.01, `the loss is ${last}`);
  assert.equal(await device.read(...parameters(m.lm).values()), base);
});

test.run();
