// Weights on their way from a checkpoint's own type to the type they are stored in on the device or in a quantised folder, a few rows at a
// time through buffers that are used again: host memory stays small whatever the tensor's size.
// A quantised folder of our own: a matrix `x.weight` (rows, columns) is U8 (rows, bytes of a row) beside F32 `x.weight.scales` (rows, groups),
// laid out as quantize.ts says; `__metadata__` holds the scheme under "worldline.quantization". Norms, biases and the VQ model stay as they are.

import { WorldlineError } from "../engine/errors.ts";
import { type Dtype, dtypeBytes, fromFloat32, toFloat32 } from "./dtypes.ts";
import { checkScheme, dequantizeRows, quantizeRows, rowBytes, rowGroups, type Scheme } from "./quantize.ts";
import { isObject, quote } from "./source.ts";

export const storedTypes = ["f32", "bf16", "f16", "int8", "int4"] as const;
export type StoredType = (typeof storedTypes)[number];

/** How matrices are stored; the group size matters to int8 and int4. */
export interface StoredAs {
  readonly dtype: StoredType;
  readonly groupSize: number;
}

/** Values of a row that share a scale unless told otherwise. */
export const defaultGroupSize = 64;

export const schemeOf = (to: StoredAs): Scheme | undefined =>
  to.dtype === "int8" || to.dtype === "int4" ? { bits: to.dtype === "int8" ? 8 : 4, groupSize: to.groupSize } : undefined;

/** Whether a tensor is stored in the chosen type: embeddings and linear layers of the language model. All others stay f32. */
export function isMatrix(name: string): boolean {
  return /(^|\.)(embed_tokens|lm_head|\w+_proj)\.weight$/.test(name) && !name.includes("vqmodel.");
}

/** Bytes of a matrix with its scales. */
export function bytesAs([rows, columns]: readonly number[], to: StoredAs): number {
  const scheme = schemeOf(to);
  if (scheme) return rows * (rowBytes(columns, scheme.bits) + 4 * rowGroups(columns, scheme.groupSize));
  return rows * columns * (to.dtype === "f32" ? 4 : 2);
}

/** A float matrix read by rows. The bytes are good until the next read. */
export interface RowSource {
  readonly dtype: Dtype;
  read(first: number, count: number): Promise<Uint8Array>;
}

/** Bytes to be put at byte `at` of a matrix's values or scales; good until the next piece is asked for. */
export interface Piece {
  readonly part: "values" | "scales";
  readonly at: number;
  readonly bytes: Uint8Array;
}

const pieceBytes = 1 << 23;

/** Rows of a piece: even, so that rows of two-byte values begin on a word. */
const pieceRows = (columns: number) => Math.max(2, 2 * Math.floor(pieceBytes / (8 * columns)));

/** A matrix (rows, columns) as it is to be stored, piece by piece. Throws, naming it, where a value cannot be stored in the type. */
export async function* storedPieces(source: RowSource, shape: readonly number[], to: StoredAs, name: string): AsyncGenerator<Piece> {
  const [rows, columns] = shape;
  const scheme = schemeOf(to);
  if (scheme) checkScheme(scheme, name);
  const step = Math.min(rows, pieceRows(columns));
  const convert = converter(step * columns, source.dtype, to.dtype, name);
  const bits = new Uint8Array(scheme ? step * rowBytes(columns, scheme.bits) : 0);
  const scales = new Float32Array(scheme ? step * rowGroups(columns, scheme.groupSize) : 0);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const bytes = await source.read(first, count);
    if (!scheme) {
      const converted = convert(bytes);
      yield { part: "values", at: (first * converted.byteLength) / count, bytes: converted };
      continue;
    }
    const values = floats(convert(bytes));
    const groups = rowGroups(columns, scheme.groupSize);
    const stride = rowBytes(columns, scheme.bits);
    const out = { bits: bits.subarray(0, count * stride), scales: scales.subarray(0, count * groups) };
    quantizeRows(values, columns, scheme, out, name);
    yield { part: "values", at: first * stride, bytes: out.bits };
    yield { part: "scales", at: first * groups * 4, bytes: new Uint8Array(scales.buffer, 0, count * groups * 4) };
  }
}

