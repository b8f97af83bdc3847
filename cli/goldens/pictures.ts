// The picture model against reference answers: vectors, codes and pixels, square or not, with every level of encoder and decoder.
import { join } from "node:path";
import { gatherRows } from "../../engine/ops/embedding.ts";
import { nearestCode } from "../../engine/ops/quantize.ts";
import { Tape } from "../../engine/tape.ts";
import type { Tensor } from "../../engine/tensor.ts";
import type { VQGAN } from "../../models/vqgan.ts";
import { interleaved, planar } from "../../tokenizer/image.ts";
import { type PixelConfig, pixelValues, postprocess } from "../../tokenizer/pixels.ts";
import { codesToIds, idsToCodes, type Vocab } from "../../tokenizer/vocab.ts";
import { loadPictureModel } from "../../world/model.ts";
import { type AnswerFile, type Case, type Golden, isFile, largest, type Row, unequal } from "./answers.ts";
import { pixelConfigOf, vocabIn } from "./model_files.ts";
import { Taps } from "./taps.ts";

export async function pictures(given: Case): Promise<Row[]> {
  const { answers, device, folder } = given;
  const has = { encode: await answers.has("vq_encode.safetensors"), decode: await answers.has("vq_decode.safetensors") };
  if (!has.encode && !has.decode) return [];
  const model = await loadPictureModel(device, folder);
  const vocab = await vocabIn(folder);
  const pixels = (await isFile(join(folder, "preprocessor_config.json"))) ? await pixelConfigOf(folder) : undefined;
  const rows: Row[] = [];
  if (has.encode) {
    const file = await answers.file("vq_encode.safetensors");
    for (const prefix of prefixes(file, "pixel_values")) rows.push(...(await encoded(given, model, file, prefix)));
    rows.push(...besides(file, vocab, pixels));
    if (await answers.has("vq.json")) rows.push(...(await facts(given, file)));
  }
  if (!model.decoder) return rows;
  if (has.decode) {
    const file = await answers.file("vq_decode.safetensors");
    for (const prefix of prefixes(file, "codes")) rows.push(...(await decoded(given, model, file, prefix, pixels)));
  }
  if (await answers.has("generated_image.safetensors")) {
    const file = await answers.file("generated_image.safetensors");
    rows.push(...(await decoded(given, model, file, "", pixels)).map((r) => ({ ...r, quantity: `generated image: ${r.quantity}` })));
    if (vocab) {
      const codes = idsToCodes(vocab, file.get("token_ids").data);
      rows.push({ quantity: "generated image: codes of ids", error: unequal(codes, file.get("codes").data), limit: 0 });
    }
  }
  return rows;
}

/** "" and every "name." that stands before a tensor's name. */
const prefixes = (file: AnswerFile, name: string) =>
  file.names.filter((n) => n === name || n.endsWith(`.${name}`)).map((n) => n.slice(0, -name.length));

/** NHWC of (n, 3, h, w). */
function channelsLast({ shape: [n, , h, w], data }: Golden): Float32Array {
  const out = new Float32Array(data.length);
  const size = 3 * h * w;
  for (let b = 0; b < n; b++) out.set(interleaved(Float32Array.from(data.subarray(b * size, (b + 1) * size)), h * w), b * size);
  return out;
}

/** (n, cells, dim) to (n, dim, cells). */
function channelsFirst(z: ArrayLike<number>, n: number, dim: number): Float64Array {
  const cells = z.length / n / dim;
  const out = new Float64Array(z.length);
  for (let b = 0; b < n; b++)
    for (let c = 0; c < cells; c++) for (let d = 0; d < dim; d++) out[(b * dim + d) * cells + c] = z[(b * cells + c) * dim + d];
  return out;
}

async function encoded({ device }: Case, model: VQGAN, file: AnswerFile, prefix: string): Promise<Row[]> {
  const pixels = file.get(`${prefix}pixel_values`);
  const [n, , h, w] = pixels.shape;
  const dim = model.config.embedDim;
  const tape = new Tape(device);
  const z = tape.keep(model.encode(tape.input("pixels", [n, h, w, 3])));
  const codes = tape.keep(nearestCode(z.reshape(z.size / dim, dim), model.quantize.embedding.weight));
  const quantized = tape.keep(gatherRows(tape.bring(model.quantize.embedding.weight), codes));
  const out = new Taps(tape).of(model.encoder.conv_out.weight);
  const inner = prefix === "" ? parts(tape, model.encoder, "enc", file) : new Map<string, Tensor>();
  const plan = await tape.plan();
  plan.write("pixels", channelsLast(pixels)).run();
  const [gotZ, gotCodes, gotQuantized, gotOut] = await plan.read(z, codes, quantized, out);
  const rows: Row[] = [];
  const put = (name: string, got: ArrayLike<number>, channels: number, limit = 2e-4) => {
    if (!file.has(prefix + name)) return;
    rows.push({ quantity: prefix + name, error: largest(channelsFirst(got, n, channels), file.get(prefix + name).data), limit });
  };
  put("prequant", gotZ, dim);
  put("prequant_f64", gotZ, dim, 5e-5);
  put("encoder_out", gotOut, out.shape[3]);
  // The reference adds the difference of code and vector to the vector, which rounds.
  put("quantized", gotQuantized, dim, 1e-6);
  rows.push({ quantity: `${prefix}codes`, error: unequal(gotCodes, file.get(`${prefix}codes`).data), limit: 0 });
  for (const [name, t] of inner) {
    const [got] = await plan.read(t);
    const one = got.subarray(0, got.length / n) as Float32Array;
    rows.push({ quantity: name, error: largest(channelsFirst(one, 1, t.shape[3]), file.get(name).data), limit: 2e-4 });
  }
  plan.destroy();
  return rows;
}

