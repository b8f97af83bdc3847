// Element types of safetensors and exact conversions. Narrowing rounds to nearest, ties to even, with subnormals, infinities and NaN kept.
// Bytes are little-endian, as in the file and as on every machine that WebGPU runs on.

import { WorldlineError } from "../engine/errors.ts";

/** Bytes per element of every dtype that is read and written. */
export const dtypeBytes = {
  F64: 8,
  F32: 4,
  F16: 2,
  BF16: 2,
  I64: 8,
  U64: 8,
  I32: 4,
  U32: 4,
  I16: 2,
  U16: 2,
  I8: 1,
  U8: 1,
  BOOL: 1,
} as const;

export type Dtype = keyof typeof dtypeBytes;
export type FloatDtype = "F32" | "F16" | "BF16";

/** True where the text names a dtype above. */
export function isDtype(text: unknown): text is Dtype {
  return typeof text === "string" && Object.hasOwn(dtypeBytes, text);
}

/** True for a list of whole numbers from 0 up. */
export function isShape(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((n) => Number.isSafeInteger(n) && n >= 0);
}

/** Bytes of a tensor, or null where the number is beyond 2^53. */
export function byteLength(shape: readonly number[], dtype: Dtype): number | null {
  let bytes: number = dtypeBytes[dtype];
  for (const n of shape) if (n !== 0 && !Number.isSafeInteger((bytes *= n))) return null;
  return shape.includes(0) ? 0 : bytes;
}

/** Little-endian bytes of F32, F16, BF16 (exact) or F64 (rounded) values as float32. The result never shares memory with `bytes`. */
export function toFloat32(bytes: Uint8Array, dtype: Dtype): Float32Array<ArrayBuffer> {
  const n = countOf(bytes, dtype);
  if (dtype === "F32") return new Float32Array(aligned(bytes), 0, n);
  if (dtype === "F64") return Float32Array.from(new Float64Array(aligned(bytes), 0, n));
  if (dtype !== "F16" && dtype !== "BF16")
    throw new WorldlineError(`${dtype} values were asked for as float32; F32, F16, BF16 and F64 are floats, use toIntegers for ${dtype}`);
  const halves = new Uint16Array(aligned(bytes), 0, n);
  const words = new Uint32Array(n);
  if (dtype === "BF16") for (let i = 0; i < n; i++) words[i] = halves[i] << 16;
  else {
    const table = (halfTable ??= makeHalfTable());
    for (let i = 0; i < n; i++) words[i] = table[halves[i]];
  }
  return new Float32Array(words.buffer);
}

/** float32 values as little-endian bytes of a float dtype: round to nearest even; a NaN stays a NaN, what is too large becomes infinite. */
export function fromFloat32(values: Float32Array, dtype: FloatDtype): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Float32Array.from(values).buffer);
  if (dtype === "F32") return new Uint8Array(words.buffer);
  const narrow = dtype === "BF16" ? bf16Bits : dtype === "F16" ? f16Bits : null;
  if (!narrow) throw new WorldlineError(`${dtype} was asked for; float32 values can be stored as F32, F16 or BF16`);
  const halves = new Uint16Array(words.length);
  for (let i = 0; i < words.length; i++) halves[i] = narrow(words[i]);
  return new Uint8Array(halves.buffer);
}

/** Integer and BOOL bytes as numbers. Throws where an I64 or U64 value has no exact number (beyond 2^53). */
export function toIntegers(bytes: Uint8Array, dtype: Dtype): Float64Array {
  const n = countOf(bytes, dtype);
  const buffer = aligned(bytes);
  if (dtype === "I64" || dtype === "U64")
    return Float64Array.from(dtype === "I64" ? new BigInt64Array(buffer, 0, n) : new BigUint64Array(buffer, 0, n), exact);
  if (dtype === "I32") return Float64Array.from(new Int32Array(buffer, 0, n));
  if (dtype === "U32") return Float64Array.from(new Uint32Array(buffer, 0, n));
  if (dtype === "I16") return Float64Array.from(new Int16Array(buffer, 0, n));
  if (dtype === "U16") return Float64Array.from(new Uint16Array(buffer, 0, n));
  if (dtype === "I8") return Float64Array.from(new Int8Array(buffer, 0, n));
  if (dtype === "U8" || dtype === "BOOL") return Float64Array.from(new Uint8Array(buffer, 0, n));
  throw new WorldlineError(`${dtype} values were asked for as integers; use toFloat32 for ${dtype}`);
}

/** bfloat16 bits of float32 bits. */
export function bf16Bits(word: number): number {
  if ((word & 0x7fffffff) > 0x7f800000) return (word >>> 16) | 0x40;
  return ((word + 0x7fff + ((word >>> 16) & 1)) >>> 16) & 0xffff;
}

/** IEEE half bits of float32 bits. */
export function f16Bits(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const size = word & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00 | ((size >>> 13) & 0x3ff);
  if (size >= 0x477ff000) return sign | 0x7c00;
  if (size >= 0x38800000) return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13);
  if (size <= 0x33000000) return sign;
  const shift = 126 - (size >>> 23);
  const mantissa = (size & 0x7fffff) | 0x800000;
  const kept = mantissa >>> shift;
  const rest = mantissa & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
}

let halfTable: Uint32Array | undefined;

function makeHalfTable(): Uint32Array {
  const table = new Uint32Array(65536);
  const value = new Float32Array(1);
  const word = new Uint32Array(value.buffer);
  for (let h = 0; h < 65536; h++) {
    const exponent = (h >> 10) & 31;
    const mantissa = h & 0x3ff;
    if (exponent === 31) word[0] = 0x7f800000 | (mantissa << 13);
    else value[0] = exponent === 0 ? mantissa * 2 ** -24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
    table[h] = (word[0] | ((h & 0x8000) << 16)) >>> 0;
  }
  return table;
}

function countOf(bytes: Uint8Array, dtype: Dtype): number {
  if (bytes.byteLength % dtypeBytes[dtype] === 0) return bytes.byteLength / dtypeBytes[dtype];
  throw new WorldlineError(`${bytes.byteLength} bytes were given as ${dtype}; a multiple of ${dtypeBytes[dtype]} bytes is needed`);
}

function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}

function exact(value: bigint): number {
  const number = Number(value);
  if (Number.isSafeInteger(number)) return number;
  throw new WorldlineError(`the 64-bit integer ${value} has no exact JavaScript number; values between -2^53 and 2^53 are read`);
}
