// The goldens command on the reference data: every answer is compared and within its limit, and one changed weight is noticed.

import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { checkGoldens } from "../cli/goldens.ts";
import { openDevice } from "../engine/node.ts";
import { chameleonSpecs } from "../models/chameleon.ts";
import { saveCheckpoint } from "../weights/checkpoint.ts";
import { imageTokenName, writeConfig } from "../weights/names.ts";
import { fromFloat32, saveSafetensors, type TensorData } from "../weights/safetensors.ts";
import { goldenPath } from "./goldens.ts";
import { referenceLogits, referenceTokenLosses } from "./reference_chameleon.ts";
import { scratchFolder, tinyConfig, tinyModel } from "./tiny_model.ts";

const device = await openDevice();

for (const name of ["tiny-mha", "tiny-gqa"]) {
  test(`goldens of ${name}: every row within its limit`, async () => {
    const { rows, unasked } = await checkGoldens(device, goldenPath(name));
    const missed = rows.filter((r) => !(r.error <= r.limit)).map((r) => `${r.quantity}: ${r.error} over ${r.limit}`);
    assert.equal(missed, []);
    for (const kind of [
      /^logits/,
      /^loss/,
      /^gradient .*q_norm\.bias/,
      /^adamw_clip parameters after step 5/,
      /^codes/,
      /^decoded pixels/,
      /^layer0\.attn_probs/,
      /^leftpad/,
      /^preprocess real_size/,
      /^enc\.mid/,
      /^dec\.up/,
      /^wide\.codes/,
      /^(bf16|sharded)\/: /,
      /^generation .*: ids/,
      /^generation greedy_masked: logits of each step/,
    ]) {
      assert.ok(
        rows.some((r) => kind.test(r.quantity)),
        `no row says ${kind}`,
      );
    }
    assert.equal(unasked, [], "answers that nothing was compared with");
    assert.is(
      rows.filter((r) => /^lora (gradient .*lora_[AB]|merged|adapter_config)/.test(r.quantity)).length,
      name === "tiny-mha" ? 31 : 0,
    );
    const gradients = rows.filter((r) => r.quantity.startsWith("gradient "));
    assert.is(gradients.length, 13 * 2 + 3);
  });
}

/** A copy of tiny-gqa with one weight changed; of the expected answers only those named. */
function broken(tensor: string, index: number, change: (v: number) => number, answers: readonly string[]): string {
  const folder = scratchFolder();
  for (const file of ["config.json", "model.safetensors", ...answers.map((a) => `expected/${a}`)])
    cpSync(goldenPath(`tiny-gqa/${file}`), join(folder, file));
  const path = join(folder, "model.safetensors");
  const bytes = readFileSync(path);
  const header = Number(bytes.readBigUInt64LE(0));
  const { data_offsets } = JSON.parse(bytes.toString("utf8", 8, 8 + header))[tensor] as { data_offsets: [number, number] };
  const at = 8 + header + data_offsets[0] + 4 * index;
  bytes.writeFloatLE(change(bytes.readFloatLE(at)), at);
  writeFileSync(path, bytes);
  return folder;
}

test("goldens of the tokenizer folder: every row within its limit", async () => {
  const { rows } = await checkGoldens(device, goldenPath("tokenizer"));
  assert.is(rows.length, 6);
  assert.equal(
    rows.filter((r) => r.error !== 0),
    [],
  );
});

test("goldens: one changed weight of the transformer is noticed", async () => {
  const folder = broken("model.layers.1.self_attn.k_norm.bias", 5, (v) => v + 0.05, ["lm.safetensors", "lm.json", "grads.safetensors"]);
  const missed = (await checkGoldens(device, folder)).rows.filter((r) => !(r.error <= r.limit)).map((r) => r.quantity);
  assert.ok(missed.includes("logits against f64"), missed.join());
  assert.ok(
    missed.some((q) => q.startsWith("gradient model.layers.1.self_attn.k_norm.bias")),
    missed.join(),
  );
});

test("goldens: one changed weight of the picture tokenizer is noticed", async () => {
  const folder = broken("model.vqmodel.decoder.norm_out.weight", 3, (v) => v * 1.1, ["vq_encode.safetensors", "vq_decode.safetensors"]);
  const { rows } = await checkGoldens(device, folder);
  assert.equal(
    rows
      .filter((r) => !(r.error <= r.limit))
      .map((r) => r.quantity)
      .filter((q) => !q.startsWith("wide.")),
    ["decoded pixels", "decoded pixels against f64"],
  );
});

