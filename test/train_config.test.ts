// Configurations of training: what a file, a preset and flags make together, the sentences about what is wrong, and that a printed configuration
// gives the same one back. TensorBoard's files, decoded by a reader of its own.
import { Command } from "commander";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { withOptions } from "../cli/train_flags.ts";
import { parseConfigFile, presetConfig, printConfig, trainOptions, wholeConfig } from "../train/config.ts";
import { presets } from "../train/presets.ts";
import { crc32c, event, fileVersion } from "../train/tensorboard.ts";
import { messageOf } from "./tiny_model.ts";

const needed = { role: "cwm", model_name_or_path: "m", data: "d.jsonl", output_dir: "out" } as const;

test("later parts win, defaults fill the rest, and the loop gets the numbers", () => {
  const file = parseConfigFile('learning_rate = 1e-3\nmax_steps = 7\n[[data]]\npath = "a.json"\nmax_samples = 10\n', "x.toml");
  const c = wholeConfig(presetConfig("paper-cwm"), needed, file, { max_steps: 9 });
  assert.equal([c.learning_rate, c.max_steps, c.lora_r, c.role, c.eval_pictures], [1e-3, 9, 16, "cwm", 4]);
  assert.equal(c.data, [{ path: "a.json", factor: 1, max_samples: 10 }]);
  const o = trainOptions(c, 1000);
  assert.equal([o.steps, o.batch, o.accumulate, o.warmupSteps, o.divideBy], [9, 1, 96, 400, "tokens"]);
  assert.is(trainOptions({ ...c, max_steps: 0, num_train_epochs: 2 }, 1000).steps, Math.ceil(2000 / 96));
  const constant = trainOptions({ ...c, lr_scheduler_type: "constant" }, 1000);
  assert.equal([constant.warmupRatio, constant.warmupSteps, constant.type], [0, undefined, "constant"]);
  assert.is(trainOptions({ ...c, lr_scheduler_type: "constant_with_warmup" }, 1000).warmupSteps, 400);
});

test("the paper's presets hold the numbers of its appendix H", () => {
  const of = (name: string) => {
    const c = wholeConfig(needed, presetConfig(name));
    return [c.num_train_epochs, c.per_device_train_batch_size * c.gradient_accumulation_steps, c.learning_rate, c.warmup_steps];
  };
  assert.equal(of("paper-cdm"), [10, 64, 2e-4, 500]);
  assert.equal(of("paper-cft"), [40, 96, 5e-4, 400]);
  assert.equal(of("paper-cwm"), [40, 96, 5e-4, 400]);
  for (const name of ["paper-cdm", "paper-cft", "paper-cwm"]) {
    const c = wholeConfig(needed, presetConfig(name));
    assert.equal([c.lora_r, c.lora_alpha, c.lora_dropout, c.lr_scheduler_type, c.use_peft], [16, 32, 0.05, "cosine", true]);
  }
  for (const [name, preset] of Object.entries(presets))
    for (const [key, [, source]] of Object.entries(preset)) assert.ok(source.length > 1, `${name}: ${key} names no source`);
});

