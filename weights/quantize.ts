// int8 and int4 matrices: group-wise, symmetric, along a row (the inputs of a linear layer). 2^k neighbours of a row share one f32 scale;
// value = (bits - 128) scale for int8, (bits - 8) scale for int4. Layout, on the device and in files alike: unsigned bits, four or eight to a
// little-endian 32-bit word, the first in the low bits, each row from a word on; scales (rows, ceil(columns / group size)) apart. A group's
// scale is the largest size / 127 for int8; for int4 the better of two by squared error, each refitted by least squares (docs/log.md).

import { WorldlineError } from "../engine/errors.ts";

export interface Scheme {
  readonly bits: 4 | 8;
  /** Values that share a scale: a power of two from 8 up. */
  readonly groupSize: number;
}

/** Bytes of a row of bits: whole words. */
export function rowBytes(columns: number, bits: 4 | 8): number {
  return Math.ceil((columns * bits) / 32) * 4;
}

/** Scales of a row. */
export function rowGroups(columns: number, groupSize: number): number {
  return Math.ceil(columns / groupSize);
}

/** Throws where no kernel could read the scheme. */
export function checkScheme({ bits, groupSize }: Scheme, where: string): void {
  if (bits !== 4 && bits !== 8) throw new WorldlineError(`${where}: ${bits} bits a weight are not known; 4 and 8 are`);
  if (!(groupSize >= 8 && groupSize <= 65536 && 2 ** Math.round(Math.log2(groupSize)) === groupSize))
    throw new WorldlineError(`${where}: the group size is ${groupSize}; a power of two from 8 to 65536 is needed`);
}

/**
 * Quantises whole rows of `columns` values. Fills `bits` (rows x rowBytes) and `scales` (rows x rowGroups). Throws, naming `name`, where a
 * value is not finite.
 */
export function quantizeRows(
  values: Float32Array,
  columns: number,
  scheme: Scheme,
  out: { readonly bits: Uint8Array; readonly scales: Float32Array },
  name = "tensor",
): void {
  const { groupSize } = scheme;
  const rows = values.length / columns;
  const stride = rowBytes(columns, scheme.bits);
  const groups = rowGroups(columns, groupSize);
  const whole = scheme.bits === 8 ? scaleOf8 : scaleOf4;
  const put = scheme.bits === 8 ? pack8 : pack4;
  for (let r = 0; r < rows; r++) {
    const end = (r + 1) * columns;
    for (let g = 0; g < groups; g++) {
      const from = r * columns + g * groupSize;
      const to = Math.min(from + groupSize, end);
      const scale = Math.fround(whole(values, from, to));
      if (!Number.isFinite(scale))
        throw new WorldlineError(`${name}: row ${r} holds a value that is not finite; such a tensor cannot be quantised`);
      out.scales[r * groups + g] = scale;
      const inverse = 1 / scale;
      put(values, from, to, Number.isFinite(inverse) ? inverse : 0, out.bits, r * stride + (g * groupSize * scheme.bits) / 8);
    }
  }
}

/** The numbers that quantised rows stand for. */
export function dequantizeRows(bits: Uint8Array, scales: Float32Array, columns: number, { bits: width, groupSize }: Scheme): Float32Array {
  const stride = rowBytes(columns, width);
  const groups = rowGroups(columns, groupSize);
  const rows = bits.length / stride;
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) {
      const byte = bits[r * stride + ((c * width) >> 3)];
      const q = width === 8 ? byte - 128 : ((byte >> ((c & 1) * 4)) & 15) - 8;
      out[r * columns + c] = q * scales[r * groups + Math.floor(c / groupSize)];
    }
  }
  return out;
}

// The loops below see every weight of a model: rounding is truncation of a number made positive, and clamping two comparisons.

/** The value of largest size of a group; NaN where any is not finite. */
function largestOf(v: Float32Array, from: number, to: number): number {
  let low = 0;
  let high = 0;
  let strange = 0;
  for (let i = from; i < to; i++) {
    const x = v[i];
    if (x < low) low = x;
    else if (x > high) high = x;
    strange += x - x;
  }
  if (strange !== 0) return Number.NaN;
  return high > -low ? high : low;
}

function scaleOf8(v: Float32Array, from: number, to: number): number {
  return Math.abs(largestOf(v, from, to)) / 127;
}

/** Levels that a group's largest value may fall on before the refit: -8 uses all sixteen, -9 clips it to the benefit of the others. */
const levels = [-8, -9];

function scaleOf4(v: Float32Array, from: number, to: number): number {
  const largest = largestOf(v, from, to);
  if (largest === 0 || Number.isNaN(largest)) return largest;
  let best = 0;
  let gained = 0;
  for (const level of levels) {
    const inverse = level / largest;
    let vq = 0;
    let qq = 0;
    for (let i = from; i < to; i++) {
      const x = v[i];
      let q = (x * inverse + 8.5) | 0;
      if (q > 15) q = 15;
      else if (q < 0) q = 0;
      q -= 8;
      vq += x * q;
      qq += q * q;
    }
    // With the scale vq / qq the squared error is sum v^2 - vq^2 / qq.
    const gain = qq > 0 ? (vq * vq) / qq : 0;
    if (gain > gained) {
      gained = gain;
      best = vq / qq;
    }
  }
  return best;
}

function pack8(v: Float32Array, from: number, to: number, inverse: number, bits: Uint8Array, at: number): void {
  for (let i = from, b = at; i < to; i++, b++) {
    let q = (v[i] * inverse + 128.5) | 0;
    if (q > 255) q = 255;
    else if (q < 0) q = 0;
    bits[b] = q;
  }
}

function pack4(v: Float32Array, from: number, to: number, inverse: number, bits: Uint8Array, at: number): void {
  for (let i = from, b = at; i < to; i += 2, b++) {
    let low = (v[i] * inverse + 8.5) | 0;
    if (low > 15) low = 15;
    else if (low < 0) low = 0;
    let high = i + 1 < to ? (v[i + 1] * inverse + 8.5) | 0 : 0;
    if (high > 15) high = 15;
    else if (high < 0) high = 0;
    bits[b] = low | (high << 4);
  }
}
