// The picture model against the reference data of two tiny models: latents, codes and pixels, also of pictures that are not square; saving
// and loading; and that training lowers the loss.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device } from "../engine/device.ts";
import { nodeHost, openGPU } from "../engine/host_node.ts";
import { parameters, setTrainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { add, gatherRows, mse, scale } from "../engine/ops/index.ts";
import { adamw } from "../engine/optim.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { bytes, createVqgan, flops, saveTensors, type VQGAN, vqTensorSpecs } from "../models/vqgan.ts";
import { toIntegers } from "../weights/dtypes.ts";
import { parseVqConfig, type VqConfig } from "../weights/names.ts";
import type { Safetensors } from "../weights/safetensors.ts";
import { floats, goldenJson, goldenTensors } from "./goldens.ts";

const device = await openDevice();
const limit = 2e-4;

async function load(name: string): Promise<{ config: VqConfig; model: VQGAN }> {
  const config = parseVqConfig(goldenJson<{ vq_config: Record<string, unknown> }>(`${name}/config.json`).vq_config);
  const file = await goldenTensors(`${name}/model.safetensors`);
  const at = (tensor: string) => `model.vqmodel.${tensor}`;
  const model = await createVqgan(device, config, (tensor) => (file.tensors.has(at(tensor)) ? floats(file, at(tensor)) : undefined));
  await file.close();
  return { config, model };
}

/** (B, C, P) -> (B, P, C). */
function channelsLast(data: Float32Array, B: number, C: number): Float32Array {
  const P = data.length / (B * C);
  return data.map((_, n) => data[Math.floor(n / (P * C)) * P * C + (n % C) * P + (Math.floor(n / C) % P)]);
}

const worst = (a: ArrayLike<number>, b: ArrayLike<number>) => {
  assert.is(a.length, b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Number.isFinite(a[i]) ? Math.abs(a[i] - b[i]) : Number.POSITIVE_INFINITY);
  return most;
};

const codesOf = async (file: Safetensors, name: string) =>
  Uint32Array.from(toIntegers(await file.read(name), file.tensors.get(name)!.dtype), Number);

for (const name of ["tiny-mha", "tiny-gqa"]) {
  test(`${name}: encodes to the reference's vectors and codes`, async () => {
    const { model } = await load(name);
    const file = await goldenTensors(`${name}/expected/vq_encode.safetensors`);
    for (const prefix of ["", "wide."]) {
      const [B, C, H, W] = file.tensors.get(`${prefix}pixel_values`)!.shape;
      const tape = new Tape(device);
      const z = model.encode(tape.input("pixels", [B, H, W, C]));
      const { codes, quantized } = model.quantise(z);
      for (const t of [z, codes, quantized]) tape.keep(t);
      const plan = await tape.plan();
      plan.write("pixels", channelsLast(await floats(file, `${prefix}pixel_values`), B, C)).run();
      const [gotZ, gotCodes, gotQuantized] = await plan.read(z, codes, quantized);
      const want = await floats(file, `${prefix}prequant`);
      assert.ok(worst(gotZ, channelsLast(want, B, z.shape[3])) < limit, `${prefix}prequant`);
      assert.equal(gotCodes, await codesOf(file, `${prefix}codes`));
      // The reference adds the difference of code and vector to the vector, which rounds.
      if (!prefix) assert.ok(worst(gotQuantized, channelsLast(await floats(file, "quantized"), B, z.shape[3])) < 1e-6, "quantized");
      plan.destroy();
    }
    await file.close();
  });

  test(`${name}: decodes codes to the reference's pixels`, async () => {
    const { model } = await load(name);
    const file = await goldenTensors(`${name}/expected/vq_decode.safetensors`);
    const down = 2 ** (model.config.channelMultiplier.length - 1);
    for (const prefix of ["", "wide."]) {
      const [B, C, H, W] = file.tensors.get(`${prefix}pixel_values`)!.shape;
      const tape = new Tape(device);
      const pixels = tape.keep(model.decodeCodes(tape.input("codes", [B, H / down, W / down], "u32")));
      const plan = await tape.plan();
      plan.write("codes", await codesOf(file, `${prefix}codes`)).run();
      const [got] = await plan.read(pixels);
      assert.ok(worst(got, channelsLast(await floats(file, `${prefix}pixel_values`), B, C)) < limit, `${prefix}pixels`);
      plan.destroy();
    }
    await file.close();
  });

  test(`${name}: saving gives the file's tensors back`, async () => {
    const { model } = await load(name);
    const file = await goldenTensors(`${name}/model.safetensors`);
    const saved = await saveTensors(device, model);
    const names = [...file.tensors.keys()].filter((n) => n.startsWith("model.vqmodel.")).map((n) => n.slice("model.vqmodel.".length));
    assert.equal([...saved.keys()].sort(), names.sort());
    for (const [tensor, { shape, data }] of saved) {
      assert.equal(shape, file.tensors.get(`model.vqmodel.${tensor}`)!.shape, tensor);
      assert.is(worst(data, await floats(file, `model.vqmodel.${tensor}`)), 0, tensor);
    }
    await file.close();
  });
}

test("odd channel counts, levels with attention and odd sizes: every fast kernel agrees with the plain ones", async () => {
  const config = parseVqConfig({
    ...{ base_channels: 32, channel_multiplier: [1, 2], num_res_blocks: 1, attn_resolutions: [8, 16], resolution: 16 },
    ...{ embed_dim: 10, num_embeddings: 37, latent_channels: 13 },
  });
  const { gpu, adapter } = await openGPU();
  const force = "conv2d:plain,matmul:plain,attention:plain,nearest_code:plain,embedding_gather:plain";
  const plain = await Device.open({ host: nodeHost, gpu, adapter, force });
  const models = [
    { on: device, model: await createVqgan(device, config, new Rng(6)) },
    { on: plain, model: await createVqgan(plain, config, new Rng(6)) },
  ];
  for (const [B, H, W] of [
    [2, 16, 16],
    [1, 10, 22],
  ]) {
    const pixels = new Rng(W).normals(B * H * W * 3, 0.5);
    const results = [];
    for (const { on, model } of models) {
      const tape = new Tape(on);
      const { pixels: out, z, codes } = model.reconstruct(tape.input("pixels", [B, H, W, 3]));
      for (const t of [out, z, codes]) tape.keep(t);
      const plan = await tape.plan();
      results.push(await plan.write("pixels", pixels).run().read(out, z, codes));
      plan.destroy();
    }
    const [fast, slow] = results;
    assert.ok(worst(fast[1], slow[1]) < 2e-5 && worst(fast[0], slow[0]) < 5e-5, `${worst(fast[1], slow[1])}, ${worst(fast[0], slow[0])}`);
    assert.equal(fast[2], slow[2]);
  }
});

test("pictures larger than one binding are encoded and decoded in bands, as whole ones", async () => {
  const config = parseVqConfig({
    base_channels: 32,
    channel_multiplier: [1, 2, 2],
    num_res_blocks: 1,
    embed_dim: 16,
    num_embeddings: 40,
    latent_channels: 20,
    resolution: 64,
  });
  const limit = 192 * 1024;
  const narrow = await openDevice({ bindingBytes: limit });
  const [whole, split] = [await createVqgan(device, config, new Rng(5)), await createVqgan(narrow, config, new Rng(5))];
  for (const [H, W] of [
    [64, 64],
    [72, 40],
    [44, 100],
  ]) {
    const pixels = new Rng(H).normals(H * W * 3, 0.5);
    const run = async (on: typeof device, model: VQGAN) => {
      const tape = new Tape(on);
      const { pixels: out, z, codes } = model.reconstruct(tape.input("pixels", [1, H, W, 3]));
      for (const t of [out, z, codes]) tape.keep(t);
      const plan = await tape.plan();
      const values = await plan.write("pixels", pixels).run().read(out, z, codes);
      const largest = Math.max(...plan.bound.flatMap((b) => b.launch.tensors.map((t) => t.bytes)));
      plan.destroy();
      return { values, largest };
    };
    const [a, b] = [await run(device, whole), await run(narrow, split)];
    assert.ok(a.largest > 2 * limit, "the picture is too small to be split");
    assert.ok(b.largest <= limit, `a launch binds ${b.largest} bytes`);
    assert.ok(worst(b.values[1], a.values[1]) < 2e-5, `${H} x ${W}: vectors differ by ${worst(b.values[1], a.values[1])}`);
    assert.equal(b.values[2], a.values[2]);
    assert.ok(worst(b.values[0], a.values[0]) < 5e-5, `${H} x ${W}: pixels differ by ${worst(b.values[0], a.values[0])}`);
  }
  const tape = new Tape(narrow);
  const said = /larger than one binding of 196608 bytes; run one picture at a time/;
  assert.throws(() => split.encode(tape.input("pixels", [2, 64, 64, 3])), said);
  assert.throws(() => split.encode(new Tape(narrow, { training: true }).input("pixels", [1, 64, 64, 3])), /which training cannot split/);
});

test("without a decoder in the files a model encodes only, and says so", async () => {
  const config = parseVqConfig(goldenJson<{ vq_config: Record<string, unknown> }>("tiny-mha/bf16/config.json").vq_config);
  const file = await goldenTensors("tiny-mha/bf16/model.safetensors");
  const at = (tensor: string) => `model.vqmodel.${tensor}`;
  const model = await createVqgan(device, config, (tensor) => (file.tensors.has(at(tensor)) ? floats(file, at(tensor)) : undefined));
  const z = model.encode(new Tape(device).input("pixels", [1, 32, 32, 3]));
  assert.equal(z.shape, [1, 8, 8, 16]);
  assert.throws(() => model.decode(z), /these weights hold no VQ decoder.*Anole/);
  assert.throws(() => model.encode(new Tape(device).input("pixels", [1, 30, 32, 3])), /multiples of 4/);
  assert.is(bytes(config, false) < bytes(config), true);
  await file.close();
});

test("names, sizes and operations of the published model", () => {
  const real = parseVqConfig({});
  const specs = vqTensorSpecs(real);
  assert.is(specs.length, 293);
  assert.is(
    specs.reduce((sum, s) => sum + s.shape.reduce((a, b) => a * b, 1), 0),
    68_718_467,
  );
  assert.equal(specs.find((s) => s.name === "decoder.up.3.block.0.nin_shortcut.weight")?.shape, [256, 512, 1, 1]);
  assert.is(vqTensorSpecs(real, false).length, 127);
  // One 3x3 convolution of 128 to 128 channels at 512 x 512 alone takes 77 GFLOP; the decoder has seven at that resolution.
  const { encode, decode } = flops(real, 512, 512);
  assert.ok(encode > 4 * 77e9 && decode > encode, `${encode} ${decode}`);
});

test("missing and misshapen tensors are named", async () => {
  const config = goldenJson<{ vq_config: Record<string, unknown> }>("tiny-mha/config.json").vq_config;
  const refused = async (source: (name: string) => Promise<Float32Array> | undefined) => {
    try {
      await createVqgan(device, parseVqConfig(config), source);
    } catch (error) {
      return (error as Error).message;
    }
    return "";
  };
  assert.match(
    await refused((name) => (name.startsWith("decoder") ? Promise.resolve(new Float32Array(1)) : undefined)),
    /encoder.conv_in.weight is missing/,
  );
  assert.match(
    await refused(() => Promise.resolve(new Float32Array(5))),
    /encoder.conv_in.weight has 5 values but \(32, 3, 3, 3\) is needed/,
  );
});

const small: VqConfig = {
  embedDim: 8,
  codes: 16,
  latentChannels: 12,
  resolution: 16,
  inChannels: 3,
  outChannels: 3,
  baseChannels: 32,
  channelMultiplier: [1, 2],
  resBlocks: 1,
  attnResolutions: [8],
  doubleLatent: false,
};

/** Grey pictures with one coloured square each, (B, 16, 16, 3) in [-1, 1]. */
function squares(B: number, rng: Rng): Float32Array {
  const out = new Float32Array(B * 16 * 16 * 3);
  for (let b = 0; b < B; b++) {
    const [top, left, colour] = [rng.int(9), rng.int(9), [0, 1, 2].map(() => rng.uniform(-1, 1))];
    for (let i = 0; i < 8 * 8 * 3; i++)
      out[((b * 16 + top + Math.floor(i / 24)) * 16 + left + (Math.floor(i / 3) % 8)) * 3 + (i % 3)] = colour[i % 3];
  }
  return out;
}

test("the gradient of the whole model agrees with differences of its loss, tensor by tensor", async () => {
  const model = await createVqgan(device, small, new Rng(11));
  setTrainable(model, true);
  const all = parameters(model);
  const tape = new Tape(device, { training: true });
  const x = tape.input("pixels", [2, 16, 16, 3]);
  const loss = mse(model.decode(model.encode(x)), x);
  tape.backward(loss);
  assert.is(tape.trained().length, all.size - 1, "every tensor but the codebook has a gradient");
  const gradients = new Map([...all].filter(([, t]) => tape.hasGrad(t)).map(([name, t]) => [name, tape.grad(t)]));
  const plan = await tape.plan();
  plan.write("pixels", squares(2, new Rng(12))).run();
  const lossAt = async (t: Tensor, values: Float32Array) => {
    device.write(t, values);
    return plan.run().readNumber(loss);
  };
  for (const name of [
    "encoder.conv_in.weight",
    "encoder.down.0.block.0.norm1.bias",
    "encoder.down.0.downsample.conv.weight",
    "encoder.down.1.block.0.nin_shortcut.weight",
    "encoder.down.1.attn.0.q.weight",
    "encoder.mid.attn_1.proj_out.weight",
    "encoder.norm_out.weight",
    "quant_conv.weight",
    "post_quant_conv.bias",
    "decoder.up.1.upsample.conv.weight",
    "decoder.up.0.block.1.conv2.weight",
    "decoder.conv_out.weight",
  ]) {
    const t = all.get(name)!;
    const [g] = (await plan.run().read(gradients.get(name)!)) as Float32Array[];
    const [w] = (await device.read(t)) as Float32Array[];
    const length = Math.sqrt(g.reduce((a, v) => a + v * v, 0));
    assert.ok(length > 0, name);
    // Far enough that the difference stands out of f32 rounding, near enough to be a slope.
    const h = 0.002;
    const up = await lossAt(
      t,
      Float32Array.from(w, (v, i) => v + (h * g[i]) / length),
    );
    const down = await lossAt(
      t,
      Float32Array.from(w, (v, i) => v - (h * g[i]) / length),
    );
    device.write(t, w);
    const slope = (up - down) / (2 * h);
    assert.ok(Math.abs(slope - length) < 0.005 * length, `${name}: the gradient says ${length}, the loss ${slope}`);
  }
  plan.destroy();
});

test("training lowers the loss", async () => {
  const model = await createVqgan(device, small, new Rng(13));
  setTrainable(model, true);
  const tape = new Tape(device, { training: true });
  const x = tape.input("pixels", [4, 16, 16, 3]);
  const { pixels, z, codes, quantized } = model.reconstruct(x);
  const vectors = gatherRows(model.quantize.embedding.weight, codes);
  const pixelLoss = tape.keep(mse(pixels, x));
  const codebookLoss = mse(vectors, z, { stopTarget: true });
  tape.backward(add(add(pixelLoss, codebookLoss), scale(mse(z, quantized, { stopTarget: true }), 0.25)));
  adamw(tape, parameters(model), {
    lr: tape.scalar("lr", 2e-3),
    step: tape.scalar("step", 1),
    betas: [0.9, 0.99],
    eps: 1e-8,
    weightDecay: 0,
  });
  const plan = await tape.plan();
  const rng = new Rng(14);
  const losses: number[] = [];
  for (let step = 1; step <= 30; step++) {
    plan.write("pixels", squares(4, rng)).set("step", step).run();
    losses.push(await plan.readNumber(pixelLoss));
  }
  const mean = (list: number[]) => list.reduce((a, v) => a + v, 0) / list.length;
  const [first, last] = [mean(losses.slice(0, 5)), mean(losses.slice(-5))];
  assert.ok(last < 0.5 * first, `${first} -> ${last}`);
  const saved = await saveTensors(device, model);
  assert.is(saved.get("encoder.conv_in.weight")!.data.length, 32 * 3 * 9);
  plan.destroy();
});

test("the zero weights that pad the pictures' channels stay zero in training", async () => {
  const model = await createVqgan(device, small, new Rng(15));
  setTrainable(model, true);
  const tape = new Tape(device, { training: true });
  const x = tape.input("pixels", [1, 16, 16, 3]);
  tape.backward(mse(model.decode(model.encode(x)), x));
  const { weight } = model.encoder.conv_in;
  const out = model.decoder!.conv_out;
  const [dIn, dOut, dBias] = [tape.grad(weight), tape.grad(out.weight), tape.grad(out.bias)];
  const plan = await tape.plan();
  const [a, b, c] = await plan
    .write("pixels", squares(1, new Rng(16)))
    .run()
    .read(dIn, dOut, dBias);
  assert.is(a.filter((v, i) => i % 4 === 3 && v !== 0).length, 0);
  assert.is(b.slice((b.length / 4) * 3).filter((v) => v !== 0).length + Math.abs(c[3]), 0);
  assert.is.not(Math.abs(c[0]), 0);
  plan.destroy();
});

test.run();
