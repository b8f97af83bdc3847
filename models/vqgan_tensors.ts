// The tensors of the picture model: names and shapes as checkpoints have them, and the layout they are held in. Convolutions are stored
// [out, in, kh, kw] and held [out, kh, kw, in]; the picture's own channels (3) are held padded with zero weights to 4, so that every row is
// read as vec4. Zero weights meet zero inputs or zero gradients and stay zero in training.
import type { VqConfig } from "../weights/names.ts";

export interface VqTensorSpec {
  readonly name: string;
  /** As in the checkpoint. */
  readonly shape: readonly number[];
  /** As held on the device. */
  readonly held: readonly number[];
}

/** Values of a shape. */
export const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);

/** A size rounded up to whole vec4. */
export const padded = (channels: number): number => Math.ceil(channels / 4) * 4;

/** Names and shapes of all tensors, in the order they are held; without the decoder's and post_quant_conv's where `decoder` is false. */
export function vqTensorSpecs(c: VqConfig, decoder = true): VqTensorSpec[] {
  const list = new SpecList();
  const latent = c.latentChannels * (c.doubleLatent ? 2 : 1);
  encoderSpecs(list, c, latent);
  list.put("quantize.embedding.weight", [c.codes, c.embedDim]);
  list.conv("quant_conv", latent, c.embedDim, 1);
  if (!decoder) return list.specs;
  list.conv("post_quant_conv", c.embedDim, c.latentChannels, 1);
  decoderSpecs(list, c);
  return list.specs;
}

/** Whether the blocks of a level are followed by attention. */
export const attends = (c: VqConfig, level: number): boolean => c.attnResolutions.includes(c.resolution / 2 ** level);

function encoderSpecs(list: SpecList, c: VqConfig, latent: number): void {
  const widths = c.channelMultiplier.map((m) => m * c.baseChannels);
  list.conv("encoder.conv_in", c.inChannels, c.baseChannels, 3, { in: padded(c.inChannels) });
  let channels = c.baseChannels;
  widths.forEach((width, l) => {
    for (let b = 0; b < c.resBlocks; b++, channels = width) {
      list.resnet(`encoder.down.${l}.block.${b}`, channels, width);
      if (attends(c, l)) list.attention(`encoder.down.${l}.attn.${b}`, width);
    }
    if (l < widths.length - 1) list.conv(`encoder.down.${l}.downsample.conv`, width, width, 3);
  });
  list.middle("encoder.mid", channels);
  list.norm("encoder.norm_out", channels);
  list.conv("encoder.conv_out", channels, latent, 3);
}

function decoderSpecs(list: SpecList, c: VqConfig): void {
  const widths = c.channelMultiplier.map((m) => m * c.baseChannels);
  let channels = widths[widths.length - 1];
  list.conv("decoder.conv_in", c.latentChannels, channels, 3);
  list.middle("decoder.mid", channels);
  for (let l = widths.length - 1; l >= 0; l--) {
    for (let b = 0; b <= c.resBlocks; b++, channels = widths[l]) {
      list.resnet(`decoder.up.${l}.block.${b}`, channels, widths[l]);
      if (attends(c, l)) list.attention(`decoder.up.${l}.attn.${b}`, widths[l]);
    }
    if (l > 0) list.conv(`decoder.up.${l}.upsample.conv`, widths[l], widths[l], 3);
  }
  list.norm("decoder.norm_out", channels);
  list.conv("decoder.conv_out", channels, c.outChannels, 3, { out: padded(c.outChannels) });
}

class SpecList {
  readonly specs: VqTensorSpec[] = [];

  put(name: string, shape: readonly number[], held = shape): void {
    this.specs.push({ name, shape, held });
  }

  conv(name: string, inputs: number, outputs: number, k: number, pad: { in?: number; out?: number } = {}): void {
    this.put(`${name}.weight`, [outputs, inputs, k, k], [pad.out ?? outputs, k, k, pad.in ?? inputs]);
    this.put(`${name}.bias`, [outputs], [pad.out ?? outputs]);
  }

  norm(name: string, channels: number): void {
    this.put(`${name}.weight`, [channels]);
    this.put(`${name}.bias`, [channels]);
  }

  resnet(name: string, inputs: number, outputs: number): void {
    this.norm(`${name}.norm1`, inputs);
    this.conv(`${name}.conv1`, inputs, outputs, 3);
    this.norm(`${name}.norm2`, outputs);
    this.conv(`${name}.conv2`, outputs, outputs, 3);
    if (inputs !== outputs) this.conv(`${name}.nin_shortcut`, inputs, outputs, 1);
  }

  attention(name: string, channels: number): void {
    this.norm(`${name}.norm`, channels);
    for (const part of ["q", "k", "v", "proj_out"]) this.conv(`${name}.${part}`, channels, channels, 1);
  }

  middle(name: string, channels: number): void {
    this.resnet(`${name}.block_1`, channels, channels);
    this.attention(`${name}.attn_1`, channels);
    this.resnet(`${name}.block_2`, channels, channels);
  }
}

/** Values in checkpoint layout as they are held. */
export function toHeld({ shape, held }: VqTensorSpec, data: Float32Array): Float32Array {
  const out = new Float32Array(sizeOf(held));
  moveValues(shape, held, (stored, at) => {
    out[at] = data[stored];
  });
  return out;
}

/** Held values in checkpoint layout. */
export function toCheckpoint({ shape, held }: VqTensorSpec, data: Float32Array): Float32Array {
  const out = new Float32Array(sizeOf(shape));
  moveValues(shape, held, (stored, at) => {
    out[stored] = data[at];
  });
  return out;
}

function moveValues(shape: readonly number[], held: readonly number[], move: (stored: number, at: number) => void): void {
  const size = sizeOf(shape);
  if (shape.length !== 4) {
    for (let n = 0; n < size; n++) move(n, n);
    return;
  }
  const [O, I, KH, KW] = shape;
  for (let o = 0, n = 0; o < O; o++)
    for (let i = 0; i < I; i++) for (let tap = 0; tap < KH * KW; tap++, n++) move(n, (o * KH * KW + tap) * held[3] + i);
}
