// The safetensors format: 8 bytes little-endian header length n, n bytes JSON {name: {dtype, shape, data_offsets: [begin, end)}}, then the
// data, row-major and little-endian, without holes. The reader trusts nothing in the header; tensors are read lazily by byte range.

import { WorldlineError } from "../engine/errors.ts";
import { byteLength, type Dtype, dtypeBytes, isDtype, isShape } from "./dtypes.ts";
import { repeatedKey } from "./json_keys.ts";
import { maxHeader } from "./safetensors_write.ts";
import { type ByteSource, isObject, quote } from "./source.ts";

export { type Dtype, dtypeBytes, type FloatDtype, fromFloat32, toFloat32, toIntegers } from "./dtypes.ts";
export { saveSafetensors, type TensorData, writeSafetensors } from "./safetensors_write.ts";
export { type ByteSource, memorySource } from "./source.ts";

/** Where a tensor lies: byte range [begin, end) of the whole file. */
export interface TensorInfo {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface Safetensors {
  readonly name: string;
  readonly metadata: Record<string, string>;
  readonly tensors: Map<string, TensorInfo>;
  /** All bytes of one tensor. */
  read(name: string): Promise<Uint8Array>;
  /** Bytes [begin, end) of one tensor, counted from its own start. */
  readRange(name: string, begin: number, end: number, into?: Uint8Array): Promise<Uint8Array>;
  close(): Promise<void>;
}

/**
 * Opens a safetensors file: reads and checks its header, nothing else. `name` is used in messages. The result owns the source; where the
 * header is wrong the source is closed and a WorldlineError says what is wrong.
 */
export async function openSafetensors(source: ByteSource, name: string): Promise<Safetensors> {
  try {
    return fileOf(source, name, await readHeader(source, name));
  } catch (error) {
    await source.close?.();
    throw error;
  }
}

function fileOf(source: ByteSource, name: string, header: Header): Safetensors {
  const { metadata, tensors } = header;
  const info = (tensor: string) => {
    const found = tensors.get(tensor);
    if (!found) throw new WorldlineError(`${name}: there is no tensor ${quote(tensor)} among the ${tensors.size} in the file`);
    return found;
  };
  const readRange = async (tensor: string, begin: number, end: number, into?: Uint8Array) => {
    const t = info(tensor);
    const length = t.end - t.begin;
    if (!(Number.isSafeInteger(begin) && Number.isSafeInteger(end) && begin >= 0 && begin <= end && end <= length)) {
      throw new WorldlineError(`${name}: bytes ${begin} to ${end} of ${quote(tensor)} were asked for; it has ${length} bytes`);
    }
    return source.read(t.begin + begin, t.begin + end, into);
  };
  const read = async (tensor: string) => readRange(tensor, 0, info(tensor).end - info(tensor).begin);
  return { name, metadata, tensors, read, readRange, close: async () => source.close?.() };
}

interface Header {
  readonly metadata: Record<string, string>;
  readonly tensors: Map<string, TensorInfo>;
}

async function readHeader(source: ByteSource, name: string): Promise<Header> {
  if (source.size < 8)
    throw new WorldlineError(`${name}: the file has ${source.size} bytes, a safetensors file has at least 8; was the download cut off?`);
  const first = await source.read(0, 8);
  const length = Number(new DataView(first.buffer, first.byteOffset, 8).getBigUint64(0, true));
  if (length > maxHeader)
    throw new WorldlineError(
      `${name}: the header claims ${length} bytes, at most ${maxHeader} are allowed; this is not a safetensors file`,
    );
  if (8 + length > source.size) {
    throw new WorldlineError(
      `${name}: the header claims ${length} bytes but the file has ${source.size}; the file is cut off or not safetensors`,
    );
  }
  const json = headerObject(await source.read(8, 8 + length), name);
  return { metadata: metadataOf(json, name), tensors: tensorsOf(json, name, 8 + length, source.size) };
}

function headerObject(bytes: Uint8Array, name: string): Record<string, unknown> {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new WorldlineError(`${name}: the header is not UTF-8; the file is damaged or not safetensors`);
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new WorldlineError(`${name}: the header is not valid JSON; the file is damaged or not safetensors`);
  }
  if (!isObject(json) || !text.startsWith("{"))
    throw new WorldlineError(`${name}: the header must be one JSON object that starts at byte 8; the file is not safetensors`);
  const repeated = repeatedKey(text);
  if (repeated !== null)
    throw new WorldlineError(`${name}: the header names ${quote(repeated)} twice; each name may occur once, write the file anew`);
  return json;
}

function metadataOf(json: Record<string, unknown>, name: string): Record<string, string> {
  const metadata = json.__metadata__ ?? {};
  if (isObject(metadata) && Object.values(metadata).every((value) => typeof value === "string")) return metadata as Record<string, string>;
  throw new WorldlineError(`${name}: __metadata__ must map names to strings; write the file anew`);
}

function tensorsOf(json: Record<string, unknown>, name: string, start: number, size: number): Map<string, TensorInfo> {
  const tensors = new Map<string, TensorInfo>();
  for (const [tensor, entry] of Object.entries(json))
    if (tensor !== "__metadata__") tensors.set(tensor, tensorInfo(tensor, entry, name, start, size));
  let at = start;
  let before = "the header";
  for (const t of [...tensors.values()].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (t.begin !== at) {
      const fault = t.begin < at ? "overlap" : `have a hole of ${t.begin - at} bytes between them`;
      throw new WorldlineError(
        `${name}: the data of ${before} and ${quote(t.name)} ${fault}; data must follow without gaps, the file is damaged`,
      );
    }
    at = t.end;
    before = quote(t.name);
  }
  if (at !== size) throw new WorldlineError(`${name}: the tensors end at byte ${at} but the file has ${size}; the file is damaged`);
  return tensors;
}

function tensorInfo(tensor: string, entry: unknown, name: string, start: number, size: number): TensorInfo {
  const refuse = (what: string) => new WorldlineError(`${name}: tensor ${quote(tensor)} ${what}`);
  if (!isObject(entry)) throw refuse("has no record of dtype, shape and data_offsets; the file is damaged");
  const { dtype, shape, data_offsets: offsets } = entry;
  if (!isDtype(dtype)) throw refuse(`has dtype ${quote(dtype)}; known are ${Object.keys(dtypeBytes).join(", ")}`);
  if (!isShape(shape)) throw refuse(`has shape ${quote(shape)}; a list of whole numbers from 0 up is needed`);
  if (!isShape(offsets) || offsets.length !== 2)
    throw refuse(`has data_offsets ${quote(offsets)}; two whole numbers [begin, end] are needed`);
  const bytes = byteLength(shape, dtype);
  if (bytes === null) throw refuse(`has shape ${quote(shape)}, more than any file can hold; the file is damaged`);
  const [begin, end] = offsets;
  if (begin > end || start + end > size)
    throw refuse(`claims bytes ${begin} to ${end} of ${size - start} bytes of data; the file is cut off or damaged`);
  if (end - begin !== bytes)
    throw refuse(`of shape ${quote(shape)} and dtype ${dtype} needs ${bytes} bytes but claims ${end - begin}; the file is damaged`);
  return { name: tensor, dtype, shape, begin: start + begin, end: start + end };
}
