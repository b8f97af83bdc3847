// `worldline inspect`: counts of the published models (as headers over sparse files, no weights), memory, faults, abilities, and the command.

import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { pixelConfigOf } from "../cli/goldens/model_files.ts";
import { openDevice } from "../engine/node.ts";
import { chameleonSpecs } from "../models/chameleon.ts";
import { vqTensorSpecs } from "../models/vqgan_tensors.ts";
import { saveCheckpoint } from "../weights/checkpoint.ts";
import { dtypeBytes } from "../weights/dtypes.ts";
import { parseConfig } from "../weights/names.ts";
import { inspect } from "../world/inspect.ts";
import { loadPictures } from "../world/model.ts";
import { goldenPath } from "./goldens.ts";
import { scratchFolder } from "./tiny_model.ts";

const scratch = scratchFolder();

/** A model folder of the given configuration whose weights are a hole in the disk: language model BF16, picture model F32, as published. */
async function hollow(name: string, json: Record<string, unknown>, decoder: boolean): Promise<string> {
  const folder = join(scratch, name);
  const config = parseConfig(json);
  const tensors = [
    ...chameleonSpecs(config).map((t) => ({ ...t, dtype: "BF16" as const })),
    ...vqTensorSpecs(config.vq!, true)
      .filter((t) => decoder || !t.name.startsWith("decoder."))
      .map((t) => ({ name: `model.vqmodel.${t.name}`, shape: t.shape, dtype: "F32" as const })),
  ];
  const entries: Record<string, unknown> = {};
  let at = 0;
  for (const { name, shape, dtype } of tensors)
    entries[name] = { dtype, shape, data_offsets: [at, (at += dtypeBytes[dtype] * shape.reduce((a, b) => a * b, 1))] };
  await saveCheckpoint(folder, { config: json, tensors: [] });
  const header = Buffer.from(JSON.stringify(entries));
  const head = Buffer.alloc(8);
  head.writeBigUInt64LE(BigInt(header.length));
  writeFileSync(join(folder, "model.safetensors"), Buffer.concat([head, header]));
  truncateSync(join(folder, "model.safetensors"), 8 + header.length + at);
  return folder;
}

const published = { model_type: "chameleon", vq_config: { attn_resolutions: [], model_type: "chameleon_vqgan" } };
const large = { hidden_size: 8192, intermediate_size: 22016, num_hidden_layers: 48, num_attention_heads: 64, num_key_value_heads: 8 };

test("7B: tensors, parameters, memory, and that it cannot draw", async () => {
  const found = await inspect(await hollow("7b", published, false));
  const [lm, encoder, all] = found.parts;
  assert.equal([lm.tensors, encoder.tensors, all.tensors], [419, 129, 548]);
  assert.equal([lm.parameters, encoder.parameters], [7_013_666_816, 29_423_616]);
  assert.is(all.bytes, 2 * 7_013_666_816 + 4 * 29_423_616);
  assert.equal(lm.dtypes, { BF16: 7_013_666_816 });
  assert.equal(found.faults, []);
  const memory = Object.fromEntries(found.memory!.map((m) => [m.dtype, m.languageModel]));
  const matrices = 7_013_666_816 - 32 * (2 * 4096 + 4 * 32 * 128) - 4096;
  const rest = 4 * (7_013_666_816 - matrices);
  assert.is(memory.f32, 4 * 7_013_666_816);
  assert.is(memory.bf16, 2 * matrices + rest);
  assert.is(memory.int8, matrices + (4 * matrices) / 64 + rest);
  assert.is(memory.int4, matrices / 2 + (4 * matrices) / 64 + rest);
  assert.is(found.cachePerToken, 2 * 32 * 4096 * 4);
  const draw = found.abilities!.find((a) => a.ability === "draw pictures")!;
  assert.not.ok(draw.can);
  assert.match(draw.why, /no VQ decoder, as the official ones; an Anole conversion \(leloy\/Anole-7b-v0\.1-hf\)/);
});

test("30B, and a conversion with decoder that can draw", async () => {
  const found = await inspect(await hollow("30b", { ...published, ...large, swin_norm: true, model_parallel_size: 4 }, true));
  assert.equal(
    found.parts.map((p) => [p.tensors, p.parameters]),
    [
      [627, 34_294_308_864],
      [129, 29_423_616],
      [164, 39_294_851],
      [627 + 293, 34_294_308_864 + 68_718_467],
    ],
  );
  assert.ok(found.abilities!.find((a) => a.ability === "draw pictures")!.can);
});

