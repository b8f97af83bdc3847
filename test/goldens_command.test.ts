// The goldens command on the reference data: every answer is compared and within its limit, and one changed weight is noticed.

import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { checkGoldens } from "../cli/goldens.ts";
import { openDevice } from "../engine/node.ts";
import { goldenPath } from "./goldens.ts";
import { scratchFolder } from "./tiny_model.ts";

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

test.run();
