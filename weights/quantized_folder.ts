// Writes a model folder with its matrices quantised (stored.ts says how such a folder looks), tensor by tensor from an open checkpoint.

import { WorldlineError } from "../engine/errors.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { saveCheckpoint } from "./checkpoint.ts";
import { dtypeBytes, type TensorData } from "./safetensors.ts";
import { isMatrix, quantizationMetadata, quantizedIn, quantizedTensors, rowsOfCheckpoint, type StoredAs, schemeOf } from "./stored.ts";

/** Tensors and `__metadata__` of a checkpoint with its matrices quantised; what is no matrix is passed on as it is. */
export function quantized(source: Checkpoint, as: StoredAs): { tensors: TensorData[]; metadata: Record<string, string> } {
  const scheme = schemeOf(as);
  if (!scheme) throw new WorldlineError(`${as.dtype} is not a quantised type; int8 and int4 are`);
  const columns = new Map<string, number>();
  const tensors: TensorData[] = [];
  for (const { name, dtype, shape } of source.tensors.values()) {
    if (quantizedIn(source, name)) throw new WorldlineError(`${source.name} is quantised already; start from the model it was made of`);
    if (!isMatrix(name) || shape.length !== 2) {
      tensors.push({ name, dtype, shape, data: () => source.read(name) });
      continue;
    }
    columns.set(name, shape[1]);
    for (const t of quantizedTensors(() => rowsOfCheckpoint(source, name, shape[1]), name, shape, scheme))
      tensors.push({
        name: t.name,
        dtype: t.dtype,
        shape: t.shape,
        data: () => joined(t.pieces(), t.shape[0] * t.shape[1] * dtypeBytes[t.dtype]),
      });
  }
  return { tensors, metadata: { format: "worldline", ...quantizationMetadata(scheme, columns) } };
}

async function joined(pieces: AsyncIterable<Uint8Array>, bytes: number): Promise<Uint8Array> {
  const all = new Uint8Array(bytes);
  let at = 0;
  for await (const piece of pieces) {
    all.set(piece, at);
    at += piece.byteLength;
  }
  return all;
}

/** Writes the folder, all or nothing. `files` are further files by name (tokenizer.json and its like). */
export async function saveQuantized(
  source: Checkpoint,
  folder: string,
  as: StoredAs,
  options: { files?: Record<string, string>; overwrite?: boolean } = {},
): Promise<void> {
  const { tensors, metadata } = quantized(source, as);
  await saveCheckpoint(folder, { config: source.config, tensors, files: options.files }, { overwrite: options.overwrite, metadata });
}
