// `worldline convert` and `worldline tokenize`: element types against torch's own rounding, Meta's order against rotary attention by hand, shards, merged
// adapters against PEFT's, and the commands.

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { openCheckpoint, saveCheckpoint } from "../weights/checkpoint.ts";
import { fileSource } from "../weights/file_source.ts";
import { fromMeta, toMeta } from "../weights/meta_order.ts";
import { quantizeRows, rowBytes, rowGroups } from "../weights/quantize.ts";
import { openSafetensors, saveSafetensors, type TensorData, toFloat32, writeSafetensors } from "../weights/safetensors.ts";
import { saveShards } from "../weights/safetensors_write.ts";
import { bytesOf, storedTensors, type TensorStream } from "../weights/stream.ts";
import { convertModel } from "../world/convert.ts";
import { inspect } from "../world/inspect.ts";
import { goldenPath, goldenTensors } from "./goldens.ts";
import { scratchFolder, tinyConfig } from "./tiny_model.ts";

const scratch = scratchFolder();
const at = (name: string) => join(scratch, name);
const mha = goldenPath("tiny-mha");

/** Name -> dtype, shape and bytes of a model folder. */
async function contents(folder: string): Promise<Map<string, string>> {
  const checkpoint = await openCheckpoint(folder);
  const found = new Map<string, string>();
  for (const t of storedTensors(checkpoint))
    found.set(t.name, `${t.dtype} ${t.shape.join()} ${Buffer.from(await bytesOf(t)).toString("base64")}`);
  await checkpoint.close();
  return found;
}

async function messageOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => assert.unreachable("nothing was thrown"),
    (e: unknown) => e,
  );
  assert.instance(error, WorldlineError, String((error as Error).stack));
  return (error as Error).message;
}

test("bf16 is torch's rounding bit for bit, and comes back as f32; the picture model stays as it is", async () => {
  await convertModel(mha, at("bf16"), { dtype: "bf16" });
  const [ours, golden, whole] = [await contents(at("bf16")), await contents(goldenPath("tiny-mha/bf16")), await contents(mha)];
  for (const [name, value] of golden) assert.ok(ours.get(name) === value, name);
  for (const [name, value] of whole) assert.is(ours.get(name) === value, name.startsWith("model.vqmodel."), name);
  const config = JSON.parse(readFileSync(join(at("bf16"), "config.json"), "utf8")) as { torch_dtype: string };
  assert.is(config.torch_dtype, "bfloat16");
  await convertModel(at("bf16"), at("f32"), { dtype: "f32" });
  const [back, half] = [await openCheckpoint(at("f32")), await openCheckpoint(at("bf16"))];
  for (const name of back.tensors.keys()) assert.equal(await back.readFloat32(name), await half.readFloat32(name), name);
  await convertModel(mha, at("f16"), { dtype: "f16", pictureDtype: "BF16" });
  const mixed = await openCheckpoint(at("f16"));
  assert.is(mixed.tensors.get("lm_head.weight")?.dtype, "F16");
  assert.is(mixed.tensors.get("model.vqmodel.encoder.conv_in.weight")?.dtype, "BF16");
  for (const c of [back, half, mixed]) await c.close();
});

test("values beyond f16 are refused, and leave no folder", async () => {
  const source = await openCheckpoint(mha);
  const tensors = [...source.tensors.values()].map((t) => ({
    ...t,
    data: async () => {
      const bytes = (await source.read(t.name)).slice();
      if (/lm_head|conv_in/.test(t.name)) new Float32Array(bytes.buffer, bytes.byteOffset, 1)[0] = 70000;
      return bytes;
    },
  }));
  await saveCheckpoint(at("large"), { config: source.config, tensors });
  await source.close();
  for (const options of [{ dtype: "f16" }, { pictureDtype: "F16" }] as const) {
    assert.match(
      await messageOf(convertModel(at("large"), at("large f16"), options)),
      /: the value 70000 is beyond f16, which ends at 65504; choose bf16 or f32$/,
    );
    assert.not.ok(existsSync(at("large f16")));
  }
});

