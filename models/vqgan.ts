// The picture model: a convolutional encoder to a small grid of vectors, each replaced by the nearest of a codebook, and a decoder back
// (VQGAN, Esser and others, arXiv 2012.09841, in Chameleon's form). Pictures are NHWC in [-1, 1]; field names are the checkpoint's names.
// Sizes come from VqConfig alone; any height and width that halve evenly between the levels will do.
import type { Device } from "../engine/device.ts";
import { ShapeError, WorldlineError } from "../engine/errors.ts";
import { attention } from "../engine/ops/attention.ts";
import { conv2d, resizeChannels, upsample } from "../engine/ops/conv.ts";
import { gatherRows } from "../engine/ops/embedding.ts";
import { groupNorm } from "../engine/ops/group_norm.ts";
import { linear } from "../engine/ops/matmul.ts";
import { quantize } from "../engine/ops/quantize.ts";
import { Rng } from "../engine/rng.ts";
import type { Tensor } from "../engine/tensor.ts";
import type { VqConfig } from "../weights/names.ts";
import { attends, padded, sizeOf, toCheckpoint, toHeld, type VqTensorSpec, vqTensorSpecs } from "./vqgan_tensors.ts";

export { type VqTensorSpec, vqTensorSpecs } from "./vqgan_tensors.ts";

/** Weight and bias of a convolution or norm. */
interface Affine {
  weight: Tensor;
  bias: Tensor;
}
interface ResnetBlock {
  norm1: Affine;
  conv1: Affine;
  norm2: Affine;
  conv2: Affine;
  nin_shortcut?: Affine;
}
interface AttnBlock {
  norm: Affine;
  q: Affine;
  k: Affine;
  v: Affine;
  proj_out: Affine;
}
interface Middle {
  block_1: ResnetBlock;
  attn_1: AttnBlock;
  block_2: ResnetBlock;
}
/** One resolution: blocks, each followed by attention where there is some. */
interface Level {
  block: ResnetBlock[];
  attn: AttnBlock[];
}
interface Ends {
  conv_in: Affine;
  mid: Middle;
  norm_out: Affine;
  conv_out: Affine;
}
interface Encoder extends Ends {
  down: (Level & { downsample?: { conv: Affine } })[];
}
interface Decoder extends Ends {
  up: (Level & { upsample?: { conv: Affine } })[];
}

export class VQGAN {
  readonly config: VqConfig;
  readonly encoder: Encoder;
  readonly quantize: { embedding: { weight: Tensor } };
  readonly quant_conv: Affine;
  /** Absent, with the decoder, where the checkpoint has none. */
  readonly post_quant_conv?: Affine;
  readonly decoder?: Decoder;

  constructor(config: VqConfig, tensors: ReadonlyMap<string, Tensor>) {
    const parts = new Parts(tensors);
    const levels = config.channelMultiplier.map((_, l) => l);
    const level = (at: string, l: number, blocks: number): Level => ({
      block: Array.from({ length: blocks }, (_, b) => parts.resnet(`${at}.block.${b}`)),
      attn: attends(config, l) ? Array.from({ length: blocks }, (_, b) => parts.attention(`${at}.attn.${b}`)) : [],
    });
    const last = levels.length - 1;
    this.config = config;
    this.encoder = {
      ...parts.ends("encoder"),
      down: levels.map((l) => ({
        ...level(`encoder.down.${l}`, l, config.resBlocks),
        ...(l < last ? { downsample: { conv: parts.affine(`encoder.down.${l}.downsample.conv`) } } : {}),
      })),
    };
    this.quantize = { embedding: { weight: tensors.get("quantize.embedding.weight")! } };
    this.quant_conv = parts.affine("quant_conv");
    if (!tensors.has("decoder.conv_in.weight")) return;
    this.post_quant_conv = parts.affine("post_quant_conv");
    this.decoder = {
      ...parts.ends("decoder"),
      up: levels.map((l) => ({
        ...level(`decoder.up.${l}`, l, config.resBlocks + 1),
        ...(l > 0 ? { upsample: { conv: parts.affine(`decoder.up.${l}.upsample.conv`) } } : {}),
      })),
    };
  }

  /** Vectors before quantisation: pictures (B, H, W, 3) -> (B, H / f, W / f, embedDim), f = 2^(levels - 1). */
  encode(x: Tensor): Tensor {
    const { inChannels, channelMultiplier } = this.config;
    const factor = 2 ** (channelMultiplier.length - 1);
    const [, H, W, C] = x.shape;
    if (x.shape.length !== 4 || C !== inChannels || H % factor || W % factor) {
      throw new ShapeError(
        "VQGAN.encode",
        { x },
        `pictures must be (batch, height, width, ${inChannels}) with height and width multiples of ${factor}`,
      );
    }
    const { tape } = x;
    const { conv_in, down, mid, norm_out, conv_out } = this.encoder;
    let h = convolve(resizeChannels(x, padded(inChannels)), conv_in);
    down.forEach((level, l) => {
      h = tape.scope(`encoder.down.${l}`, () => {
        const y = blocks(h, level);
        return level.downsample ? convolve(y, level.downsample.conv, { stride: 2 }) : y;
      });
    });
    h = tape.scope("encoder.mid", () => middle(h, mid));
    return pointwise(convolve(groupNorm(h, norm_out.weight, norm_out.bias, { swish: true }), conv_out), this.quant_conv);
  }

