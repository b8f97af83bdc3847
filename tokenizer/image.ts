// Pictures to codes and pre-quantised features, and codes back to pictures, in batches of one shape per plan.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { gatherRows } from "../engine/ops/embedding.ts";
import { nearestCode } from "../engine/ops/quantize.ts";
import type { Plan } from "../engine/plan.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { VQGAN } from "../models/vqgan.ts";
import { type Picture, type PixelConfig, postprocess, preprocess } from "./pixels.ts";

/** What the picture tokenizer makes of one picture: h x w codes in raster order, and features (h*w, embedDim) before the codebook. */
export interface Encoded {
  readonly codes: Uint32Array;
  readonly features: Float32Array;
  readonly rows: number;
  readonly columns: number;
}

interface EncodePlan {
  readonly plan: Plan;
  readonly codes: Tensor;
  readonly features: Tensor;
}

interface DecodePlan {
  readonly plan: Plan;
  readonly out: Tensor;
}

/** Plans of different picture sizes that are kept for the next call; each holds its activations. */
const keptPlans = 3;

/** The plan of a key, made anew where it is not kept; the one not used for longest makes room. */
async function recent<T extends { plan: Plan }>(plans: Map<string, T>, key: string, make: () => Promise<T>): Promise<T> {
  const known = plans.get(key);
  plans.delete(key);
  const found = known ?? (await make());
  plans.set(key, found);
  if (plans.size > keptPlans) {
    const [oldest, { plan }] = plans.entries().next().value!;
    plans.delete(oldest);
    plan.destroy();
  }
  return found;
}

export class PictureCoder {
  readonly pixels: PixelConfig;
  /** Pictures per run. */
  readonly batch: number;
  private readonly device: Device;
  private readonly vqgan: VQGAN;
  private readonly encoders = new Map<string, EncodePlan>();
  private readonly decoders = new Map<string, DecodePlan>();

  constructor(device: Device, vqgan: VQGAN, pixels: PixelConfig, batch = 32) {
    this.device = device;
    this.vqgan = vqgan;
    this.pixels = pixels;
    this.batch = batch;
  }

  /** Gives the memory of encoding and decoding back until it is needed again. No call may be under way. */
  async release(): Promise<void> {
    for (const made of [...this.encoders.values(), ...this.decoders.values()]) (await made).plan.destroy();
    this.encoders.clear();
    this.decoders.clear();
  }

  /** Pixels per code along each side. */
  get reduction(): number {
    return 2 ** (this.vqgan.config.channelMultiplier.length - 1);
  }

  /** Pictures of a size that one run takes: as many as asked for, as long as no activation is larger than one binding. */
  private batchOf(wanted: number, width: number, height: number): number {
    const largest = width * height * this.vqgan.config.baseChannels * 4;
    return Math.max(1, Math.min(wanted === 1 ? 1 : this.batch, Math.floor(this.device.bindingBytes / largest)));
  }

  /** Encodes pictures of any size; each is prepared (resized, cropped) as the model's preprocessor says. */
  async encode(pictures: readonly Picture[]): Promise<Encoded[]> {
    const prepared = pictures.map((p) => preprocess(p, this.pixels));
    const out: Encoded[] = [];
    for (let i = 0; i < prepared.length; ) {
      const { width, height } = prepared[i];
      const batch = this.batchOf(prepared.length, width, height);
      let end = i + 1;
      while (end < prepared.length && end - i < batch && prepared[end].width === width && prepared[end].height === height) end++;
      out.push(
        ...(await this.encodeBatch(
          prepared.slice(i, end).map((p) => p.values),
          width,
          height,
          batch,
        )),
      );
      i = end;
    }
    return out;
  }

