// Model folders that are adapters: their base is found beside them, two over one base hold it once in device memory and answer each for itself, and one that
// names nothing or something missing is said.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import { type Chameleon, plainPositions, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import { adapterData, createAdapter } from "../models/lora.ts";
import { defaultLora, saveAdapter } from "../weights/adapter.ts";
import { CodeStore } from "../world/codes.ts";
import { loadLanguageModel, loadModel } from "../world/model.ts";
import { writePng } from "../world/pictures.ts";
import { predict } from "../world/predictions.ts";
import { floats, goldenPath, goldenTensors } from "./goldens.ts";
import { messageOf, scratchFolder } from "./tiny_model.ts";

const device = await openDevice();
const ids = Uint32Array.from({ length: 12 }, (_, i) => 80 + 7 * i);

async function logits(lm: Chameleon): Promise<Float32Array> {
  const tape = new Tape(device);
  const inputs = sequenceInputs(tape, 1, ids.length);
  const out = tape.keep(lm.logits(lm.forward(inputs.ids, inputs.positions, ropeFor(device, lm.config, ids.length), selfAttention())));
  const plan = await tape.plan();
  const [values] = await plan.write("ids", ids).write("positions", plainPositions(1, ids.length)).run().read(out);
  plan.destroy();
  return values as Float32Array;
}

/** A folder with a base, and two adapters in folders beside it that name it in two ways. */
async function threeFolders(): Promise<{ base: string; first: string; second: string }> {
  const root = scratchFolder();
  const base = join(root, "base");
  mkdirSync(base);
  for (const file of [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "preprocessor_config.json",
    "processor_config.json",
    "generation_config.json",
  ])
    cpSync(goldenPath(`tiny-mha/${file}`), join(base, file));
  const { config } = await loadLanguageModel(device, base);
  const write = async (name: string, seed: number, at: string) => {
    const settings = { ...defaultLora, rank: 4, base: at };
    const adapter = await createAdapter(device, config, settings, new Rng(seed, "adapter"));
    for (const { B } of adapter.pairs.values()) device.write(B, new Rng(seed, B.name).normals(B.size, 0.2));
    await saveAdapter(join(root, name), settings, await adapterData(device, adapter));
    return join(root, name);
  };
  return { base, first: await write("first", 1, "../base"), second: await write("second", 2, base) };
}

const folders = await threeFolders();
writeFileSync(join(folders.second, "prompt.json"), "{}\n");

test("the published adapter's folder loads with its base and gives the published logits", async () => {
  const { lm } = await loadLanguageModel(device, goldenPath("tiny-mha/lora"));
  const [file, answers] = [
    await goldenTensors("tiny-mha/expected/lm.safetensors"),
    await goldenTensors("tiny-mha/expected/lora.safetensors"),
  ];
  const [B, T] = file.tensors.get("input_ids")!.shape;
  const { toIntegers } = await import("../weights/safetensors.ts");
  const words = Uint32Array.from(toIntegers(await file.read("input_ids"), file.tensors.get("input_ids")!.dtype));
  const tape = new Tape(device);
  const inputs = sequenceInputs(tape, B, T);
  const out = tape.keep(lm.logits(lm.forward(inputs.ids, inputs.positions, ropeFor(device, lm.config, T), selfAttention())));
  const plan = await tape.plan();
  const [got] = await plan.write("ids", words).write("positions", plainPositions(B, T)).run().read(out);
  const want = await floats(answers, "logits");
  assert.ok(want.every((v, i) => Math.abs(v - got[i]) < 2e-4));
  plan.destroy();
  await file.close();
  await answers.close();
});

test("two adapters over one base hold the base and the picture tokenizer once", async () => {
  const none = device.memory().weights ?? 0;
  const alone = await loadModel(device, folders.base);
  const one = (device.memory().weights ?? 0) - none;
  const first = await loadModel(device, folders.first, { beside: alone });
  const second = await loadModel(device, folders.second, { beside: first });
  const again = await loadModel(device, folders.base, { beside: second });
  assert.is((device.memory().weights ?? 0) - none, one, "weights on the device");
  assert.ok(first.lm.model.layers[1].mlp.up_proj.weight === second.lm.model.layers[1].mlp.up_proj.weight);
  assert.equal([again.folder, again.files["prompt.json"]], [folders.base, undefined], "the base has its own small files");
  assert.ok(second.files["prompt.json"] !== undefined);
  assert.ok(first.vqgan === second.vqgan && first.folder === folders.first && second.folder === folders.second);
  const [of0, of1, of2, of3] = [await logits(alone.lm), await logits(first.lm), await logits(second.lm), await logits(again.lm)];
  assert.equal(of3, of0, "the base beside an adapter answers as the base");
  assert.ok(
    of1.some((v, i) => Math.abs(v - of0[i]) > 0.1) && of2.some((v, i) => Math.abs(v - of1[i]) > 0.1),
    "each adapter changes the answer",
  );
  const apart = await loadModel(device, folders.second);
  assert.ok((device.memory().weights ?? 0) - none > 1.5 * one, "a model loaded alone has weights of its own");
  assert.equal(await logits(apart.lm), of2);
});

test("a base in another type is not shared", async () => {
  const whole = await loadModel(device, folders.base);
  const half = await loadModel(device, folders.first, { beside: whole, dtype: "bf16" });
  assert.is(half.lm.model.layers[0].mlp.up_proj.weight.dtype, "bf16");
  assert.is(whole.lm.model.layers[0].mlp.up_proj.weight.dtype, "f32");
});

test("a world model draws and a dynamics model scores, two adapters in one process", async () => {
  const cwm = await loadModel(device, folders.first);
  const before = device.memory().weights;
  const cdm = await loadModel(device, folders.second, { beside: cwm });
  assert.is(device.memory().weights, before);
  const picture = join(scratchFolder(), "source.png");
  const { width, height } = { width: 32, height: 32 };
  await writePng(picture, { width, height, channels: 3, data: Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * 37) % 256) });
  const codes = await CodeStore.open(device, cwm);
  await codes.add([picture]);
  const record = { id: "a", source: picture, target: picture, action: "move it" };
  const sampling = { candidates: 2, temperature: 1, topP: 1, seed: 1, batch: 1 };
  const [p] = await predict(device, cwm, cdm, codes, [record], sampling);
  assert.is(p.candidates.length, 2);
  assert.ok(p.scores.length === 2 && p.scores.every(Number.isFinite), `scores ${p.scores}`);
});

test("an adapter without a base, or with one that is not there, is refused in one sentence", async () => {
  const folder = join(scratchFolder(), "lost");
  cpSync(folders.first, folder, { recursive: true });
  const path = join(folder, "adapter_config.json");
  const config = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
  writeFileSync(path, JSON.stringify({ ...config, base_model_name_or_path: null }));
  assert.match(await messageOf(() => loadModel(device, folder)), /adapter_config.json names no base; set base_model_name_or_path/);
  writeFileSync(path, JSON.stringify({ ...config, base_model_name_or_path: "../nowhere/at/all" }));
  assert.match(await messageOf(() => loadModel(device, folder)), /nowhere/);
});

test.run();
