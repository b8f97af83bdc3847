// What the engines are compared at: the same data from one seed, and f64 values at sampled places of the result. Layouts are those that JavaScript
// libraries share: products are x (M, K) by w (K, N), pictures NHWC, kernels (3, 3, in, out), heads (H, T, D).
import { Rng } from "../../engine/rng.ts";
import { fromFloat32, toFloat32 } from "../../weights/dtypes.ts";
import { dequantizeRows, quantizeRows, rowBytes, rowGroups } from "../../weights/quantize.ts";
import { initialWeights, lossLoops, type TrainingShape, trainingBatch } from "./training.ts";

export type Data = Readonly<Record<string, Float32Array>>;

/**
 * A product. f16: both operands and the result are stored so. int8 and int4: w is stored quantised along K, in groups that share an f32 scale,
 * and multiplied by an f32 x.
 */
export interface Product {
  readonly op: "matmul";
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly stored: "f32" | "f16" | "int8" | "int4";
}

export type Work =
  | Product
  | { readonly op: "softmax" | "layernorm"; readonly rows: number; readonly C: number }
  | { readonly op: "attention"; readonly H: number; readonly T: number; readonly D: number }
  | { readonly op: "conv"; readonly S: number; readonly I: number; readonly O: number }
  | ({ readonly op: "training" } & TrainingShape);

export interface PeerCase {
  readonly name: string;
  readonly work: Work;
  readonly flops: number;
  /** Shape of the result; a training step gives the losses of its first two steps. */
  readonly result: readonly number[];
  /** Largest |got - want| / (|want| + rms(want)) that counts as right. */
  readonly tolerance: number;
  /** The same for sums made in f16: K of them, each rounded by up to 2^-11 of itself either way, drift by about 2^-11 sqrt(K). Such a line says so. */
  readonly halfSums?: number;
}

/** References are products of the numbers as they are stored, so an error is what sums add, and in f16 the rounding of the result (2^-11). */
const matmul = (name: string, M: number, N: number, K: number, stored: Product["stored"] = "f32"): PeerCase => ({
  name: stored === "f32" ? name : `${name} ${stored}`,
  work: { op: "matmul", M, N, K, stored },
  flops: 2 * M * N * K,
  result: [M, N],
  tolerance: stored === "f16" ? 1e-3 : 1e-5,
  ...(stored === "f16" ? { halfSums: 2 ** -11 * Math.sqrt(K) } : {}),
});
const rows = (op: "softmax" | "layernorm", n: number, C: number): PeerCase => ({
  name: `${op} ${n}x${C}`,
  work: { op, rows: n, C },
  flops: 5 * n * C,
  result: [n, C],
  tolerance: 1e-5,
});
const training = { width: 128, layers: 4, heads: 4, hidden: 344, vocabulary: 256, T: 160, batch: 8 };

export const peerCases: readonly PeerCase[] = [
  matmul("matmul 512", 512, 512, 512),
  matmul("matmul 1024", 1024, 1024, 1024),
  matmul("matmul 256x4096x1024", 256, 4096, 1024),
  matmul("gemv 4096", 1, 4096, 4096),
  matmul("matmul 1024", 1024, 1024, 1024, "f16"),
  ...(["f16", "int8", "int4"] as const).flatMap((stored) => [
    matmul("matmul 256x4096x1024", 256, 4096, 1024, stored),
    matmul("gemv 4096", 1, 4096, 4096, stored),
  ]),
  rows("softmax", 2048, 1024),
  rows("layernorm", 2048, 1024),
  {
    name: "causal attention h8 t512 d64",
    work: { op: "attention", H: 8, T: 512, D: 64 },
    flops: 4 * 8 * 64 * ((512 * 513) / 2),
    result: [8, 512, 64],
    tolerance: 2e-5,
  },
  {
    name: "conv 3x3 64x64x128",
    work: { op: "conv", S: 64, I: 128, O: 128 },
    flops: 2 * 64 * 64 * 9 * 128 * 128,
    result: [64, 64, 128],
    tolerance: 1e-5,
  },
  {
    name: "training step d128 l4 t160 b8",
    work: { op: "training", ...training },
    flops: 6 * (4 * (4 * 128 * 128 + 3 * 128 * 344) + 256 * 128) * 1280 + 4 * 3 * 2 * 8 * 160 * 160 * 128,
    result: [2],
    tolerance: 2e-4,
  },
];

/** Values of a row of a quantised w that share a scale. */
export const groupSize = 64;

/** Bits (N, bytes of K values) and scales (N, groups) of a quantised w, as weights/quantize.ts and ONNX Runtime's MatMulNBits lay them out. */
export function quantizedWeights(w: Product, name: string, seed = 1): { bits: Uint8Array; scales: Float32Array } {
  const bits = w.stored === "int4" ? 4 : 8;
  const out = { bits: new Uint8Array(w.N * rowBytes(w.K, bits)), scales: new Float32Array(w.N * rowGroups(w.K, groupSize)) };
  quantizeRows(new Rng(seed, `${name} weights`).normals(w.N * w.K), w.K, { bits, groupSize }, out);
  return out;
}

function productData(w: Product, name: string, seed: number): Data {
  const rng = new Rng(seed, name);
  const x = rng.normals(w.M * w.K);
  if (w.stored === "int8" || w.stored === "int4") {
    const { bits, scales } = quantizedWeights(w, name, seed);
    return { x, w: transposed(dequantizeRows(bits, scales, w.K, { bits: w.stored === "int4" ? 4 : 8, groupSize }), w.N, w.K) };
  }
  const round = (v: Float32Array) => (w.stored === "f16" ? toFloat32(fromFloat32(v, "F16"), "F16") : v);
  return { x: round(x), w: round(rng.normals(w.K * w.N)) };
}

