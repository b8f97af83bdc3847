// File formats: safetensors reader and writer, float conversions, model folders, config.json. Long because every fault has its row.
// Run: node --import tsx test/weights.test.ts

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { openCheckpoint, saveCheckpoint } from "../weights/checkpoint.ts";
import { fileSource, writeFileAtomic } from "../weights/file_source.ts";
import {
  hasVqDecoder,
  imageCode,
  imageTokenName,
  imageTokenTable,
  parseConfig,
  vocabularyFromTokenizer,
  vqPrefix,
  writeConfig,
} from "../weights/names.ts";
import {
  type Dtype,
  fromFloat32,
  memorySource,
  openSafetensors,
  saveSafetensors,
  type TensorData,
  toFloat32,
  toIntegers,
  writeSafetensors,
} from "../weights/safetensors.ts";
import { memoryFolder, parseJsonObject } from "../weights/source.ts";
import { goldenJson, goldenPath, goldenTensors } from "./goldens.ts";

const folder = mkdtempSync(join(tmpdir(), "worldline-weights-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** The message of the WorldlineError that `run` throws; any other outcome fails. */
async function messageOf(run: () => unknown): Promise<string> {
  try {
    await run();
  } catch (error) {
    assert.instance(error, WorldlineError, String(error));
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}

const open = (bytes: Uint8Array) => openSafetensors(memorySource(bytes), "x.safetensors");

/** A file with this header text and `data` bytes behind it. */
function fileOf(header: string | Uint8Array, data = 0, claimed?: bigint): Uint8Array {
  const json = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + json.length + data);
  new DataView(file.buffer).setBigUint64(0, claimed ?? BigInt(json.length), true);
  file.set(json, 8);
  return file;
}

const record = (dtype: string, shape: string, offsets: string) => `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

test("a written file is read back: names, types, shapes, bytes, metadata, from bytes, Blob and disk", async () => {
  const bytes = Uint8Array.from({ length: 24 }, (_, i) => i * 7);
  const tensors: TensorData[] = [
    { name: "small", dtype: "U8", shape: [3], data: bytes.slice(0, 3) },
    { name: 'schön "x"\n', dtype: "F32", shape: [2, 3], data: bytes },
    { name: "scalar", dtype: "BF16", shape: [], data: async () => bytes.slice(0, 2) },
    { name: "none", dtype: "I64", shape: [0, 5], data: new Uint8Array(0) },
  ];
  const file = await writeSafetensors(tensors, { format: "pt", note: "hi" });
  const headerLength = Number(new DataView(file.buffer).getBigUint64(0, true));
  assert.is(headerLength % 8, 0);
  const path = join(folder, "a.safetensors");
  await saveSafetensors(path, tensors, { format: "pt", note: "hi" });
  assert.equal(new Uint8Array(readFileSync(path)), file);
  for (const source of [memorySource(file), memorySource(new Blob([file as Uint8Array<ArrayBuffer>])), await fileSource(path)]) {
    const opened = await openSafetensors(source, "a");
    assert.equal(opened.metadata, { format: "pt", note: "hi" });
    assert.equal(
      [...opened.tensors.keys()],
      tensors.map((t) => t.name),
    );
    assert.equal(await opened.read('schön "x"\n'), bytes);
    assert.equal(await opened.readRange('schön "x"\n', 4, 9), bytes.slice(4, 9));
    assert.equal(await opened.read("small"), bytes.slice(0, 3));
    assert.equal(await opened.read("none"), new Uint8Array(0));
    for (const t of opened.tensors.values()) if (t.dtype === "F32") assert.is(t.begin % 4, 0, "F32 data is aligned");
    assert.match(await messageOf(() => opened.read("gone")), /no tensor "gone" among the 4/);
    assert.match(await messageOf(() => opened.readRange("small", 2, 4)), /bytes 2 to 4 of "small" were asked for; it has 3 bytes/);
    await opened.close();
  }
});

test("the golden files are read, and written back byte for byte the same", async () => {
  const file = await goldenTensors("tiny-mha/model.safetensors");
  assert.equal(file.tensors.get("model.embed_tokens.weight")?.shape, [512, 64]);
  const names = [...file.tensors.values()].sort((a, b) => a.begin - b.begin).map((t) => t.name);
  const tensors = await Promise.all(
    names.map(async (name) => ({
      ...(file.tensors.get(name) as { name: string; dtype: Dtype; shape: readonly number[] }),
      data: await file.read(name),
    })),
  );
  const again = await openSafetensors(memorySource(await writeSafetensors(tensors, file.metadata)), "again");
  for (const t of tensors) assert.equal(await again.read(t.name), t.data, t.name);
  assert.equal(
    new Uint8Array(await writeSafetensors(tensors, file.metadata)),
    new Uint8Array(readFileSync(goldenPath("tiny-mha/model.safetensors"))),
  );
  await file.close();
});

test("every fault of a header is one sentence", async () => {
  const faults: [Uint8Array, RegExp][] = [
    [new Uint8Array(0), /has 0 bytes, a safetensors file has at least 8/],
    [fileOf("{}", 0, 100_000_001n), /header claims 100000001 bytes, at most 100000000/],
    [fileOf("{}", 0, 2n ** 64n - 1n), /at most 100000000/],
    [fileOf("{}", 0, 9n), /claims 9 bytes but the file has 10/],
    [fileOf(Uint8Array.of(0x7b, 0xff, 0x7d)), /not UTF-8/],
    [fileOf("{"), /not valid JSON/],
    [fileOf(" {}"), /one JSON object that starts at byte 8/],
    [fileOf("[]"), /one JSON object/],
    [fileOf(`{"a":1}`), /tensor "a" has no record/],
    [fileOf(`{"__metadata__":{"a":1}}`), /__metadata__ must map names to strings/],
    [fileOf(`{"a":${record("F31", "[1]", "[0,4]")}}`, 4), /dtype "F31"; known are F64, F32/],
    [fileOf(`{"a":${record("toString", "[1]", "[0,4]")}}`, 4), /dtype "toString"/],
    [fileOf(`{"a":${record("F32", "[-1]", "[0,4]")}}`, 4), /shape \[-1\]; a list of whole numbers/],
    [fileOf(`{"a":${record("F32", "[1.5]", "[0,4]")}}`, 4), /shape \[1.5\]/],
    [fileOf(`{"a":${record("F32", "4", "[0,4]")}}`, 4), /shape 4/],
    [fileOf(`{"a":${record("F32", "[4294967296,4294967296]", "[0,4]")}}`, 4), /more than any file can hold/],
    [fileOf(`{"a":${record("F32", "[1]", "[0]")}}`, 4), /data_offsets \[0\]/],
    [fileOf(`{"a":${record("F32", "[1]", "[4,0]")}}`, 4), /claims bytes 4 to 0/],
    [fileOf(`{"a":${record("F32", "[2]", "[0,8]")}}`, 4), /claims bytes 0 to 8 of 4 bytes/],
    [fileOf(`{"a":${record("F32", "[2]", "[0,4]")}}`, 4), /needs 8 bytes but claims 4/],
    [fileOf(`{"a":${record("F32", "[1]", "[0,4]")},"b":${record("F32", "[1]", "[2,6]")}}`, 6), /data of "a" and "b" overlap/],
    [fileOf(`{"a":${record("F32", "[1]", "[0,4]")},"b":${record("F32", "[1]", "[0,4]")}}`, 4), /overlap/],
    [fileOf(`{"a":${record("F32", "[1]", "[0,4]")},"b":${record("F32", "[1]", "[6,10]")}}`, 10), /hole of 2 bytes/],
    [fileOf(`{"a":${record("F32", "[1]", "[4,8]")}}`, 8), /the header and "a" have a hole of 4 bytes/],
    [fileOf(`{"a":${record("F32", "[1]", "[0,4]")}}`, 5), /the tensors end at byte/],
    [fileOf(`{"a":${record("F32", "[1]", "[0,4]")},"\\u0061":${record("F32", "[1]", "[0,4]")}}`, 4), /names "a" twice/],
    [fileOf(`{"a":{"dtype":"U8","dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), /names "dtype" twice/],
  ];
  for (const [bytes, expected] of faults) {
    const message = await messageOf(() => open(bytes));
    assert.match(message, expected);
    assert.match(message, /^x\.safetensors: /);
    assert.not.match(message, /\n/);
  }
  assert.is((await open(fileOf("{}   "))).tensors.size, 0);
  const deep = "[".repeat(100000) + "]".repeat(100000);
  assert.match(await messageOf(() => open(fileOf(`{"a":${record("F32", deep, "[0,4]")}}`, 4))), /shape a value too deep to show/);
});

test("a source is closed where opening fails", async () => {
  let closed = 0;
  const source = { ...memorySource(new Uint8Array(3)), close: () => void closed++ };
  await messageOf(() => openSafetensors(source, "x"));
  assert.is(closed, 1);
});

test("the writer refuses what it could not read", async () => {
  const data = new Uint8Array(4);
  const write = (...tensors: TensorData[]) => messageOf(() => writeSafetensors(tensors));
  assert.match(await write({ name: "a", dtype: "F32", shape: [2], data }), /"a" of shape \[2\] and dtype F32 needs 8 bytes, 4 were given/);
  assert.match(
    await write({ name: "a", dtype: "F32", shape: [1], data }, { name: "a", dtype: "F32", shape: [1], data }),
    /two tensors are named "a"/,
  );
  assert.match(await write({ name: "__metadata__", dtype: "F32", shape: [1], data }), /keeps for itself/);
  assert.match(await write({ name: "a", dtype: "F33" as Dtype, shape: [1], data }), /dtype "F33"/);
  assert.match(await write({ name: "a", dtype: "F32", shape: [-1], data }), /shape \[-1\]/);
  const path = join(folder, "broken.safetensors");
  assert.match(
    await messageOf(() =>
      saveSafetensors(path, [
        { name: "a", dtype: "F32", shape: [1], data },
        { name: "b", dtype: "F32", shape: [1], data: () => new Uint8Array(3) },
      ]),
    ),
    /"b".*3 were given/,
  );
  assert.equal(
    readdirSync(folder).filter((name) => name.includes("broken")),
    [],
  );
});

test("a failed write leaves the old file and no temporary one", async () => {
  const path = join(folder, "kept.bin");
  await writeFileAtomic(path, [Uint8Array.of(1, 2, 3)]);
  async function* failing() {
    yield Uint8Array.of(9);
    throw new WorldlineError("stop");
  }
  assert.is(await messageOf(() => writeFileAtomic(path, failing())), "stop");
  assert.equal([...readFileSync(path)], [1, 2, 3]);
  assert.equal(
    readdirSync(folder).filter((name) => name.includes("kept")),
    ["kept.bin"],
  );
  assert.match(await messageOf(() => writeFileAtomic(join(path, "below"), [new Uint8Array(1)])), /kept\.bin.*below: not written, /);
});

/** float32 of half or bfloat16 bits, by its definition in float64. */
function valueOfBits(bits: number, exponentBits: number, mantissaBits: number): number {
  const bias = 2 ** (exponentBits - 1) - 1;
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> mantissaBits) & (2 ** exponentBits - 1);
  const fraction = (bits & (2 ** mantissaBits - 1)) / 2 ** mantissaBits;
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (exponent === 0 ? fraction * 2 ** (1 - bias) : (1 + fraction) * 2 ** (exponent - bias));
}