test("a folder as transformers 5 writes it, the picture processor inside processor_config.json, is read as the older one", async () => {
  const [old, nested] = [goldenPath("tiny-mha"), join(scratch, "v5")];
  cpSync(old, nested, { recursive: true, filter: (path) => !/expected|lora|bf16$/.test(path.slice(old.length)) });
  const processor = JSON.parse(readFileSync(join(nested, "preprocessor_config.json"), "utf8")) as Record<string, unknown>;
  rmSync(join(nested, "preprocessor_config.json"));
  writeFileSync(join(nested, "processor_config.json"), JSON.stringify({ image_token: "<image>", image_processor: processor }));
  assert.equal(await pixelConfigOf(nested), await pixelConfigOf(old));
  assert.equal((await loadPictures(await openDevice(), nested)).coder.pixels, (await loadPictures(await openDevice(), old)).coder.pixels);
  const [a, b] = [await inspect(old), await inspect(nested)];
  assert.equal([b.faults, b.abilities], [a.faults, a.abilities]);
});

test("what does not fit together is listed", async () => {
  const folder = join(scratch, "odd");
  cpSync(goldenPath("tiny-mha"), folder, { recursive: true });
  const config = JSON.parse(readFileSync(join(folder, "config.json"), "utf8")) as Record<string, unknown>;
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, num_hidden_layers: 3, intermediate_size: 180 }));
  const tokenizer = JSON.parse(readFileSync(join(folder, "tokenizer.json"), "utf8")) as { added_tokens: { id: number; content: string }[] };
  tokenizer.added_tokens.push({ ...tokenizer.added_tokens[0], id: 9000, content: "<new>" });
  writeFileSync(join(folder, "tokenizer.json"), JSON.stringify(tokenizer));
  writeFileSync(join(folder, "generation_config.json"), '{"temperature": -1}');
  const { faults } = await inspect(folder);
  assert.match(faults[0], /generation_config\.json: temperature is -1, a number from 0 to 1000 is needed/);
  assert.match(faults[1], /tokenizer\.json: "<new>" has the id 9000, the model's vocabulary ends at 511; .* do not belong together$/);
  assert.match(faults[2], /^13 tensors are missing: model\.layers\.2\..* and 10 more; the checkpoint is not whole$/);
  assert.match(faults[3], /^6 tensors do not fit config\.json: .*gate_proj\.weight is \[176, 64\], \[180, 64\] is needed/);
  writeFileSync(join(folder, "config.json"), JSON.stringify({ ...config, num_hidden_layers: 1, vocabulary_map: null }));
  rmSync(join(folder, "generation_config.json"));
  assert.match((await inspect(folder).catch((e: Error) => ({ faults: [e.message] }))).faults[0], /"<new>" has the id 9000, outside/);
  cpSync(goldenPath("tiny-mha/tokenizer.json"), join(folder, "tokenizer.json"));
  const whole = await inspect(folder);
  assert.equal(whole.faults.length, 1);
  assert.match(whole.faults[0], /^13 tensors belong to no part of a Chameleon model: model\.layers\.1\..*they are left unread$/);
  assert.equal([whole.config!.bosId, whole.config!.boiId], [0, 69], "without vocabulary_map the tokenizer's names count");
});

test("an adapter and a lone file are listed as tensors", async () => {
  const adapter = await inspect(goldenPath("tiny-mha/lora"));
  assert.equal([adapter.kind, adapter.tensors.length, adapter.parts[0].parameters], ["tensors", 28, 9856]);
  const file = await inspect(goldenPath("tiny-mha/model.safetensors"));
  assert.equal([file.kind, file.metadata.format], ["tensors", "pt"]);
});

test("the command prints all of it, as a table or as JSON", () => {
  const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
  const run = (...args: string[]) => execFileSync(process.execPath, ["--import", "tsx", main, "inspect", ...args], { encoding: "utf8" });
  const table = run(goldenPath("tiny-mha/bf16"));
  assert.match(table, /^model\.layers\.\*\.self_attn\.q_proj\.weight \(2\) +\[64, 64\] +BF16 +16\.0 KiB$/m);
  assert.match(table, /^language model +29 +166,720 +325\.6 KiB +BF16$/m);
  assert.match(table, /^int8, groups of 64 +175\.5 KiB/m);
  assert.match(table, /^draw pictures +no: the files hold no VQ decoder.*Anole/m);
  const json = JSON.parse(run(goldenPath("tiny-gqa/sharded"), "--json")) as { tensors: { file: string }[]; abilities: { can: boolean }[] };
  assert.is(new Set(json.tensors.map((t) => t.file)).size, 3);
  assert.is(json.abilities[3].can, true);
});

test.run();
