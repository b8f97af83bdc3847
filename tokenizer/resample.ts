// Pillow's 8-bit resampling, bit for bit: two passes, horizontal then vertical, with rounding to bytes between; weights in 22-bit fixed point.
// For output x: centre = (x + 0.5) * scale; weight of input i is filter((i - centre + 0.5) / max(scale, 1)), divided by the sum.

/** Filters by Pillow's numbers: 1 Lanczos, 2 bilinear, 3 bicubic. */
export type ResampleFilter = 1 | 2 | 3;

const filters: Record<ResampleFilter, { support: number; weight: (t: number) => number }> = {
  1: { support: 3, weight: (t) => (Math.abs(t) < 3 ? sinc(t) * sinc(t / 3) : 0) },
  2: { support: 1, weight: (t) => Math.max(0, 1 - Math.abs(t)) },
  3: { support: 2, weight: cubic },
};

function sinc(t: number): number {
  return t === 0 ? 1 : Math.sin(Math.PI * t) / (Math.PI * t);
}

function cubic(t: number): number {
  const a = -0.5;
  const x = Math.abs(t);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

interface Weights {
  /** First input of each output. */
  readonly first: Int32Array;
  /** Number of inputs of each output. */
  readonly count: Int32Array;
  /** `width` fixed-point weights per output. */
  readonly fixed: Int32Array;
  readonly width: number;
}

function weightsFor(n: number, out: number, filter: ResampleFilter): Weights {
  const scale = n / out;
  const stretch = Math.max(scale, 1);
  const support = filters[filter].support * stretch;
  const width = Math.ceil(support) * 2 + 1;
  const first = new Int32Array(out);
  const count = new Int32Array(out);
  const fixed = new Int32Array(out * width);
  for (let x = 0; x < out; x++) {
    const centre = (x + 0.5) * scale;
    const lo = Math.max(Math.trunc(centre - support + 0.5), 0);
    const hi = Math.min(Math.trunc(centre + support + 0.5), n);
    const inverse = 1 / stretch;
    const weights = Array.from({ length: hi - lo }, (_, i) => filters[filter].weight((i + lo - centre + 0.5) * inverse));
    const sum = weights.reduce((total, w) => total + w, 0);
    weights.forEach((w, i) => {
      const share = sum === 0 ? w : w * (1 / sum);
      fixed[x * width + i] = Math.trunc(share < 0 ? share * 2 ** 22 - 0.5 : share * 2 ** 22 + 0.5);
    });
    first[x] = lo;
    count[x] = hi - lo;
  }
  return { first, count, fixed, width };
}

/** Resamples rows of bytes [height, width, channels] to [outHeight, outWidth, channels]; a direction that keeps its size is not touched. */
export function resample(
  data: Uint8Array,
  width: number,
  height: number,
  channels: number,
  outWidth: number,
  outHeight: number,
  filter: ResampleFilter,
): Uint8Array {
  const wide = outWidth === width ? data : acrossRows(data, width, height, channels, weightsFor(width, outWidth, filter));
  return outHeight === height ? wide : downColumns(wide, outWidth * channels, weightsFor(height, outHeight, filter));
}

function acrossRows(
  data: Uint8Array,
  width: number,
  height: number,
  channels: number,
  { first, count, fixed, width: stride }: Weights,
): Uint8Array {
  const outWidth = first.length;
  const out = new Uint8ClampedArray(outWidth * height * channels);
  for (let y = 0, o = 0; y < height; y++) {
    for (let x = 0; x < outWidth; x++) {
      for (let c = 0; c < channels; c++, o++) {
        let sum = 1 << 21;
        let i = (y * width + first[x]) * channels + c;
        for (let k = x * stride, end = k + count[x]; k < end; k++, i += channels) sum += data[i] * fixed[k];
        out[o] = sum >> 22;
      }
    }
  }
  return new Uint8Array(out.buffer);
}

function downColumns(data: Uint8Array, rowBytes: number, { first, count, fixed, width: stride }: Weights): Uint8Array {
  const out = new Uint8ClampedArray(first.length * rowBytes);
  const sums = new Int32Array(rowBytes);
  for (let y = 0; y < first.length; y++) {
    sums.fill(1 << 21);
    for (let k = 0; k < count[y]; k++) {
      const weight = fixed[y * stride + k];
      const row = (first[y] + k) * rowBytes;
      for (let i = 0; i < rowBytes; i++) sums[i] += data[row + i] * weight;
    }
    for (let i = 0; i < rowBytes; i++) out[y * rowBytes + i] = sums[i] >> 22;
  }
  return new Uint8Array(out.buffer);
}