for (const [dtype, exponentBits, mantissaBits] of [
  ["F16", 5, 10],
  ["BF16", 8, 7],
] as const) {
  test(`${dtype}: all 65,536 values widen exactly and come back`, () => {
    const bits = Uint16Array.from({ length: 65536 }, (_, i) => i);
    const wide = toFloat32(new Uint8Array(bits.buffer), dtype);
    const back = new Uint16Array(fromFloat32(wide, dtype).buffer);
    for (let i = 0; i < 65536; i++) {
      const value = valueOfBits(i, exponentBits, mantissaBits);
      assert.ok(Object.is(wide[i], Math.fround(value)), `${i}: ${wide[i]} is not ${value}`);
      if (Number.isNaN(value))
        assert.ok(Number.isNaN(valueOfBits(back[i], exponentBits, mantissaBits)) && (back[i] & 0x8000) === (i & 0x8000));
      else assert.is(back[i], i);
    }
  });

  test(`${dtype}: narrowing goes to the nearest, ties to even`, () => {
    const rng = new Rng(3, dtype);
    const words = Uint32Array.from({ length: 60000 }, () => rng.u32());
    const halfway: number[] = [];
    for (let i = 0; i < 20000; i++) {
      const low = rng.int(0x7fff);
      const middle = (valueOfBits(low, exponentBits, mantissaBits) + valueOfBits(low + 1, exponentBits, mantissaBits)) / 2;
      if (Number.isFinite(middle) && Math.fround(middle) === middle) halfway.push(middle, -middle);
    }
    assert.ok(halfway.length > 20000);
    const inHalfRange = Array.from({ length: 40000 }, () => rng.normal() * 2 ** (rng.int(46) - 28));
    const values = Float32Array.from([
      ...new Float32Array(words.buffer),
      ...halfway,
      ...inHalfRange,
      65519.996,
      65520,
      2 ** -25,
      2 ** -25 * 1.0000001,
      3.4e38,
      3.39e38,
    ]);
    const bits = new Uint16Array(fromFloat32(values, dtype).buffer);
    for (const [i, value] of values.entries()) checkNearest(value, bits[i], exponentBits, mantissaBits);
  });
}