test("all the small files go along; folder and target must differ; an existing target is kept", async () => {
  for (const name of readdirSync(mha).filter((n) => n.endsWith(".json") && n !== "config.json"))
    assert.equal(readFileSync(join(at("bf16"), name)), readFileSync(join(mha, name)), name);
  assert.match(await messageOf(convertModel(mha, mha, {})), /a model cannot be converted onto itself/);
  const before = readFileSync(join(at("bf16"), "model.safetensors"));
  assert.match(await messageOf(convertModel(mha, at("bf16"), {})), /there is something at this path already/);
  assert.equal(readFileSync(join(at("bf16"), "model.safetensors")), before);
  const broken = convertModel(mha, at("bf16"), {
    overwrite: true,
    onProgress: (done) => {
      if (done > 100_000) throw new WorldlineError("enough");
    },
  });
  assert.is(await messageOf(broken), "enough");
  assert.equal(readFileSync(join(at("bf16"), "model.safetensors")), before);
  assert.equal(
    readdirSync(scratch).filter((n) => n.includes(".tmp")),
    [],
  );
});

test("shards hold what the whole file holds, none above its size but for single tensors, with an index as transformers writes it", async () => {
  await convertModel(mha, at("shards"), { shardBytes: 300_000 });
  const files = readdirSync(at("shards")).filter((n) => n.endsWith(".safetensors"));
  assert.ok(files.length > 5);
  assert.ok(
    files.every((n) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(n) && n.includes(`-of-${String(files.length).padStart(5, "0")}`)),
  );
  assert.equal(await contents(at("shards")), await contents(mha));
  const index = JSON.parse(readFileSync(join(at("shards"), "model.safetensors.index.json"), "utf8")) as {
    metadata: { total_size: number };
    weight_map: Record<string, string>;
  };
  const file = await goldenTensors("tiny-mha/model.safetensors");
  assert.is(
    index.metadata.total_size,
    [...file.tensors.values()].reduce((sum, t) => sum + t.end - t.begin, 0),
  );
  assert.is(Object.keys(index.weight_map).length, file.tensors.size);
  for (const name of files) {
    const shard = await openSafetensors(await fileSource(join(at("shards"), name)), name);
    assert.is(shard.metadata.format, "pt");
    const bytes = [...shard.tensors.values()].reduce((sum, t) => sum + t.end - t.begin, 0);
    assert.ok(bytes <= 300_000 || shard.tensors.size === 1, name);
    await shard.close();
  }
  await file.close();
});

test("a tensor that comes in pieces is checked: too few, too many; names twice in two shards", async () => {
  const pieces = (...sizes: number[]): TensorData => ({
    name: "a",
    dtype: "F32",
    shape: [4],
    data: async function* () {
      for (const n of sizes) yield new Uint8Array(n).fill(n);
    },
  });
  const file = await writeSafetensors([pieces(4, 12)]);
  assert.equal([...file.slice(-16)], [4, 4, 4, 4, ...Array(12).fill(12)]);
  assert.match(await messageOf(writeSafetensors([pieces(4, 4)])), /needs 16 bytes, 8 were given/);
  assert.match(await messageOf(saveSafetensors(at("x.safetensors"), [pieces(8, 12)])), /needs 16 bytes, 20 were given/);
  assert.not.ok(existsSync(at("x.safetensors")));
  assert.match(await messageOf(saveShards(scratch, [pieces(16), pieces(16)], 16)), /two tensors are named "a"/);
});