test("a printed configuration gives the same one back", () => {
  const c = wholeConfig(presetConfig("paper-cwm"), needed, { data: [{ path: 'a "b".json', factor: 1.5 }], learning_rate: 2e-6 });
  const text = printConfig(c, "paper-cwm");
  assert.equal(wholeConfig(parseConfigFile(text, "x.toml")), c);
  assert.match(text, /^lora_r = 16 # H\.1 to H\.3$/m);
  assert.match(text, /^learning_rate = 0\.000002$/m, "a value that is not the preset's names the preset's source");
});

const wrong: [text: string, name: string, want: RegExp][] = [
  ["seed = 1\nlearning_rat = 1", "x.toml", /^x\.toml:2: there is no option "learning_rat"; did you mean "learning_rate"\?$/],
  ["zzzzzzzzzz = 1", "x.toml", /^x\.toml:1: there is no option "zzzzzzzzzz"; see worldline train --help/],
  ['[[data]]\npath = "a"\nfacto = 2', "x.toml", /^x\.toml:3: there is no option "facto" in data\.0; did you mean "factor"\?$/],
  ['[[data]]\npath = "a"\nfactor = -1', "x.toml", /^x\.toml:1: data\.0\.factor is -1; a number above 0 is needed$/],
  ["lora_r = 1.5", "x.toml", /^x\.toml:1: lora_r is 1\.5; a whole number is needed$/],
  ['{\n"max_steps": "5"}', "x.json", /^x\.json:2: max_steps is "5"; a number is needed$/],
  ['lr_scheduler_type = "cos"', "x.toml", /^x\.toml:1: lr_scheduler_type is "cos"; one of "cosine", "linear", .* is needed$/],
  ["seed = = 1", "x.toml", /^x\.toml:1: this is no TOML \(.*\); correct the file$/],
  ["{", "x.json", /^x\.json: this is no JSON \(.*\); correct the file$/],
  ["seed = 1", "x.yaml", /^x\.yaml: a configuration ends in \.toml or \.json; rename the file$/],
];
for (const [text, name, want] of wrong)
  test(`refused with a sentence: ${JSON.stringify(text)}`, async () =>
    assert.match(await messageOf(() => parseConfigFile(text, name)), want));

test("what is missing or does not go together is said", async () => {
  assert.match(await messageOf(() => wholeConfig({ ...needed, data: undefined })), /^data is not set; give --data or/);
  assert.match(
    await messageOf(() => wholeConfig({ ...needed, dtype: "int4" })),
    /^dtype is "int4" but all weights are to be trained; set use_peft/,
  );
  assert.match(await messageOf(() => presetConfig("paper-cw")), /^there is no preset "paper-cw"; did you mean "paper-cwm"\?/);
});

/** Reads protobuf fields: [number, wire type, value]. */
function decode(bytes: Uint8Array): [number, number, number | Uint8Array][] {
  const out: [number, number, number | Uint8Array][] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const varint = () => {
    let [value, scale] = [0, 1];
    for (; ; scale *= 128) {
      const b = bytes[at++];
      value += (b & 127) * scale;
      if (b < 128) return value;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const [field, wire] = [key >> 3, key & 7];
    if (wire === 0) out.push([field, wire, varint()]);
    else if (wire === 1) out.push([field, wire, view.getFloat64((at += 8) - 8, true)]);
    else if (wire === 5) out.push([field, wire, view.getFloat32((at += 4) - 4, true)]);
    else {
      const length = varint();
      out.push([field, wire, bytes.subarray(at, (at += length))]);
    }
  }
  return out;
}

/** Records of an event file, both checksums tested bit by bit against the polynomial. */
function records(file: Uint8Array): Uint8Array[] {
  const slow = (bytes: Uint8Array) => {
    let c = 0xffffffff;
    for (const b of bytes) for (let k = 0, x = b; k < 8; k++, x >>= 1) c = (c ^ x) & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
    const crc = ~c >>> 0;
    return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  };
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const out: Uint8Array[] = [];
  for (let at = 0; at < file.length; ) {
    const length = Number(view.getBigUint64(at, true));
    assert.is(view.getUint32(at + 8, true), slow(file.subarray(at, at + 8)));
    const data = file.subarray(at + 12, at + 12 + length);
    assert.is(view.getUint32(at + 12 + length, true), slow(data));
    out.push(data);
    at += 16 + length;
  }
  return out;
}

test("a flag that begins with no- is an option like others", () => {
  const command = withOptions(new Command()).parse(["--no-decay", "norm|bias"], { from: "user" });
  assert.is(command.opts().noDecay, "norm|bias");
});

test("TensorBoard events: framing, checksums, scalars and pictures", () => {
  assert.is(crc32c(new TextEncoder().encode("123456789")), 0xe3069283);
  const png = Uint8Array.from({ length: 300 }, (_, i) => i);
  const values = [
    { tag: "train/loss", scalar: 0.25 },
    { tag: "eval/grid", png, width: 640, height: 200 },
  ] as const;
  const [first, second] = records(Buffer.concat([fileVersion(12.5), event(1795658004.25, 70000, values)]));
  const text = (v: unknown) => new TextDecoder().decode(v as Uint8Array);
  const head = decode(first);
  assert.equal([head[0], head[1][0], text(head[1][2])], [[1, 1, 12.5], 3, "brain.Event:2"]);
  const [time, step, summary] = decode(second);
  assert.equal(
    [time, step],
    [
      [1, 1, 1795658004.25],
      [2, 0, 70000],
    ],
  );
  assert.is(summary[0], 5);
  const [scalar, image] = decode(summary[2] as Uint8Array).map(([, , v]) => decode(v as Uint8Array));
  assert.equal([text(scalar[0][2]), scalar[1]], ["train/loss", [2, 5, 0.25]]);
  const fields = decode(image[1][2] as Uint8Array);
  assert.equal([text(image[0][2]), image[1][0]], ["eval/grid", 4]);
  assert.equal(fields.slice(0, 3), [
    [1, 0, 200],
    [2, 0, 640],
    [3, 0, 3],
  ]);
  assert.equal([...(fields[3][2] as Uint8Array)], [...png]);
});

test.run();