/** The results that answers name "enc.down1", "dec.mid.attn_1" and so on, found by the weights that made them. */
function parts(tape: Tape, half: VQGAN["encoder"] | NonNullable<VQGAN["decoder"]>, short: string, file: AnswerFile): Map<string, Tensor> {
  const taps = new Taps(tape);
  const found = new Map<string, Tensor>();
  const put = (name: string, weight: Tensor) => {
    if (file.has(`${short}.${name}`)) found.set(`${short}.${name}`, taps.of(weight));
  };
  put("conv_in", half.conv_in.weight);
  put("mid.block_1", half.mid.block_1.conv2.weight);
  put("mid.attn_1", half.mid.attn_1.proj_out.weight);
  put("mid.block_2", half.mid.block_2.conv2.weight);
  const levels = "down" in half ? half.down : half.up;
  const word = "down" in half ? "down" : "up";
  levels.forEach((level, l) => {
    const last = level.attn.length ? level.attn[level.attn.length - 1].proj_out : level.block[level.block.length - 1].conv2;
    put(`${word}${l}`, last.weight);
    const between = "downsample" in level ? level.downsample : "upsample" in level ? level.upsample : undefined;
    if (between) put(`${word}${l}.${word}sample`, between.conv.weight);
  });
  return found;
}

/** Pixel values of the pictures' bytes, and the ids of their codes. */
function besides(file: AnswerFile, vocab: Vocab | undefined, pixels: PixelConfig | undefined): Row[] {
  const rows: Row[] = [];
  if (file.has("image_u8") && pixels) {
    const { shape, data } = file.get("image_u8");
    const [n, height, width] = shape;
    const size = 3 * height * width;
    const values = Array.from({ length: n }, (_, b) =>
      pixelValues({ width, height, data: Uint8Array.from(data.subarray(b * size, (b + 1) * size)) }, pixels),
    );
    const got = values.flatMap((v) => [...v]);
    rows.push({ quantity: "pixel values of bytes", error: largest(got, file.get("pixel_values").data), limit: 1e-6 });
  }
  if (file.has("token_ids") && vocab)
    rows.push({
      quantity: "ids of codes",
      error: unequal(codesToIds(vocab, file.get("codes").data), file.get("token_ids").data),
      limit: 0,
    });
  return rows;
}

async function facts({ answers }: Case, file: AnswerFile): Promise<Row[]> {
  const { distinct_codes: distinct, wide } = await answers.json<{ distinct_codes?: number; wide?: { latent_h_w: number[] } }>("vq.json");
  const rows: Row[] = [];
  const count = new Set(file.get("codes").data).size;
  if (distinct !== undefined) rows.push({ quantity: "distinct codes", error: Math.abs(count - distinct), limit: 0 });
  if (wide && file.has("wide.prequant"))
    rows.push({ quantity: "wide.latent_h_w", error: unequal(file.get("wide.prequant").shape.slice(2), wide.latent_h_w), limit: 0 });
  return rows;
}

async function decoded({ device }: Case, model: VQGAN, file: AnswerFile, prefix: string, pixels?: PixelConfig): Promise<Row[]> {
  const codes = file.get(`${prefix}codes`);
  const want = file.get(`${prefix}pixel_values`);
  const [n, , h, w] = want.shape;
  const step = 2 ** (model.config.channelMultiplier.length - 1);
  const tape = new Tape(device);
  const ids = tape.input("codes", [codes.data.length], "u32");
  const vectors = gatherRows(tape.bring(model.quantize.embedding.weight), ids);
  const out = tape.keep(model.decode(vectors.reshape(n, h / step, w / step, model.config.embedDim)));
  const inner = prefix === "" ? parts(tape, model.decoder!, "dec", file) : new Map<string, Tensor>();
  if (prefix === "" && file.has("dec.post_quant_conv")) inner.set("dec.post_quant_conv", new Taps(tape).of(model.post_quant_conv!.weight));
  const plan = await tape.plan();
  plan.write("codes", Uint32Array.from(codes.data)).run();
  const [got] = await plan.read(out);
  const size = h * w * 3;
  const planes = Array.from({ length: n }, (_, b) => planar(got.slice(b * size, (b + 1) * size) as Float32Array));
  const all = planes.flatMap((p) => [...p]);
  const rows: Row[] = [{ quantity: `${prefix}decoded pixels`, error: largest(all, want.data), limit: 2e-4 }];
  if (file.has(`${prefix}pixel_values_f64`)) {
    const exact = file.get(`${prefix}pixel_values_f64`).data;
    rows.push({ quantity: `${prefix}decoded pixels against f64`, error: largest(all, exact), limit: 5e-5 });
  }
  if (file.has(`${prefix}image_u8_chw`) && pixels) {
    const bytes = planes.flatMap((p) => [...planar(Float32Array.from(postprocess(p, w, h, pixels).data))]);
    rows.push({ quantity: `${prefix}decoded bytes`, error: largest(bytes, file.get(`${prefix}image_u8_chw`).data), limit: 1 });
  }
  for (const [name, t] of inner) {
    const [values] = await plan.read(t);
    const one = values.subarray(0, values.length / n) as Float32Array;
    rows.push({ quantity: name, error: largest(channelsFirst(one, 1, t.shape[3]), file.get(name).data), limit: 2e-4 });
  }
  plan.destroy();
  return rows;
}