function checkNearest(value: number, bits: number, exponentBits: number, mantissaBits: number): void {
  const got = valueOfBits(bits, exponentBits, mantissaBits);
  if (Number.isNaN(value)) {
    assert.ok(Number.isNaN(got));
    return;
  }
  assert.is((bits & 0x8000) !== 0, value < 0 || Object.is(value, -0), `${value}`);
  const largest = valueOfBits((2 ** exponentBits - 1) * 2 ** mantissaBits - 1, exponentBits, mantissaBits);
  const step = largest - valueOfBits((2 ** exponentBits - 1) * 2 ** mantissaBits - 2, exponentBits, mantissaBits);
  if (Math.abs(value) >= largest + step / 2) {
    assert.is(Math.abs(got), Number.POSITIVE_INFINITY, `${value}`);
    return;
  }
  const distance = Math.abs(got - value);
  for (const other of [bits - 1, bits + 1]) {
    if ((other & 0x8000) !== (bits & 0x8000) || other < 0) continue;
    const far = Math.abs(valueOfBits(other, exponentBits, mantissaBits) - value);
    assert.ok(distance < far || (distance === far && (bits & 1) === 0), `${value} became ${got}`);
  }
}

test("unaligned bytes, F64 and integers are read; wrong kinds are refused", async () => {
  const bytes = new Uint8Array(Float32Array.of(0, 1.5, -2).buffer);
  const shifted = new Uint8Array(13);
  shifted.set(bytes, 1);
  assert.equal([...toFloat32(shifted.subarray(1), "F32")], [0, 1.5, -2]);
  assert.equal([...toFloat32(new Uint8Array(Float64Array.of(0.1).buffer), "F64")], [Math.fround(0.1)]);
  assert.equal([...toIntegers(new Uint8Array(BigInt64Array.of(-3n, 2n ** 53n - 1n).buffer), "I64")], [-3, 2 ** 53 - 1]);
  assert.equal([...toIntegers(Uint8Array.of(255, 1), "I8")], [-1, 1]);
  assert.match(await messageOf(() => toIntegers(new Uint8Array(BigUint64Array.of(2n ** 60n).buffer), "U64")), /no exact JavaScript number/);
  assert.match(await messageOf(() => toFloat32(new Uint8Array(4), "I32")), /use toIntegers for I32/);
  assert.match(await messageOf(() => toFloat32(new Uint8Array(3), "F16")), /a multiple of 2 bytes/);
});