  /** Pictures (B, h f, w f, 3), about -1 to 1 and not clamped, of vectors (B, h, w, embedDim). */
  decode(z: Tensor): Tensor {
    if (!this.decoder || !this.post_quant_conv) {
      throw new WorldlineError(
        "VQGAN.decode: these weights hold no VQ decoder, as the official checkpoints do not; take the decoder.* tensors from an Anole conversion",
      );
    }
    const { embedDim, outChannels } = this.config;
    if (z.shape.length !== 4 || z.shape[3] !== embedDim)
      throw new ShapeError("VQGAN.decode", { z }, `z must be (batch, height, width, ${embedDim})`);
    const { tape } = z;
    const { conv_in, up, mid, norm_out, conv_out } = this.decoder;
    let h = convolve(pointwise(z, this.post_quant_conv), conv_in);
    h = tape.scope("decoder.mid", () => middle(h, mid));
    for (let l = up.length - 1; l >= 0; l--) {
      const level = up[l];
      h = tape.scope(`decoder.up.${l}`, () => {
        const y = blocks(h, level);
        return level.upsample ? convolve(upsample(y), level.upsample.conv) : y;
      });
    }
    return resizeChannels(convolve(groupNorm(h, norm_out.weight, norm_out.bias, { swish: true }), conv_out), outChannels);
  }

  /** Codes (u32, B x h x w) and their vectors (B, h, w, embedDim) for z (B, h, w, embedDim); the vectors' gradient goes straight to z. */
  quantise(z: Tensor): { codes: Tensor; quantized: Tensor } {
    return quantize(z, this.quantize.embedding.weight);
  }

  /** Pictures of codes (u32, (B, h, w)). */
  decodeCodes(codes: Tensor): Tensor {
    return this.decode(gatherRows(this.quantize.embedding.weight, codes));
  }

  /** Pictures through the codes and back. */
  reconstruct(x: Tensor): { pixels: Tensor; z: Tensor; codes: Tensor; quantized: Tensor } {
    const z = this.encode(x);
    const { codes, quantized } = this.quantise(z);
    return { pixels: this.decode(quantized), z, codes, quantized };
  }
}

function convolve(x: Tensor, { weight, bias }: Affine, options: { stride?: 1 | 2; residual?: Tensor } = {}): Tensor {
  return conv2d(x, weight, { bias, ...options });
}

/** A 1x1 convolution. */
function pointwise(x: Tensor, { weight, bias }: Affine, residual?: Tensor): Tensor {
  return linear(x, weight.reshape(weight.shape[0], weight.shape[3]), { bias, residual, name: "conv1x1" });
}

function resnet(x: Tensor, w: ResnetBlock): Tensor {
  const h = convolve(groupNorm(x, w.norm1.weight, w.norm1.bias, { swish: true }), w.conv1);
  const residual = w.nin_shortcut ? pointwise(x, w.nin_shortcut) : x;
  return convolve(groupNorm(h, w.norm2.weight, w.norm2.bias, { swish: true }), w.conv2, { residual });
}

/** Attention of every pixel to every pixel, one head. */
function attend(x: Tensor, w: AttnBlock): Tensor {
  const [B, H, W, C] = x.shape;
  const h = groupNorm(x, w.norm.weight, w.norm.bias);
  const heads = (t: Tensor) => t.reshape(B, H * W, 1, C);
  const mixed = attention(heads(pointwise(h, w.q)), heads(pointwise(h, w.k)), heads(pointwise(h, w.v)));
  return pointwise(mixed.reshape(B, H, W, C), w.proj_out, x);
}

function middle(x: Tensor, w: Middle): Tensor {
  return resnet(attend(resnet(x, w.block_1), w.attn_1), w.block_2);
}

function blocks(x: Tensor, { block, attn }: Level): Tensor {
  return block.reduce((h, w, b) => (attn[b] ? attend(resnet(h, w), attn[b]) : resnet(h, w)), x);
}

/** Finds the tensors of each part by name. */
class Parts {
  private readonly tensors: ReadonlyMap<string, Tensor>;

  constructor(tensors: ReadonlyMap<string, Tensor>) {
    this.tensors = tensors;
  }

  affine(name: string): Affine {
    return { weight: this.tensors.get(`${name}.weight`)!, bias: this.tensors.get(`${name}.bias`)! };
  }

  resnet(at: string): ResnetBlock {
    const p = (name: string) => this.affine(`${at}.${name}`);
    const shortcut = this.tensors.has(`${at}.nin_shortcut.weight`) ? { nin_shortcut: p("nin_shortcut") } : {};
    return { norm1: p("norm1"), conv1: p("conv1"), norm2: p("norm2"), conv2: p("conv2"), ...shortcut };
  }