const floats = (bytes: Uint8Array) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);

/** A conversion of up to `most` values; int8 and int4 are made from f32. The result may be the argument or one buffer used again. */
function converter(most: number, from: Dtype, to: StoredType, name: string): (bytes: Uint8Array) => Uint8Array {
  const same = { F32: "f32", BF16: "bf16", F16: "f16" }[from as string];
  if (same === to) return (bytes) => bytes;
  const widened = new Uint32Array(most);
  const widen = (bytes: Uint8Array): Float32Array => {
    if (from === "F32" && bytes.byteOffset % 4 === 0) return floats(bytes);
    if (from !== "BF16" || bytes.byteOffset % 2) return toFloat32(bytes, from);
    const n = bytes.byteLength / 2;
    const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, n);
    for (let i = 0; i < n; i++) widened[i] = halves[i] << 16;
    return new Float32Array(widened.buffer, 0, n);
  };
  return (bytes) => {
    const values = widen(bytes);
    if (to === "bf16") return fromFloat32(values, "BF16");
    if (to !== "f16") return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    checkF16(values, name);
    return fromFloat32(values, "F16");
  };
}

/** Throws, naming it, where a tensor's finite value would become infinite in f16. */
export function checkF16(values: Float32Array, name: string): void {
  for (const v of values)
    if (Math.abs(v) >= 65520 && Number.isFinite(v))
      throw new WorldlineError(`${name}: the value ${v} is beyond f16, which ends at 65504; choose bf16 or f32`);
}

/** A matrix that is in memory as float32. */
export function rowsInMemory(values: Float32Array, columns: number): RowSource {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { dtype: "F32", read: async (first, count) => bytes.subarray(first * columns * 4, (first + count) * columns * 4) };
}

/** The part of a checkpoint that is read here. */
interface Readable {
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, { readonly dtype: Dtype; readonly shape: readonly number[] }>;
  has(name: string): boolean;
  readRange(name: string, begin: number, end: number, into?: Uint8Array): Promise<Uint8Array>;
}

const key = "worldline.quantization";

/** What a quantised folder says about itself. Columns are listed where a row does not fill its last word. */
interface Recorded extends Scheme {
  readonly columns: Readonly<Record<string, number>>;
}

/** `__metadata__` of a quantised folder whose matrices have the given columns. Without "format" the transformers library refuses the file. */
export function quantizationMetadata(scheme: Scheme, columns: ReadonlyMap<string, number>): Record<string, string> {
  const odd = Object.fromEntries([...columns].filter(([, n]) => (n * scheme.bits) % 32 !== 0));
  return { [key]: JSON.stringify({ version: 1, bits: scheme.bits, group_size: scheme.groupSize, symmetric: true, columns: odd }) };
}

/** The scheme of a quantised folder; undefined for any other. Throws where it is one that this version cannot read. */
export function quantizationOf(metadata: Readonly<Record<string, string>>, where: string): Recorded | undefined {
  const text = metadata[key];
  if (text === undefined) return undefined;
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    json = undefined;
  }
  if (!isObject(json) || json.version !== 1 || json.symmetric !== true)
    throw new WorldlineError(`${where}: the quantisation ${quote(text)} is not known; make the folder anew with worldline convert`);
  const columns = isObject(json.columns) ? (json.columns as Record<string, number>) : {};
  const scheme = { bits: json.bits as 4 | 8, groupSize: json.group_size as number, columns };
  checkScheme(scheme, where);
  return scheme;
}

const scalesOf = (name: string) => `${name}.scales`;