test("the sharded, whole and bf16 folders give the same tensors", async () => {
  const whole = await openCheckpoint(goldenPath("tiny-gqa"));
  const sharded = await openCheckpoint(goldenPath("tiny-gqa/sharded"));
  assert.equal([...sharded.tensors.keys()].sort(), [...whole.tensors.keys()].sort());
  assert.is(new Set([...sharded.tensors.values()].map((t) => t.file)).size, 3);
  for (const name of whole.tensors.keys()) assert.equal(await sharded.readFloat32(name), await whole.readFloat32(name), name);
  assert.equal([vqPrefix(whole), hasVqDecoder(whole)], ["model.vqmodel.", true]);
  const f32 = await openCheckpoint(goldenPath("tiny-mha"));
  const bf16 = await openCheckpoint(goldenPath("tiny-mha/bf16"));
  assert.is(hasVqDecoder(bf16), false);
  for (const [name, t] of bf16.tensors) {
    if (t.dtype === "BF16") assert.equal(await bf16.read(name), fromFloat32(await f32.readFloat32(name), "BF16"), name);
    else assert.equal(await bf16.readFloat32(name), await f32.readFloat32(name), name);
  }
  assert.match(await messageOf(() => whole.read("gone")), /no tensor "gone"/);
  for (const checkpoint of [whole, sharded, f32, bf16]) await checkpoint.close();
});

