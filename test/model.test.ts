// The transformer against an independent f64 model (test/reference_chameleon.ts): logits, and each gradient by name as directional
// derivatives.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { parameters, setTrainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { ropeTable } from "../engine/ops/index.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import { plainPositions, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import { collate, type Example, shapeFor } from "../train/data.ts";
import type { ChameleonConfig } from "../weights/names.ts";
import { parseConfig } from "../weights/names.ts";
import { toIntegers } from "../weights/safetensors.ts";
import { floats, goldenJson, goldenTensors } from "./goldens.ts";
import { referenceLogits, referenceLoss } from "./reference_chameleon.ts";
import { type TinyModel, tinyConfig, tinyModel } from "./tiny_model.ts";

const device = await openDevice();

function largest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  assert.is(got.length, want.length);
  let worst = 0;
  for (let i = 0; i < want.length; i++)
    worst = Number.isNaN(got[i]) ? Number.POSITIVE_INFINITY : Math.max(worst, Math.abs(got[i] - want[i]));
  return worst;
}

const f64 = (bytes: Uint8Array) => new Float64Array(bytes.slice().buffer);

for (const name of ["tiny-mha", "tiny-gqa"]) {
  test(`the f64 reference gives the published logits and losses of ${name}`, async () => {
    const config = parseConfig(goldenJson(`${name}/config.json`));
    const file = await goldenTensors(`${name}/model.safetensors`);
    const weights = new Map<string, Float32Array>();
    for (const key of file.tensors.keys()) if (!key.includes("vqmodel")) weights.set(key, await floats(file, key));
    await file.close();
    const lm = await goldenTensors(`${name}/expected/lm.safetensors`);
    const [B, T] = lm.tensors.get("input_ids")!.shape;
    const words = toIntegers(await lm.read("input_ids"), lm.tensors.get("input_ids")!.dtype);
    const rows = Array.from({ length: B }, (_, b) => Array.from(words.subarray(b * T, (b + 1) * T)));
    const got = rows.map((ids) => referenceLogits(config, weights, ids));
    const flat = Float64Array.from(got.flatMap((g) => [...g]));
    assert.ok(largest(flat, f64(await lm.read("logits_f64"))) < 1e-10, `logits are ${largest(flat, f64(await lm.read("logits_f64")))} off`);
    const w = await floats(lm, "weights");
    const loss = referenceLoss(
      config,
      weights,
      rows.map((ids, b) => ({ ids, weights: w.subarray(b * T, (b + 1) * T) })),
    );
    const want = goldenJson<{ loss_f64: number }>(`${name}/expected/lm.json`).loss_f64;
    assert.ok(Math.abs(loss - want) < 1e-10, `the loss is ${loss} but must be ${want}`);
    await lm.close();
  });
}

test("with dynamic scaling, positions after the known ones are rotated as the last of their sequence", async () => {
  const options = { theta: 100, headDim: 6, scaling: { type: "dynamic", factor: 2 }, maxPositions: 8 } as const;
  const table = ropeTable(device, { ...options, positions: 14, known: 5 });
  const [cos] = await device.read(table.cos);
  for (let p = 0; p < 14; p++) {
    const length = Math.max(5, p + 1);
    const theta = length <= 8 ? 100 : 100 * ((2 * length) / 8 - 1) ** (6 / 4);
    for (let j = 0; j < 3; j++) assert.ok(Math.abs(cos[p * 3 + j] - Math.cos(p * theta ** (-j / 3))) < 1e-6, `position ${p}, pair ${j}`);
  }
});

interface Case {
  readonly name: string;
  readonly sizes: Partial<ChameleonConfig>;
  /** Lengths of the batch's rows. */
  readonly lengths: readonly number[];
  readonly denominator: "weights" | number;
}

const cases: Case[] = [
  { name: "norms first, odd lengths", sizes: {}, lengths: [7, 5], denominator: "weights" },
  {
    name: "norms behind, grouped heads, linear rope scaling",
    sizes: { hidden: 32, heads: 4, kvHeads: 2, intermediate: 44, swinNorm: true, ropeScaling: { type: "linear", factor: 4 } },
    lengths: [9],
    denominator: "weights",
  },
  {
    name: "one key head, head size 6, tied embeddings",
    sizes: { heads: 4, kvHeads: 1, tieWordEmbeddings: true, vocabSize: 50 },
    lengths: [13, 2, 11],
    denominator: 17,
  },
  {
    name: "three query heads to a key head, head size 10, small theta, large epsilon, dynamic rope scaling",
    sizes: {
      ...{ hidden: 60, heads: 6, kvHeads: 2, intermediate: 52, layers: 3, vocabSize: 131, ropeTheta: 300, rmsNormEps: 1e-3 },
      ...{ maxPositions: 12, ropeScaling: { type: "dynamic", factor: 3 } },
    },
    // One length: in a batch the longest row decides the scaling, for all.
    lengths: [17],
    denominator: "weights",
  },
  {
    name: "one layer past the edges of the tiles",
    sizes: { layers: 1, hidden: 72, heads: 2, kvHeads: 2, intermediate: 70, vocabSize: 67 },
    lengths: [66],
    denominator: "weights",
  },
];

