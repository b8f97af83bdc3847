// What a configuration lets train: rows of a table, patterns of parameters, tables beside an adapter, bf16 and f16 weights on f32 masters; what is trained moves and is
// saved, what is not stays to the bit. Runs on them go on from a checkpoint bit for bit.
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { roleOptions } from "../cli/train.ts";
import { setTrainable, trainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { optimizerState } from "../engine/optim.ts";
import { Rng } from "../engine/rng.ts";
import { type Chameleon, createChameleon } from "../models/chameleon.ts";
import { checkpointStore } from "../train/checkpoints.ts";
import { wholeConfig } from "../train/config.ts";
import { defaultTraining, train } from "../train/loop.ts";
import type { PartialConfig } from "../train/options.ts";
import { shuffled } from "../train/order.ts";
import { openAdapter } from "../weights/adapter.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { CodeStore } from "../world/codes.ts";
import { loadModel } from "../world/model.ts";
import { writePng } from "../world/pictures.ts";
import { trainRole } from "../world/train_role.ts";
import { goldenPath } from "./goldens.ts";
import { messageOf, randomExamples, scratchFolder, tinyConfig } from "./tiny_model.ts";

const device = await openDevice();
const base = goldenPath("tiny-mha");

const pictures = scratchFolder();
for (let i = 0; i < 3; i++)
  await writePng(join(pictures, `${i}.png`), {
    width: 24,
    height: 24,
    data: new Uint8Array(24 * 24 * 3).map((_, k) => (k * (i + 3)) % 251),
  });
const records = [0, 1].map((i) => ({
  id: `${i}`,
  source: join(pictures, `${i}.png`),
  target: join(pictures, `${i + 1}.png`),
  action: "go far",
}));

/** Two steps with a configuration; the folder of the result. */
async function run(given: PartialConfig): Promise<string> {
  const out = join(scratchFolder(), "out");
  const whole = { role: "cwm", model_name_or_path: base, output_dir: out, data: "-", dataloader_num_workers: 0 } as const;
  const c = wholeConfig({ ...whole, max_steps: 2, per_device_train_batch_size: 2, learning_rate: 1e-2, ...given });
  await trainRole(device, (model) => CodeStore.open(device, model), { ...roleOptions(c), base, data: [{ records, factor: 1 }] });
  return out;
}

/** Names of the language model's tensors that differ from the base's, with the rows that do. */
async function moved(folder: string): Promise<Map<string, number[]>> {
  const [before, after] = [await openCheckpoint(base), await openCheckpoint(folder)];
  const out = new Map<string, number[]>();
  for (const [name, { shape }] of after.tensors) {
    if (name.includes("vqmodel")) continue;
    const [a, b] = [await before.readFloat32(name), await after.readFloat32(name)];
    const C = a.length / shape[0];
    const rows = Array.from({ length: shape[0] }, (_, r) => r).filter((r) =>
      a.subarray(r * C, (r + 1) * C).some((v, i) => v !== b[r * C + i]),
    );
    if (rows.length) out.set(name, rows);
  }
  await before.close();
  await after.close();
  return out;
}

test("the head's picture rows alone, as Anole's", async () => {
  const changed = await moved(await run({ trainable_rows: "lm_head:4-67" }));
  assert.equal([...changed], [["lm_head.weight", Array.from({ length: 64 }, (_, i) => 4 + i)]]);
});

test("a pattern of parameters", async () => {
  const changed = await moved(await run({ trainable_parameters: ["layers\\.1\\.mlp\\.", "^model\\.norm\\."] }));
  assert.equal([...changed.keys()].sort(), [
    "model.layers.1.mlp.down_proj.weight",
    "model.layers.1.mlp.gate_proj.weight",
    "model.layers.1.mlp.up_proj.weight",
    "model.norm.weight",
  ]);
});

test("a table beside an adapter: saved whole, and loaded with it", async () => {
  const folder = await run({ use_peft: true, lora_r: 4, modules_to_save: ["lm_head"], dtype: "int4" });
  const file = await openAdapter(folder);
  assert.equal(file.config.modulesToSave, ["lm_head"]);
  const head = await file.readFloat32("lm_head.weight");
  await file.close();
  const { lm } = await loadModel(device, folder, { dtype: "int4" });
  assert.equal((await device.read(lm.lm_head.weight))[0], head);
  assert.is(lm.model.layers[0].mlp.up_proj.weight.dtype, "int4");
});

test("parameters without weight decay", async () => {
  const still = { trainable_parameters: ["norm\\.weight$"], learning_rate: 1e-9, weight_decay: 1e7 };
  const decayed = await moved(await run(still));
  const spared = await moved(await run({ ...still, no_decay: ["layernorm", "model\\.norm"] }));
  assert.ok(decayed.has("model.norm.weight") && decayed.get("model.norm.weight")!.length > 60);
  const rows = (m: Map<string, number[]>) => [...m].filter(([name]) => !/[qk]_norm/.test(name)).reduce((a, [, r]) => a + r.length, 0);
  assert.ok(rows(spared) < 0.1 * rows(decayed), `${rows(spared)} and ${rows(decayed)} values moved`);
});

for (const dtype of ["bf16", "f16"] as const)
  test(`${dtype} weights: ten steps equal five, save, load in a fresh model, five`, async () => {
    const config = tinyConfig();
    const source = shuffled(randomExamples(config, 7, 9, 1), 4);
    const fresh = async (seed: number): Promise<Chameleon> => {
      const lm = await createChameleon(device, config, new Rng(seed), { as: { dtype, groupSize: 64 } });
      setTrainable(lm, true);
      return lm;
    };
    const o = { ...defaultTraining, steps: 10, batch: 2, learningRate: 1e-3, logEvery: 1, saveEvery: 5 };
    const bits = async (lm: Chameleon) => device.read(...trainable(lm).values(), ...optimizerState(device, trainable(lm)).values());
    const whole = await fresh(3);
    const first = await train(device, whole, source, o);
    const folder = scratchFolder();
    const options = { run: { name: dtype } };
    const half = await fresh(3);
    const controller = new AbortController();
    const stopping = {
      ...source,
      batch: (i: number, size: number) => {
        if (i === 4) controller.abort();
        return source.batch(i, size);
      },
    };
    await train(device, half, stopping, o, { store: checkpointStore(device, trainable(half), folder, options), signal: controller.signal });
    const second = await fresh(99);
    const rest = await train(device, second, source, o, { store: checkpointStore(device, trainable(second), folder, options) });
    assert.is(rest.steps, 5);
    assert.ok(first.log[9].loss < first.log[0].loss);
    assert.equal(await bits(second), await bits(whole));
  });

test("choices that exclude each other are refused in one sentence", async () => {
  const whole = { role: "cdm", model_name_or_path: base, output_dir: "x", data: "y" } as const;
  assert.match(
    await messageOf(() => wholeConfig({ ...whole, use_peft: true, trainable_rows: "lm_head:4-8" })),
    /^use_peft trains an adapter, but/,
  );
  assert.match(
    await messageOf(() => wholeConfig({ ...whole, dtype: "int8", trainable_rows: "lm_head:4-8" })),
    /^dtype is "int8" but weights are to be trained/,
  );
  assert.match(
    await messageOf(() => run({ trainable_parameters: ["nothing like it"] })),
    /^trainable_parameters: nothing is called like nothing like it/,
  );
  assert.match(await messageOf(() => run({ trainable_parameters: ["("] })), /^trainable_parameters: "\(" is no regular expression/);
  assert.match(
    await messageOf(() => run({ trainable_rows: "lm_head:500-600" })),
    /^rows 500 to 600 of lm_head: they must lie within 0 to 511/,
  );
});

test.run();