test("faults of a model folder name the file", async () => {
  const text = (value: string) => new TextEncoder().encode(value);
  const index = (map: string) => ({ "config.json": text("{}"), "model.safetensors.index.json": text(`{"weight_map":${map}}`) });
  const one = await writeSafetensors([{ name: "a", dtype: "U8", shape: [1], data: new Uint8Array(1) }]);
  const fault = (files: Record<string, Uint8Array>) => messageOf(() => openCheckpoint(memoryFolder("m", files)));
  assert.match(await fault({}), /m\/config\.json is missing/);
  assert.match(await fault({ "config.json": text("{") }), /m\/config\.json: the file is not valid JSON/);
  assert.match(await fault({ "config.json": text("[]") }), /holds no JSON object/);
  assert.match(await fault({ "config.json": text("{}") }), /m\/model\.safetensors is missing: neither is model\.safetensors\.index\.json/);
  assert.match(await fault(index("3")), /weight_map is missing/);
  assert.match(await fault(index('{"a":"../x.safetensors"}')), /said to be in "\.\.\/x\.safetensors"/);
  assert.match(await fault(index('{"a":"one.safetensors"}')), /m\/one\.safetensors is missing: model\.safetensors\.index\.json names it/);
  assert.match(
    await fault({ ...index('{"b":"one.safetensors"}'), "one.safetensors": one }),
    /m\/one\.safetensors: tensor "b" is not in this file/,
  );
  assert.match(await messageOf(() => openCheckpoint(join(folder, "nowhere"))), /nowhere: there is no such file or folder/);
});

test("a saved folder opens again; an existing one is kept unless overwriting is allowed; a failure changes nothing", async () => {
  const path = join(folder, "saved");
  const config = writeConfig(parseConfig(goldenJson("tiny-mha/config.json")));
  const tensor = (value: number) => ({ name: "w", dtype: "F32" as const, shape: [1], data: fromFloat32(Float32Array.of(value), "F32") });
  await saveCheckpoint(path, { config, tensors: [tensor(1)], files: { "notes.txt": "hi", "more.json": { a: 1 } } });
  assert.equal(readdirSync(path).sort(), ["config.json", "model.safetensors", "more.json", "notes.txt"]);
  assert.match(
    await messageOf(() => saveCheckpoint(path, { config, tensors: [tensor(2)] })),
    /saved: there is something at this path already/,
  );
  const failing = { ...tensor(3), data: () => Promise.reject(new WorldlineError("no data")) };
  assert.is(await messageOf(() => saveCheckpoint(path, { config, tensors: [failing] }, { overwrite: true })), "no data");
  assert.match(
    await messageOf(() => saveCheckpoint(path, { config, tensors: [], files: { "../x": "" } }, { overwrite: true })),
    /plain file names/,
  );
  const value = async () => {
    const checkpoint = await openCheckpoint(path);
    assert.equal(checkpoint.config, config);
    const got = await checkpoint.readFloat32("w");
    await checkpoint.close();
    return got[0];
  };
  assert.is(await value(), 1);
  await saveCheckpoint(path, { config, tensors: [tensor(4)] }, { overwrite: true });
  assert.is(await value(), 4);
  assert.equal(
    readdirSync(folder).filter((name) => name.includes("saved")),
    ["saved"],
  );
});

test("killed between the two renames of a save, the next write into the folder brings the old model back", async () => {
  const at = join(folder, "killed");
  const model = join(at, "model");
  mkdirSync(model, { recursive: true });
  writeFileSync(join(model, "a.txt"), "old");
  const source = new URL("../weights/file_source.ts", import.meta.url).href;
  const script = `
    const fs = (await import("node:module")).createRequire("/")("node:fs/promises");
    const { rename } = fs;
    fs.rename = (from, to) => (to.endsWith("model") ? process.kill(process.pid, "SIGKILL") : rename(from, to));
    (await import("node:module")).syncBuiltinESMExports();
    const { writeFolderAtomic } = await import(${JSON.stringify(source)});
    await writeFolderAtomic(${JSON.stringify(model)}, true, async () => undefined);`;
  const { signal, stderr } = spawnSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", script], { encoding: "utf8" });
  assert.is(signal, "SIGKILL", stderr);
  assert.not.ok(existsSync(model));
  await writeFileAtomic(join(at, "b.txt"), [new Uint8Array(1)]);
  assert.equal(readdirSync(at).sort(), ["b.txt", "model"]);
  assert.is(readFileSync(join(model, "a.txt"), "utf8"), "old");
});