/** The data of a case: the numbers that its operands stand for, exact in the type that they are stored in. */
export function dataOf({ work: w, name }: PeerCase, seed = 1): Data {
  const rng = new Rng(seed, name);
  switch (w.op) {
    case "matmul":
      return productData(w, name, seed);
    case "softmax":
      return { x: rng.normals(w.rows * w.C, 3) };
    case "layernorm":
      return { x: rng.normals(w.rows * w.C), w: rng.normals(w.C), b: rng.normals(w.C) };
    case "attention":
      return { q: rng.normals(w.H * w.T * w.D), k: rng.normals(w.H * w.T * w.D), v: rng.normals(w.H * w.T * w.D) };
    case "conv":
      return { x: rng.normals(w.S * w.S * w.I), w: rng.normals(9 * w.I * w.O) };
    case "training":
      return { ...initialWeights(w, rng) };
  }
}

/** Places to look at: every one of a small result, else 600 drawn from a seed. */
function places(size: number): number[] {
  const rng = new Rng(7, "places");
  return size <= 600 ? Array.from({ length: size }, (_, i) => i) : Array.from({ length: 600 }, () => rng.int(size));
}

/** f64 values of the result at its places. */
export function expected(c: PeerCase, data: Data): { places: number[]; values: Float64Array } {
  const at = places(c.result.reduce((a, b) => a * b, 1));
  if (c.work.op !== "training") return { places: at, values: Float64Array.from(at, (i) => valueAt(c.work, data, i)) };
  // The second loss follows from gradients and update: the engines are held against each other there, the first one against f64.
  return { places: [0], values: Float64Array.of(lossLoops(c.work, data, trainingBatch(c.work))) };
}

function valueAt(w: Work, d: Data, i: number): number {
  switch (w.op) {
    case "matmul": {
      const [m, n] = [Math.floor(i / w.N), i % w.N];
      let sum = 0;
      for (let k = 0; k < w.K; k++) sum += d.x[m * w.K + k] * d.w[k * w.N + n];
      return sum;
    }
    case "softmax": {
      const row = d.x.subarray(Math.floor(i / w.C) * w.C, Math.floor(i / w.C + 1) * w.C);
      const top = row.reduce((a, v) => Math.max(a, v), Number.NEGATIVE_INFINITY);
      return Math.exp(row[i % w.C] - top) / row.reduce((a, v) => a + Math.exp(v - top), 0);
    }
    case "layernorm": {
      const row = d.x.subarray(Math.floor(i / w.C) * w.C, Math.floor(i / w.C + 1) * w.C);
      const mean = row.reduce((a, v) => a + v, 0) / w.C;
      const variance = row.reduce((a, v) => a + (v - mean) ** 2, 0) / w.C;
      return ((row[i % w.C] - mean) / Math.sqrt(variance + 1e-5)) * d.w[i % w.C] + d.b[i % w.C];
    }
    case "attention":
      return attentionAt(w, d, i);
    case "conv":
      return convAt(w, d, i);
    default:
      return Number.NaN;
  }
}

function attentionAt({ T, D }: { T: number; D: number }, { q, k, v }: Data, i: number): number {
  const [h, t, c] = [Math.floor(i / (T * D)), Math.floor(i / D) % T, i % D];
  const scores = Array.from({ length: t + 1 }, (_, s) => {
    let sum = 0;
    for (let e = 0; e < D; e++) sum += q[(h * T + t) * D + e] * k[(h * T + s) * D + e];
    return sum / Math.sqrt(D);
  });
  const top = Math.max(...scores);
  const weights = scores.map((s) => Math.exp(s - top));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.reduce((a, p, s) => a + (p / total) * v[(h * T + s) * D + c], 0);
}

function convAt({ S, I, O }: { S: number; I: number; O: number }, { x, w }: Data, i: number): number {
  const [y0, x0, o] = [Math.floor(i / O / S), Math.floor(i / O) % S, i % O];
  let sum = 0;
  for (let ky = 0; ky < 3; ky++) {
    for (let kx = 0; kx < 3; kx++) {
      const [yy, xx] = [y0 + ky - 1, x0 + kx - 1];
      if (yy < 0 || xx < 0 || yy >= S || xx >= S) continue;
      for (let c = 0; c < I; c++) sum += x[(yy * S + xx) * I + c] * w[((ky * 3 + kx) * I + c) * O + o];
    }
  }
  return sum;
}

/** Rows and columns exchanged. */
export function transposed(x: Float32Array, rows: number, columns: number): Float32Array {
  const y = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) y[c * rows + r] = x[r * columns + c];
  return y;
}

/** Worst error of a result at the places, by the check's measure; infinite where it is no number. */
export function errorOf(got: ArrayLike<number>, { places: at, values }: { places: number[]; values: Float64Array }): number {
  const rms = Math.sqrt(values.reduce((a, v) => a + v * v, 0) / values.length);
  return at.reduce((worst, place, i) => {
    const e = Math.abs(got[place] - values[i]) / (Math.abs(values[i]) + rms);
    return Number.isFinite(e) ? Math.max(worst, e) : Number.POSITIVE_INFINITY;
  }, 0);
}