/** Rows of random ids, the padding id among them unless embeddings are tied, with weights of all kinds; the first weight must not count. */
function batchOf(config: ChameleonConfig, lengths: readonly number[], seed: number): Example[] {
  const rng = new Rng(seed, "batch");
  return lengths.map((T) => ({
    ids: Uint32Array.from({ length: T }, (_, t) =>
      t === 1 && !config.tieWordEmbeddings ? config.padId : 2 + rng.int(config.vocabSize - 2),
    ),
    weights: Float32Array.from({ length: T }, (_, t) => (t === 0 ? 7 : t % 4 === 3 ? 0 : 0.25 + 2 * rng.uniform())),
  }));
}

/** Logits of every position, and the gradient of the weighted loss by parameter name, from the device. */
async function onDevice({ lm, config }: TinyModel, examples: readonly Example[], denominator: "weights" | number) {
  const shape = shapeFor(examples, 1);
  const [B, T] = [examples.length, shape.T];
  const batch = collate(examples, shape, config.padId);
  setTrainable(lm, true);
  const tape = new Tape(device, { training: true });
  const inputs = sequenceInputs(tape, B, T);
  const rows = tape.input("rows", [batch.rows.length], "u32");
  const targets = tape.input("targets", [batch.rows.length], "u32");
  const weights = tape.input("weights", [batch.rows.length]);
  const hidden = lm.forward(inputs.ids, inputs.positions, ropeFor(device, config, T), selfAttention());
  const logits = tape.keep(lm.logits(hidden));
  const { loss } = lm.loss(hidden, rows, targets, weights, { denominator });
  tape.backward(loss);
  const plan = await tape.plan();
  plan
    .write("ids", batch.ids)
    .write("positions", plainPositions(B, T))
    .write("rows", batch.rows)
    .write("targets", batch.targets)
    .write("weights", batch.weights);
  const [gotLogits, gotLoss] = await plan.run().read(logits, loss);
  const all = parameters(config.tieWordEmbeddings ? { model: lm.model } : { model: lm.model, lm_head: lm.lm_head });
  const gradients = await device.read(...[...all.values()].map((t) => tape.grad(t)));
  plan.destroy();
  return {
    T,
    logits: gotLogits,
    loss: gotLoss[0],
    gradients: new Map([...all.keys()].map((name, i) => [name, gradients[i] as Float32Array])),
  };
}

/**
 * The derivative of f along a line at 0 by central differences of order six; throws if that of order four differs by 1e-8 of `size`, so that
 * the result is exact to far better than what it judges.
 */
function derivative(f: (step: number) => number, h: number, size: number): number {
  const [a, b, c] = [1, 2, 3].map((k) => f(k * h) - f(-k * h));
  const six = (45 * a - 9 * b + c) / (60 * h);
  const four = (8 * a - b) / (12 * h);
  assert.ok(Math.abs(six - four) <= 1e-8 * size, `the step ${h} is unfit: ${six} and ${four} at size ${size}`);
  return six;
}

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) => Array.from(a).reduce((s, v, i) => s + v * b[i], 0);
const length = (a: ArrayLike<number>) => Math.sqrt(dot(a, a));

for (const [n, c] of cases.entries()) {
  test(`logits, loss and every gradient against f64: ${c.name}`, async () => {
    const config = tinyConfig(c.sizes);
    const m = await tinyModel(device, config, 11 + n);
    const examples = batchOf(config, c.lengths, n);
    const got = await onDevice(m, examples, c.denominator);
    examples.forEach(({ ids }, b) => {
      const from = b * got.T * config.vocabSize;
      const error = largest(got.logits.subarray(from, from + ids.length * config.vocabSize), referenceLogits(config, m.weights, ids));
      assert.ok(error < 5e-5, `logits of row ${b} are ${error} off`);
    });
    const lossOf = (weights: Map<string, Float64Array>) =>
      referenceLoss(config, weights, examples, c.denominator === "weights" ? undefined : c.denominator);
    assert.ok(Math.abs(got.loss - lossOf(m.weights)) < 2e-5, `the loss is ${got.loss} but must be ${lossOf(m.weights)}`);
    assert.is(got.gradients.size, 13 * config.layers + (config.tieWordEmbeddings ? 2 : 3));
    for (const [name, g] of got.gradients) {
      const at = m.weights.get(name)!;
      const padding = name === "model.embed_tokens.weight" && !config.tieWordEmbeddings;
      if (padding)
        assert.ok(length(g.subarray(config.padId * config.hidden, (config.padId + 1) * config.hidden)) === 0, "padding got a gradient");
      for (const k of [1, 2]) {
        const d = Float64Array.from(new Rng(k, name).normals(at.length));
        if (padding) d.fill(0, config.padId * config.hidden, (config.padId + 1) * config.hidden);
        const size = length(g) * length(d);
        assert.ok(size > 0, `the gradient of ${name} is zero`);
        const moved = (step: number) => {
          const w = at.map((v, i) => v + step * d[i]);
          return lossOf(new Map([...m.weights].map(([key, value]) => [key, value === at ? w : value])));
        };
        const want = derivative(moved, 8e-4 / Math.sqrt(length(d)), size);
        const error = Math.abs(dot(g, d) - want) / size;
        assert.ok(error <= 1e-4, `gradient of ${name} along direction ${k} is ${dot(g, d)} but must be ${want} (${error} of |g||d|)`);
      }
    }
  });
}

test.run();