test("Meta's order and back is the identity; one QK-norm row stands for equal ones", async () => {
  for (const folder of ["tiny-mha", "tiny-gqa"]) {
    await convertModel(goldenPath(folder), at(`${folder} meta`), { names: "meta" });
    await convertModel(at(`${folder} meta`), at(`${folder} back`), {});
    assert.equal(await contents(at(`${folder} back`)), await contents(goldenPath(folder)), folder);
  }
  const rows = await openCheckpoint(mha);
  const tensors = [...rows.tensors.values()].map((t) => {
    const norm = /_norm\./.test(t.name);
    const data = async () => (await rows.read(t.name)).subarray(0, norm ? 64 : undefined);
    return { ...t, shape: norm ? [1, 16] : t.shape, data };
  });
  await saveCheckpoint(at("one row"), { config: rows.config, tensors });
  await rows.close();
  await convertModel(at("one row"), at("one row meta"), { names: "meta" });
  await convertModel(at("one row meta"), at("one row back"), {});
  assert.equal(await contents(at("one row back")), await contents(mha));
  const [one, two] = [await openCheckpoint(at("tiny-mha meta")), await openCheckpoint(at("tiny-gqa meta"))];
  assert.equal(one.tensors.get("layers.0.attention.q_normalization.weight")?.shape, [16]);
  assert.equal(two.tensors.get("layers.0.attention.q_normalization.weight")?.shape, [4, 16]);
  assert.ok(one.has("layers.1.feed_forward.w3.weight") && one.has("tok_embeddings.weight") && one.has("output.weight"));
  assert.ok(one.has("model.vqmodel.encoder.conv_in.weight"));
  for (const c of [one, two]) await c.close();
  assert.match((await inspect(at("tiny-mha meta"))).faults[0], /Meta's names and row order; worldline convert/);
  const derived = await inspect(at("one row"));
  assert.equal(derived.faults, [], "one QK-norm row for all heads is no fault");
});

test("neighbouring pairs in Meta's order give the scores that halves give in ours", async () => {
  const config = tinyConfig({ hidden: 24, heads: 4, kvHeads: 2 });
  const { heads: N, kvHeads: K, headDim: D, hidden: H } = config;
  const rng = new Rng(3, "meta");
  const stream = (name: string, ...shape: number[]): TensorStream => {
    const bytes = new Uint8Array(
      rng.normals(
        shape.reduce((a, b) => a * b, 1),
        1,
      ).buffer,
    );
    return {
      name,
      dtype: "F32",
      shape,
      pieces: async function* () {
        yield bytes;
      },
    };
  };
  const meta = [
    stream("layers.0.attention.wq.weight", N * D, H),
    stream("layers.0.attention.wk.weight", K * D, H),
    // Two ranks of model parallelism: heads 0, 1 share a row, 2, 3 the other; keys have one row each.
    ...["weight", "bias"].flatMap((w) => [
      stream(`layers.0.attention.q_normalization.${w}`, 2, D),
      stream(`layers.0.attention.k_normalization.${w}`, 2, D),
    ]),
  ];
  const values = async (list: readonly TensorStream[], name: string) => toFloat32(await bytesOf(list.find((t) => t.name === name)!), "F32");
  const ours = fromMeta(meta, config);
  const x = rng.normals(2 * H, 1);
  /** Rotated, normed query or key of a head at position p. */
  const head = async (side: "q" | "k", h: number, p: number, order: "meta" | "hf"): Promise<number[]> => {
    const list = order === "meta" ? meta : ours;
    const at = order === "meta" ? "layers.0.attention." : "model.layers.0.self_attn.";
    const w = await values(list, order === "meta" ? `${at}w${side}.weight` : `${at}${side}_proj.weight`);
    const norm = (part: string) => values(list, order === "meta" ? `${at}${side}_normalization.${part}` : `${at}${side}_norm.${part}`);
    const [weight, bias] = [await norm("weight"), await norm("bias")];
    const row = order === "meta" ? Math.floor((h * 2) / (side === "q" ? N : K)) : h;
    const raw = Array.from({ length: D }, (_, j) => x.subarray(p * H, (p + 1) * H).reduce((s, v, c) => s + v * w[(h * D + j) * H + c], 0));
    const mean = raw.reduce((a, b) => a + b) / D;
    const deviation = Math.sqrt(raw.reduce((s, v) => s + (v - mean) ** 2, 0) / D + 1e-5);
    const a = raw.map((v, j) => ((v - mean) / deviation) * weight[row * D + j] + bias[row * D + j]);
    const out = [...a];
    for (let j = 0; j < D / 2; j++) {
      const angle = (p + 3) * 1000 ** ((-2 * j) / D);
      const [l, r] = order === "meta" ? [2 * j, 2 * j + 1] : [j, j + D / 2];
      out[l] = a[l] * Math.cos(angle) - a[r] * Math.sin(angle);
      out[r] = a[r] * Math.cos(angle) + a[l] * Math.sin(angle);
    }
    return out;
  };
  for (let h = 0; h < N; h++) {
    const score = async (order: "meta" | "hf") => {
      const [q, k] = [await head("q", h, 1, order), await head("k", Math.floor((h * K) / N), 0, order)];
      return q.reduce((s, v, j) => s + v * k[j], 0);
    };
    const [a, b] = [await score("meta"), await score("hf")];
    assert.ok(Math.abs(a - b) < 1e-10 && Math.abs(a) > 1e-3, `head ${h}: ${a} and ${b}`);
  }
  const back = await toMeta(ours, config);
  assert.equal(await values(back, "layers.0.attention.wq.weight"), await values(meta, "layers.0.attention.wq.weight"));
});

test("an adapter is merged as PEFT merges it, rounded once", async () => {
  const result = await convertModel(mha, at("merged"), { adapter: goldenPath("tiny-mha/lora") });
  assert.is(result.merged, 14);
  const [merged, golden] = [await openCheckpoint(at("merged")), await goldenTensors("tiny-mha/expected/lora.safetensors")];
  for (const [name, weight] of [
    ["merged.layer0.q_proj.weight", "model.layers.0.self_attn.q_proj.weight"],
    ["merged.layer1.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight"],
  ]) {
    const [ours, theirs] = [await merged.readFloat32(weight), toFloat32(await golden.read(name), "F32")];
    assert.ok(
      ours.every((v, i) => Math.abs(v - theirs[i]) < 1e-6),
      name,
    );
  }
  await golden.close();
  await merged.close();
  await convertModel(mha, at("merged bf16"), { adapter: goldenPath("tiny-mha/lora"), dtype: "bf16" });
  await convertModel(at("merged"), at("rounded"), { dtype: "bf16" });
  assert.equal(await contents(at("merged bf16")), await contents(at("rounded")));
  assert.match(
    await messageOf(convertModel(goldenPath("tiny-gqa"), at("no"), { adapter: goldenPath("tiny-mha/lora") })),
    /belongs? to another base/,
  );
  assert.not.ok(existsSync(at("no")));
});

test("quantised: the layout and numbers of the quantiser, a group cut short, merged and from Meta's order, sharded, inspected, and back to floats", async () => {
  const scheme = { bits: 4, groupSize: 32 } as const;
  const as = { dtype: "int4", groupSize: 32, adapter: goldenPath("tiny-mha/lora"), shardBytes: 200_000 } as const;
  await convertModel(mha, at("int4"), as);
  await convertModel(at("tiny-mha meta"), at("int4 of meta"), as);
  assert.equal(await contents(at("int4")), await contents(at("int4 of meta")));
  const [quantised, merged] = [await openCheckpoint(at("int4")), await openCheckpoint(at("merged"))];
  for (const name of ["model.embed_tokens.weight", "model.layers.1.mlp.down_proj.weight", "lm_head.weight"]) {
    const { shape } = merged.tensors.get(name)!;
    const values = await merged.readFloat32(name);
    const out = { bits: new Uint8Array(shape[0] * rowBytes(shape[1], 4)), scales: new Float32Array(shape[0] * rowGroups(shape[1], 32)) };
    quantizeRows(values, shape[1], scheme, out);
    assert.equal(await quantised.read(name), out.bits, name);
    assert.equal(toFloat32(await quantised.read(`${name}.scales`), "F32"), out.scales, name);
  }
  await convertModel(at("int4"), at("int4 whole"), {});
  assert.equal(await contents(at("int4 whole")), await contents(at("int4")), "only the shards change");
  await convertModel(at("int4"), at("int4 as f32"), { dtype: "f32" });
  const floats = await openCheckpoint(at("int4 as f32"));
  assert.equal([...floats.tensors.keys()].sort(), [...merged.tensors.keys()].sort());
  for (const name of floats.tensors.keys()) assert.equal(await floats.readFloat32(name), await quantised.readFloat32(name), name);
  assert.match(
    await messageOf(convertModel(at("int4"), at("no"), { dtype: "int8" })),
    /is quantised already; start from the model it was made of/,
  );
  assert.match(await messageOf(convertModel(mha, at("no"), { dtype: "int8", names: "meta" })), /leave --names meta out/);
  assert.match(await messageOf(convertModel(mha, at("no"), { dtype: "int8", groupSize: 12 })), /the group size is 12; a power of two/);
  assert.not.ok(existsSync(at("no")));
  const found = await inspect(at("int4"));
  assert.equal([found.faults, found.quantization, found.parts[0].parameters], [[], "int4, groups of 32", 166_720]);
  assert.equal(found.tensors.find((t) => t.name === "lm_head.weight")?.shape, [512, 64]);
  for (const c of [quantised, merged, floats]) await c.close();
});

const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
const command = (args: readonly string[], input?: string | Uint8Array) =>
  spawnSync(process.execPath, ["--import", "tsx", main, ...args], { input, encoding: "utf8" });

test("the command converts, and says what it did", () => {
  const run = command([
    "convert",
    "-m",
    mha,
    "--out",
    at("by command"),
    "--dtype",
    "bf16",
    "--adapter",
    goldenPath("tiny-mha/lora"),
    "--shard-size",
    "1MB",
  ]);
  assert.is(run.status, 0, run.stderr);
  assert.match(run.stderr, /by command: 182 tensors, adapter merged into 14, 3\.4 MB in /);
  assert.ok(existsSync(join(at("by command"), "model.safetensors.index.json")));
});

test("tokenize gives ids and tokens, and text back byte for byte", () => {
  const tokenize = (args: readonly string[], input?: string | Uint8Array) => command(["tokenize", "-m", mha, ...args], input);
  const text = readFileSync(new URL("./tokenizer.test.ts", import.meta.url), "utf8").slice(0, 20_000);
  const ids = tokenize([], text);
  assert.is(ids.status, 0, ids.stderr);
  assert.is(tokenize(["--decode"], ids.stdout).stdout, text);
  assert.match(tokenize(["--bos", "--tokens", "<image>a"]).stdout, /^0\t<s>\n75\t<image>\n\d+\ta\n$/);
  assert.not.match(tokenize(["--plain", "--tokens", "<image>"]).stdout, /<image>/);
  assert.is(tokenize(["--decode", "--skip-special", "[0, 75]"]).stdout, "");
  writeFileSync(at("text"), text);
  assert.is(tokenize(["--in", at("text"), "--out", at("ids")]).stdout, "");
  assert.is(readFileSync(at("ids"), "utf8"), ids.stdout);
  for (const [args, input, sentence] of [
    [["--decode", "a b"], undefined, /^"a" is no token id; ids are whole numbers from 0 up$/m],
    [["--decode", "99999"], undefined, /^the id 99999 has no token/m],
    [["--skip-special", "a"], undefined, /^--skip-special has no meaning without --decode; leave it out$/m],
    [[], Uint8Array.of(0xff), /^standard input is not UTF-8 text; save it as UTF-8$/m],
    [["--in", at("nowhere")], undefined, /nowhere: there is no such file or folder; check the path$/m],
  ] as const) {
    const run = tokenize(args, input);
    assert.is(run.status, 1);
    assert.match(run.stderr, sentence);
  }
});

test.run();