  attention(at: string): AttnBlock {
    const p = (name: string) => this.affine(`${at}.${name}`);
    return { norm: p("norm"), q: p("q"), k: p("k"), v: p("v"), proj_out: p("proj_out") };
  }

  ends(at: string): Ends {
    const mid = {
      block_1: this.resnet(`${at}.mid.block_1`),
      attn_1: this.attention(`${at}.mid.attn_1`),
      block_2: this.resnet(`${at}.mid.block_2`),
    };
    return { conv_in: this.affine(`${at}.conv_in`), mid, norm_out: this.affine(`${at}.norm_out`), conv_out: this.affine(`${at}.conv_out`) };
  }
}

/** Gives a tensor as f32 in checkpoint layout by its name without the model's prefix, or undefined where the files have none of that name. */
export type VqReader = (name: string, shape: readonly number[]) => Promise<Float32Array | undefined> | undefined;

/**
 * A model with all tensors side by side in one buffer, read from a checkpoint or drawn: weights and biases of convolutions uniform in
 * +- 1 / sqrt(inputs of an output), norms 1 and 0, codebook uniform in +- 1 / codes. Where the checkpoint has no decoder the model only encodes.
 */
export async function createVqgan(device: Device, config: VqConfig, source: Rng | VqReader): Promise<VQGAN> {
  const decoder = source instanceof Rng || (await source("decoder.conv_in.bias", [])) !== undefined;
  const specs = vqTensorSpecs(config, decoder);
  const held = specs.map(({ name, held }) => ({ name, shape: held }));
  const tensors = device.arena(held, "weights", "picture model");
  for (const [i, spec] of specs.entries()) {
    const data = source instanceof Rng ? initial(source.fork(spec.name), specs, i) : await source(spec.name, spec.shape);
    if (!data)
      throw new WorldlineError(`${spec.name} is missing from the picture model's weights; the file is incomplete or of another model`);
    if (data.length !== sizeOf(spec.shape)) {
      throw new WorldlineError(
        `${spec.name} has ${data.length} values but (${spec.shape.join(", ")}) is needed; vq_config does not fit the weights`,
      );
    }
    device.write(tensors[i], toHeld(spec, data));
  }
  return new VQGAN(config, new Map(tensors.map((t) => [t.name, t])));
}

function initial(rng: Rng, specs: readonly VqTensorSpec[], i: number): Float32Array {
  const { name, shape } = specs[i];
  const draw = (limit: number) => Float32Array.from({ length: sizeOf(shape) }, () => rng.uniform(-limit, limit));
  if (name === "quantize.embedding.weight") return draw(1 / shape[0]);
  if (/norm[^.]*\.(weight|bias)$/.test(name)) return new Float32Array(shape[0]).fill(name.endsWith("weight") ? 1 : 0);
  // A bias follows its weight in the list and shares its limit.
  const weight = name.endsWith("bias") ? specs[i - 1].shape : shape;
  return draw(1 / Math.sqrt(weight[1] * weight[2] * weight[3]));
}

/** The model as named arrays with their shapes, in checkpoint layout and order. */
export async function saveTensors(device: Device, model: VQGAN): Promise<Map<string, { shape: readonly number[]; data: Float32Array }>> {
  const specs = vqTensorSpecs(model.config, model.decoder !== undefined);
  const values = (await device.read(...specs.map(({ name }) => tensorAt(model, name)))) as Float32Array[];
  return new Map(specs.map((spec, i) => [spec.name, { shape: spec.shape, data: toCheckpoint(spec, values[i]) }]));
}

/** The tensor at a dotted path. */
function tensorAt(model: VQGAN, path: string): Tensor {
  return path.split(".").reduce<unknown>((part, key) => (part as Record<string, unknown>)[key], model) as Tensor;
}

/** Floating point operations to encode and to decode one picture: its convolutions, attention and the search for codes. */
export function flops(c: VqConfig, height: number, width: number): { encode: number; decode: number } {
  const last = c.channelMultiplier.length - 1;
  const grid = (height * width) / 4 ** last;
  const sums = { encode: 3 * grid * c.codes * c.embedDim, decode: 0 };
  for (const { name, shape } of vqTensorSpecs(c)) {
    if (shape.length !== 4) continue;
    const side = /^(decoder|post_quant)/.test(name) ? "decode" : "encode";
    const level = Number(/\.(?:down|up)\.(\d+)\./.exec(name)?.[1] ?? (/^(encoder\.conv_in|decoder\.conv_out)/.test(name) ? 0 : last));
    // Down- and upsampling convolutions work at the resolution of the next level.
    const pixels = (height * width) / 4 ** (level + (/downsample/.test(name) ? 1 : /upsample/.test(name) ? -1 : 0));
    sums[side] += 2 * sizeOf(shape) * pixels;
    if (name.endsWith(".q.weight")) sums[side] += 4 * pixels * pixels * shape[0];
  }
  return sums;
}

/** Bytes of the weights as held. */
export function bytes(c: VqConfig, decoder = true): number {
  return vqTensorSpecs(c, decoder).reduce((sum, s) => sum + 4 * sizeOf(s.held), 0);
}