  private async encodeBatch(values: readonly Float32Array[], width: number, height: number, batch: number): Promise<Encoded[]> {
    const step = this.reduction;
    if (width % step || height % step)
      throw new WorldlineError(`a picture of ${width} x ${height} pixels cannot be encoded; both sides must be multiples of ${step}`);
    const key = `${batch}x${width}x${height}`;
    const { plan, codes, features } = await recent(this.encoders, key, () => this.recordEncode(batch, width, height));
    const pixels = new Float32Array(batch * width * height * 3);
    for (const [b, v] of values.entries()) pixels.set(interleaved(v, width * height), b * width * height * 3);
    plan.write("pixels", pixels).run();
    const [c, f] = await plan.read(codes, features);
    const cells = (width / step) * (height / step);
    const dim = this.vqgan.config.embedDim;
    return values.map((_, b) => ({
      codes: (c as Uint32Array).slice(b * cells, (b + 1) * cells),
      features: (f as Float32Array).slice(b * cells * dim, (b + 1) * cells * dim),
      rows: height / step,
      columns: width / step,
    }));
  }

  private async recordEncode(batch: number, width: number, height: number): Promise<EncodePlan> {
    const tape = new Tape(this.device);
    const z = this.vqgan.encode(tape.input("pixels", [batch, height, width, 3]));
    const rows = z.reshape(z.size / this.vqgan.config.embedDim, this.vqgan.config.embedDim);
    const codes = nearestCode(rows, this.vqgan.quantize.embedding.weight);
    tape.keep(codes);
    tape.keep(z);
    return { plan: await tape.plan(), codes, features: z };
  }

  /** Pictures for codes in raster order, `columns` codes wide. */
  async decode(codes: readonly ArrayLike<number>[], columns: number): Promise<Picture[]> {
    const out: Picture[] = [];
    const most = this.vqgan.config.codes;
    for (const list of codes) {
      if (list.length === 0 || list.length % columns || list.length !== codes[0].length)
        throw new WorldlineError(
          `${list.length} codes were given for rows of ${columns}; every picture of a call needs the same whole number of rows`,
        );
      const wrong = Array.from(list).find((code) => !Number.isInteger(code) || code < 0 || code >= most);
      if (wrong !== undefined)
        throw new WorldlineError(
          `${wrong} is no picture code; this model's codes run from 0 to ${most - 1}, do codes and model belong together?`,
        );
    }
    const rows = (codes[0]?.length ?? columns) / columns;
    const batch = this.batchOf(codes.length, columns * this.reduction, rows * this.reduction);
    for (let i = 0; i < codes.length; i += batch) {
      const part = codes.slice(i, i + batch);
      const key = `${batch}x${rows}x${columns}`;
      const { plan, out: tensor } = await recent(this.decoders, key, () => this.recordDecode(batch, rows, columns));
      const ids = new Uint32Array(batch * rows * columns);
      for (const [b, c] of part.entries()) ids.set(Uint32Array.from(c), b * rows * columns);
      plan.write("codes", ids).run();
      const [values] = await plan.read(tensor);
      const [width, height] = [columns * this.reduction, rows * this.reduction];
      const size = width * height * 3;
      for (let b = 0; b < part.length; b++) {
        const picture = planar(values.subarray(b * size, (b + 1) * size) as Float32Array);
        out.push(postprocess(picture, width, height, this.pixels));
      }
    }
    return out;
  }

  private async recordDecode(batch: number, rows: number, columns: number): Promise<DecodePlan> {
    const tape = new Tape(this.device);
    const codes = tape.input("codes", [batch * rows * columns], "u32");
    const dim = this.vqgan.config.embedDim;
    const quantized = gatherRows(tape.bring(this.vqgan.quantize.embedding.weight), codes).reshape(batch, rows, columns, dim);
    const out = tape.keep(this.vqgan.decode(quantized));
    return { plan: await tape.plan(), out };
  }
}

/** (3, h, w) to (h, w, 3). */
export function interleaved(planes: Float32Array, pixels: number): Float32Array {
  const out = new Float32Array(planes.length);
  for (let i = 0; i < pixels; i++) for (let c = 0; c < 3; c++) out[i * 3 + c] = planes[c * pixels + i];
  return out;
}

/** (h, w, 3) to (3, h, w). */
export function planar(rows: Float32Array): Float32Array {
  const pixels = rows.length / 3;
  const out = new Float32Array(rows.length);
  for (let i = 0; i < pixels; i++) for (let c = 0; c < 3; c++) out[c * pixels + i] = rows[i * 3 + c];
  return out;
}