test("a file that is cut while open is an error, not zeros", async () => {
  const path = join(folder, "cut.safetensors");
  writeFileSync(path, await writeSafetensors([{ name: "a", dtype: "U8", shape: [100], data: new Uint8Array(100) }]));
  const file = await openSafetensors(await fileSource(path), path);
  truncateSync(path, 90);
  assert.match(await messageOf(() => file.read("a")), /the file ended at byte \d+ while it was read/);
  await file.close();
});

test("config.json of the goldens: sizes, ids, and the wrong bos_token_id", () => {
  const mha = parseConfig(goldenJson("tiny-mha/config.json"));
  assert.equal([mha.hidden, mha.intermediate, mha.layers, mha.heads, mha.kvHeads, mha.headDim, mha.vocabSize], [64, 176, 2, 4, 4, 16, 512]);
  assert.equal([mha.bosId, mha.eosId, mha.padId, mha.boiId, mha.eoiId, mha.imageTokenId, mha.sepId], [0, 2, 1, 69, 68, 75, 74]);
  assert.equal(mha.vq, {
    embedDim: 16,
    codes: 64,
    latentChannels: 24,
    resolution: 32,
    inChannels: 3,
    outChannels: 3,
    baseChannels: 32,
    channelMultiplier: [1, 1, 2],
    resBlocks: 1,
    attnResolutions: [],
    doubleLatent: false,
  });
  const gqa = parseConfig(goldenJson("tiny-gqa/config.json"));
  assert.equal(
    [gqa.kvHeads, gqa.swinNorm, gqa.modelParallelSize, gqa.boiId, gqa.eoiId, gqa.sepId, gqa.vq?.attnResolutions],
    [2, true, 2, 53, 52, 56, [8]],
  );
  assert.equal(
    [...imageTokenTable(gqa.vocabularyMap ?? {})],
    Array.from({ length: 48 }, (_, code) => 51 - code),
  );
  for (const config of [mha, gqa]) assert.equal(parseConfig(JSON.parse(JSON.stringify(writeConfig(config)))), config);
  const vocabulary = vocabularyFromTokenizer(goldenJson("tiny-mha/tokenizer.json"));
  assert.equal(vocabulary, mha.vocabularyMap);
});

test("absent fields are the 7B model; old VQ names alone are not read; newer spellings are", () => {
  const config = parseConfig({
    bos_token_id: 1,
    vq_config: {
      ch: 64,
      ch_mult: [1],
      n_embed: 3,
      z_channels: 5,
      out_ch: 1,
      double_z: true,
      attn_resolutions: null,
      model_type: "chameleon_vqgan",
    },
  });
  const { vq, ...model } = config;
  assert.equal(model, {
    vocabSize: 65536,
    hidden: 4096,
    intermediate: 11008,
    layers: 32,
    heads: 32,
    kvHeads: 32,
    headDim: 128,
    maxPositions: 4096,
    rmsNormEps: 1e-5,
    ropeTheta: 10000,
    ropeScaling: null,
    swinNorm: false,
    modelParallelSize: 1,
    tieWordEmbeddings: false,
    bosId: 0,
    eosId: 2,
    padId: 1,
    boiId: 8197,
    eoiId: 8196,
    imageTokenId: 8711,
    sepId: 8710,
  });
  assert.equal(vq, {
    embedDim: 256,
    codes: 8192,
    latentChannels: 256,
    resolution: 512,
    inChannels: 3,
    outChannels: 3,
    baseChannels: 128,
    channelMultiplier: [1, 1, 2, 2, 4],
    resBlocks: 2,
    attnResolutions: [],
    doubleLatent: false,
  });
  assert.is(parseConfig({}).vq, undefined);
  assert.is(parseConfig({ num_attention_heads: 64, hidden_size: 8192, num_key_value_heads: null }).kvHeads, 64);
  assert.is(parseConfig({ num_attention_heads: 64, hidden_size: 8192 }).kvHeads, 32);
  assert.equal(parseConfig({ rope_parameters: { rope_theta: 5e5, rope_type: "default" } }).ropeTheta, 5e5);
  assert.equal(parseConfig({ rope_parameters: { rope_theta: 5e5, rope_type: "linear", factor: 2 } }).ropeScaling, {
    type: "linear",
    factor: 2,
  });
  const dynamic = parseConfig({ rope_theta: 7, rope_scaling: { type: "dynamic", factor: 4 }, image_token_index: 9 });
  assert.equal([dynamic.ropeTheta, dynamic.ropeScaling, dynamic.imageTokenId], [7, { type: "dynamic", factor: 4 }, 9]);
  assert.equal(parseConfig(writeConfig(dynamic)), dynamic);
});