/** The scheme a matrix of a checkpoint is quantised in, and its columns; undefined where it is plain. */
export function quantizedIn(from: Readable, name: string): { scheme: Scheme; columns: number } | undefined {
  const scheme = quantizationOf(from.metadata, from.name);
  const bits = from.tensors.get(name);
  const scales = from.tensors.get(scalesOf(name));
  if (!scheme || !bits || !scales) return undefined;
  const [rows, stride] = bits.shape;
  const columns = scheme.columns[name] ?? (stride * 8) / scheme.bits;
  const fits = bits.dtype === "U8" && scales.dtype === "F32" && bits.shape.length === 2 && rowBytes(columns, scheme.bits) === stride;
  if (!fits || scales.shape[0] !== rows || scales.shape[1] !== rowGroups(columns, scheme.groupSize))
    throw new WorldlineError(
      `${from.name}: ${name} and its scales are not what the folder's scheme says; the folder is damaged, make it anew`,
    );
  return { scheme, columns };
}

/** The numbers of a quantised matrix of a checkpoint; rows first ... first + count - 1. */
export async function readQuantized(
  from: Readable,
  name: string,
  first = 0,
  count = from.tensors.get(name)?.shape[0] ?? 0,
): Promise<Float32Array> {
  const found = quantizedIn(from, name);
  if (!found) throw new WorldlineError(`${from.name}: ${name} is not quantised`);
  const { scheme, columns } = found;
  const [stride, groups] = [rowBytes(columns, scheme.bits), rowGroups(columns, scheme.groupSize)];
  const bits = await from.readRange(name, first * stride, (first + count) * stride);
  const scales = await from.readRange(scalesOf(name), first * groups * 4, (first + count) * groups * 4);
  return dequantizeRows(bits, floats(scales.byteOffset % 4 ? scales.slice() : scales), columns, scheme);
}

/** A matrix of a checkpoint by rows, whatever it is stored as. */
export function rowsOfCheckpoint(from: Readable, name: string, columns: number): RowSource {
  if (quantizedIn(from, name)) {
    const read = async (first: number, count: number) => {
      const values = await readQuantized(from, name, first, count);
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    };
    return { dtype: "F32", read };
  }
  const dtype = from.tensors.get(name)?.dtype ?? "F32";
  const stride = columns * dtypeBytes[dtype];
  let buffer = new Uint8Array(0);
  return {
    dtype,
    read: async (first, count) => {
      if (buffer.byteLength < count * stride) buffer = new Uint8Array(count * stride);
      return from.readRange(name, first * stride, (first + count) * stride, buffer);
    },
  };
}

/** A matrix of a checkpoint as it is to be stored; what a quantised folder holds in that very scheme is passed on bit for bit. */
export async function* checkpointPieces(from: Readable, name: string, shape: readonly number[], to: StoredAs): AsyncGenerator<Piece> {
  const found = quantizedIn(from, name);
  const scheme = schemeOf(to);
  if (!found || !scheme || found.scheme.bits !== scheme.bits || found.scheme.groupSize !== scheme.groupSize) {
    yield* storedPieces(rowsOfCheckpoint(from, name, shape[1]), shape, to, name);
    return;
  }
  const buffer = new Uint8Array(pieceBytes);
  for (const [part, tensor] of [
    ["values", name],
    ["scales", scalesOf(name)],
  ] as const) {
    const { dtype, shape: held } = from.tensors.get(tensor)!;
    const bytes = held[0] * held[1] * dtypeBytes[dtype];
    for (let at = 0; at < bytes; at += pieceBytes)
      yield { part, at, bytes: await from.readRange(tensor, at, Math.min(bytes, at + pieceBytes), buffer) };
  }
}

/** What a matrix becomes in a quantised folder: names, types and shapes of its two tensors, and their bytes in order. */
export function quantizedTensors(source: () => RowSource, name: string, shape: readonly number[], scheme: Scheme) {
  const [rows, columns] = shape;
  const to: StoredAs = { dtype: scheme.bits === 8 ? "int8" : "int4", groupSize: scheme.groupSize };
  const only = (part: Piece["part"]) =>
    async function* (): AsyncGenerator<Uint8Array> {
      for await (const piece of storedPieces(source(), shape, to, name)) if (piece.part === part) yield piece.bytes;
    };
  return [
    { name, dtype: "U8" as const, shape: [rows, rowBytes(columns, scheme.bits)], pieces: only("values") },
    { name: scalesOf(name), dtype: "F32" as const, shape: [rows, rowGroups(columns, scheme.groupSize)], pieces: only("scales") },
  ];
}