/** A folder of another configuration with answers by the f64 reference: odd sizes, three query heads to a key head, picture ids in another order. */
async function otherConfiguration(): Promise<string> {
  const names: Record<string, number> = { "<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<eoss>": 4, "<racm3:break>": 5, "<image>": 6 };
  for (let code = 0; code < 20; code++) names[imageTokenName(code)] = 100 - 3 * code;
  const used = new Set(Object.values(names));
  for (let id = 0; id < 131; id++) if (!used.has(id)) names[`t${id}`] = id;
  const sizes = { hidden: 60, heads: 6, kvHeads: 2, intermediate: 52, layers: 3, vocabSize: 131, ropeTheta: 300, rmsNormEps: 1e-3 };
  const ids = { boiId: 5, eoiId: 4, imageTokenId: 6, vocabularyMap: names };
  const { config, weights } = await tinyModel(device, tinyConfig({ ...sizes, ...ids }), 9);
  const folder = scratchFolder();
  const floats = (name: string, shape: readonly number[], values: ArrayLike<number>): TensorData => ({
    ...{ name, dtype: "F32" as const, shape, data: fromFloat32(Float32Array.from(values), "F32") },
  });
  const tensors = chameleonSpecs(config).map(({ name, shape }) => floats(name, shape, weights.get(name)!));
  const processor = { image_seq_length: 5, image_token: "<image>" };
  await saveCheckpoint(
    folder,
    { config: writeConfig(config), tensors, files: { "processor_config.json": processor } },
    { overwrite: true },
  );

  const V = config.vocabSize;
  const rows = [0, 1].map((b) => Array.from({ length: 11 }, (_, t) => (t ? 7 + ((t * 29 + b * 13) % 120) : 0)));
  const logits = rows.flatMap((row) => [...referenceLogits(config, weights, row)]);
  const losses = rows.flatMap((row) => [...referenceTokenLosses(config, weights, row)]);
  mkdirSync(join(folder, "expected"));
  const at = (name: string) => join(folder, "expected", name);
  const input = new Uint8Array(Int32Array.from(rows.flat()).buffer);
  await saveSafetensors(at("lm.safetensors"), [
    { name: "input_ids", dtype: "I32", shape: [2, 11], data: input },
    floats("weights", [2, 11], Array(22).fill(1)),
    floats("logits_f64", [2, 11, V], logits),
    floats("token_ce_f64", [2, 10], losses),
  ]);
  writeFileSync(at("lm.json"), JSON.stringify({ loss_f64: losses.reduce((a, b) => a + b, 0) / losses.length }));
  const pictures = new Set(Array.from({ length: 20 }, (_, code) => 100 - 3 * code));
  const greedy = (prompt: number[], count: number, allows: (id: number, sequence: number[]) => boolean) => {
    const sequence = [...prompt];
    for (let i = 0; i < count && (i === 0 || sequence[sequence.length - 1] !== 2); i++) {
      const scores = Array.from(referenceLogits(config, weights, sequence).subarray(-V), (v, id) => (allows(id, sequence) ? v : -1e9));
      sequence.push(scores.indexOf(Math.max(...scores)));
    }
    return { prompt, max_new_tokens: count, new_ids: sequence.slice(prompt.length) };
  };
  const taking = (id: number, sequence: number[]) => {
    if (id === 5) return sequence.length < 4 + 16 - 5 - 1 && !sequence.slice(-5).includes(5);
    return sequence.slice(-5).includes(5) === pictures.has(id);
  };
  writeFileSync(
    at("generate.json"),
    JSON.stringify({
      greedy_masked: greedy([0, 9, 33], 12, (id) => !pictures.has(id)),
      unrestricted: greedy([0, 120], 12, () => true),
      "text-only": greedy([0, 17, 80, 21, 22], 12, (id) => !pictures.has(id) && id !== 4 && id !== 5),
      "interleaved-text-image": greedy([0, 50, 8, 5], 16, taking),
    }),
  );
  return folder;
}

test("goldens of another configuration, with answers by the f64 reference", async () => {
  const { rows, unasked } = await checkGoldens(device, await otherConfiguration());
  assert.equal(
    rows.filter((r) => !(r.error <= r.limit)).map((r) => `${r.quantity}: ${r.error}`),
    [],
  );
  assert.equal(unasked, []);
  assert.equal(
    rows.map((r) => r.quantity),
    [
      ...["loss against f64", "logits against f64", "token_ce against f64"],
      ...["greedy_masked", "unrestricted", "text-only", "interleaved-text-image"].map((mode) => `generation ${mode}: ids`),
    ],
  );
});

test.run();
