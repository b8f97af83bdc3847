// Tensors as streams: what a checkpoint holds, read piece by piece, and the steps of a conversion that change names, rows or element types on
// the way. No step holds more than one tensor.

import { WorldlineError } from "../engine/errors.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { byteLength, type Dtype, dtypeBytes, type FloatDtype, fromFloat32, toFloat32 } from "./dtypes.ts";
import type { Scheme } from "./quantize.ts";
import type { TensorData } from "./safetensors.ts";
import { checkF16, quantizedIn, quantizedTensors, type RowSource, readQuantized } from "./stored.ts";

/** A tensor whose bytes come in pieces of whole elements. */
export interface TensorStream {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  pieces(): AsyncIterable<Uint8Array>;
}

/** A multiple of every element size. */
const pieceBytes = 1 << 24;

/** The tensors of a checkpoint as they are stored. */
export function storedTensors(checkpoint: Checkpoint): TensorStream[] {
  return [...checkpoint.tensors.values()].map(({ name, dtype, shape }) => ({
    name,
    dtype,
    shape,
    pieces: async function* () {
      const bytes = byteLength(shape, dtype) ?? 0;
      for (let at = 0; at < bytes; at += pieceBytes) yield checkpoint.readRange(name, at, Math.min(bytes, at + pieceBytes));
    },
  }));
}

/** The tensors of a checkpoint with quantised matrices as the numbers they stand for. */
export function plainTensors(checkpoint: Checkpoint): TensorStream[] {
  const quantised = new Map([...checkpoint.tensors.keys()].map((name) => [name, quantizedIn(checkpoint, name)]));
  const scales = new Set([...quantised].filter(([, found]) => found).map(([name]) => `${name}.scales`));
  return storedTensors(checkpoint).flatMap((t) => {
    const found = quantised.get(t.name);
    if (!found) return scales.has(t.name) ? [] : [t];
    const [rows] = t.shape;
    const step = Math.max(1, Math.floor(pieceBytes / (4 * found.columns)));
    const pieces = async function* () {
      for (let row = 0; row < rows; row += step) {
        const values = await readQuantized(checkpoint, t.name, row, Math.min(step, rows - row));
        yield new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
      }
    };
    return [{ name: t.name, dtype: "F32" as const, shape: [rows, found.columns], pieces }];
  });
}

/** All bytes of a tensor. */
export async function bytesOf(t: TensorStream): Promise<Uint8Array> {
  const bytes = new Uint8Array(byteLength(t.shape, t.dtype) ?? 0);
  let at = 0;
  for await (const piece of t.pieces()) {
    if (at + piece.byteLength <= bytes.byteLength) bytes.set(piece, at);
    at += piece.byteLength;
  }
  if (at !== bytes.byteLength) throw new WorldlineError(`${t.name}: ${at} bytes came, ${bytes.byteLength} were announced`);
  return bytes;
}

/** A tensor whose bytes are made from the whole of another. */
export function changed(
  t: TensorStream,
  to: { readonly name?: string; readonly shape?: readonly number[]; readonly dtype?: Dtype },
  change: (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>,
): TensorStream {
  return {
    name: to.name ?? t.name,
    shape: to.shape ?? t.shape,
    dtype: to.dtype ?? t.dtype,
    pieces: async function* () {
      yield await change(await bytesOf(t));
    },
  };
}

/** A float tensor in another element type, rounded to nearest even; other tensors as they are. */
export function asFloat(t: TensorStream, dtype: FloatDtype): TensorStream {
  if (t.dtype === dtype || !["F64", "F32", "F16", "BF16"].includes(t.dtype)) return t;
  return {
    ...t,
    dtype,
    pieces: async function* () {
      for await (const piece of t.pieces()) {
        const values = toFloat32(piece, t.dtype);
        if (dtype === "F16") checkF16(values, t.name);
        yield fromFloat32(values, dtype);
      }
    },
  };
}

/** A matrix as its bits and scales in a quantised folder (stored.ts). */
export function asQuantized(t: TensorStream, scheme: Scheme): TensorStream[] {
  return quantizedTensors(() => rowsOf(t, t.shape[1]), t.name, t.shape, scheme);
}

/** A matrix by rows, which must be asked for in order. */
function rowsOf(t: TensorStream, columns: number): RowSource {
  const pieces = t.pieces()[Symbol.asyncIterator]();
  let rest = new Uint8Array(0);
  return {
    dtype: t.dtype,
    read: async (_, count) => {
      const needed = count * columns * dtypeBytes[t.dtype];
      const parts: Uint8Array[] = [rest];
      let have = rest.byteLength;
      while (have < needed) {
        const next = await pieces.next();
        if (next.done) throw new WorldlineError(`${t.name}: the data ended before its last row`);
        parts.push(next.value);
        have += next.value.byteLength;
      }
      const all = new Uint8Array(have);
      let at = 0;
      for (const part of parts) {
        all.set(part, at);
        at += part.byteLength;
      }
      rest = all.slice(needed);
      return all.subarray(0, needed);
    },
  };
}

/** For the writer; `onBytes` hears of every piece. */
export function tensorData(t: TensorStream, onBytes?: (bytes: number) => void): TensorData {
  const { name, dtype, shape } = t;
  async function* counted(): AsyncGenerator<Uint8Array> {
    for await (const piece of t.pieces()) {
      onBytes?.(piece.byteLength);
      yield piece;
    }
  }
  return { name, dtype, shape, data: counted };
}