test("configs that no Chameleon model can have are refused with one sentence", async () => {
  const small = { vocab_size: 100, boi_token_id: 5, eoi_token_id: 6, image_token_id: 7 };
  const faults: [Record<string, unknown>, RegExp][] = [
    [{ hidden_size: 100, num_attention_heads: 3, num_key_value_heads: 3 }, /hidden_size 100 does not divide into 3 heads/],
    [{ hidden_size: 12, num_attention_heads: 4, num_key_value_heads: 4 }, /head size 3 is odd/],
    [{ num_attention_heads: 32, num_key_value_heads: 5 }, /32 attention heads do not divide into 5/],
    [{ head_dim: 64 }, /head_dim is 64, Chameleon needs .* = 128/],
    [{ hidden_size: "big" }, /hidden_size is "big", a whole number from 1 up is needed/],
    [{ num_hidden_layers: 0 }, /num_hidden_layers is 0/],
    [{ model_type: "llama" }, /model_type is "llama"/],
    [{ hidden_act: "gelu" }, /hidden_act is "gelu"/],
    [{ attention_bias: true }, /attention_bias is true/],
    [{ rope_scaling: { type: "yarn", factor: 2 } }, /rope scaling "yarn" is not supported/],
    [{ rope_scaling: { type: "linear" } }, /factor is missing/],
    [{ vocab_size: 100 }, /boi_token_id is missing and the vocabulary names no <racm3:break>/],
    [{ ...small, eos_token_id: 100 }, /eosId 100 is outside the vocabulary of 100/],
    [{ ...small, eos_token_id: [2] }, /eos_token_id is \[2\], a token id/],
    [{ ...small, vocabulary_map: { a: 100 } }, /"a" has the id 100, outside the model's vocabulary/],
    [{ ...small, vocabulary_map: { a: "b" } }, /gives "a" the id "b"/],
    [{ ...small, vocabulary_map: { IMGIMGAZ: 8, IMGIMGCZ: 9 } }, /names 2 picture codes but not code 1 \(IMGIMGBZ\)/],
    [{ ...small, vocabulary_map: { IMGIMGKZ: 8 } }, /"IMGIMGKZ" starts with IMGIMG but is no picture code/],
    [{ ...small, vocabulary_map: { IMGIMGAZ: 8 }, vq_config: { num_embeddings: 2 } }, /names 1 picture codes, the VQ model has 2/],
    [{ vq_config: { resolution: 100 } }, /resolution 100 cannot be halved 4 times/],
    [{ vq_config: { base_channels: 16 } }, /base_channels 16 x 1 is no multiple of 32/],
    [{ vq_config: { attn_type: "linear" } }, /attn_type is "linear"/],
    [{ vq_config: { channel_multiplier: [] } }, /at least one number/],
  ];
  for (const [json, expected] of faults) assert.match(await messageOf(() => parseConfig(json)), expected);
  assert.match(await messageOf(() => parseJsonObject("{", "c.json")), /c\.json: the file is not valid JSON/);
});

test("names of picture codes: letters for digits", () => {
  assert.equal([0, 15, 8191].map(imageTokenName), ["IMGIMGAZ", "IMGIMGBFZ", "IMGIMGIBJBZ"]);
  for (const code of [0, 9, 10, 15, 8191]) assert.is(imageCode(imageTokenName(code)), code);
  for (const name of ["IMGIMGZ", "IMGIMGaZ", "IMGIMGA", "xIMGIMGAZ"]) assert.is(imageCode(name), null);
});

test.run();
