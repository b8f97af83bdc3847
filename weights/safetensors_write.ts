// Writes safetensors: one file, or shards with an index as the transformers library names them. Tensors are made one at a time, or come in
// pieces, so that no more than that is in memory.

import { WorldlineError } from "../engine/errors.ts";
import { byteLength, type Dtype, dtypeBytes, isDtype, isShape } from "./dtypes.ts";
import { quote } from "./source.ts";

/** A longer header is neither read nor written. */
export const maxHeader = 100_000_000;

/** A tensor to be written. `data` may be made on demand, whole or in pieces. */
export interface TensorData {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array | (() => Uint8Array | Promise<Uint8Array> | AsyncIterable<Uint8Array>);
}

const forTransformers = { format: "pt" };

/**
 * A whole safetensors file in memory. Header entries stand in the given order; data is laid out by falling element size (then as given), so
 * that every tensor is aligned. The default metadata is what the transformers library asks for.
 */
export async function writeSafetensors(
  tensors: readonly TensorData[],
  metadata: Record<string, string> = forTransformers,
): Promise<Uint8Array<ArrayBuffer>> {
  const { size, pieces } = layOut(tensors, metadata);
  const file = new Uint8Array(size);
  let at = 0;
  for await (const piece of pieces()) {
    file.set(piece, at);
    at += piece.byteLength;
  }
  return file;
}

/** Writes a safetensors file piece by piece into a temporary file beside `path`, then renames it: the path never holds half a file. */
export async function saveSafetensors(
  path: string,
  tensors: readonly TensorData[],
  metadata: Record<string, string> = forTransformers,
): Promise<void> {
  const { pieces } = layOut(tensors, metadata);
  const { writeFileAtomic } = await import("./file_source.ts");
  await writeFileAtomic(path, pieces());
}

/**
 * Writes `<stem>.safetensors`, or where the tensors have more than `shardBytes` together `<stem>-00001-of-0000N.safetensors` and so on with
 * `<stem>.safetensors.index.json`. A tensor is never cut; one larger than a shard has a file of its own.
 */
export async function saveShards(
  folder: string,
  tensors: readonly TensorData[],
  shardBytes = Number.POSITIVE_INFINITY,
  metadata: Record<string, string> = forTransformers,
  stem = "model",
): Promise<void> {
  const shards: TensorData[][] = [[]];
  let filled = 0;
  let total = 0;
  for (const t of tensors) {
    const bytes = checkedBytes(t);
    if (filled > 0 && filled + bytes > shardBytes) {
      shards.push([]);
      filled = 0;
    }
    shards[shards.length - 1].push(t);
    filled += bytes;
    total += bytes;
  }
  if (shards.length === 1) return saveSafetensors(`${folder}/${stem}.safetensors`, tensors, metadata);
  const names = new Set<string>();
  for (const { name } of tensors) {
    if (names.has(name)) throw new WorldlineError(`two tensors are named ${quote(name)}; names in a checkpoint must differ`);
    names.add(name);
  }
  const number = (n: number) => String(n).padStart(5, "0");
  const map: Record<string, string> = {};
  for (const [i, shard] of shards.entries()) {
    const file = `${stem}-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
    await saveSafetensors(`${folder}/${file}`, shard, metadata);
    for (const t of shard) map[t.name] = file;
  }
  const index = {
    metadata: { total_size: total },
    weight_map: Object.fromEntries(Object.entries(map).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
  const { writeFileAtomic } = await import("./file_source.ts");
  await writeFileAtomic(`${folder}/${stem}.safetensors.index.json`, [new TextEncoder().encode(`${JSON.stringify(index, null, 2)}\n`)]);
}

/** Size and pieces of a file in writing order: length and header, then the tensors' checked bytes. */
function layOut(
  tensors: readonly TensorData[],
  metadata: Record<string, string>,
): { size: number; pieces: () => AsyncGenerator<Uint8Array> } {
  const order = tensors.map((t) => ({ t, bytes: checkedBytes(t) })).sort((a, b) => dtypeBytes[b.t.dtype] - dtypeBytes[a.t.dtype]);
  const offsets = new Map<string, [number, number]>();
  let at = 0;
  for (const { t, bytes } of order) {
    if (t.name === "__metadata__")
      throw new WorldlineError("a tensor is named __metadata__, which the safetensors format keeps for itself; rename it");
    if (offsets.has(t.name)) throw new WorldlineError(`two tensors are named ${quote(t.name)}; names in a safetensors file must differ`);
    offsets.set(t.name, [at, (at += bytes)]);
  }
  const entries = tensors.map(
    (t) => `${JSON.stringify(t.name)}:${JSON.stringify({ dtype: t.dtype, shape: t.shape, data_offsets: offsets.get(t.name) })}`,
  );
  if (Object.keys(metadata).length > 0) entries.unshift(`"__metadata__":${JSON.stringify(metadata)}`);
  const json = new TextEncoder().encode(`{${entries.join(",")}}`);
  const length = Math.ceil(json.byteLength / 8) * 8;
  if (length > maxHeader)
    throw new WorldlineError(`the header would have ${length} bytes, at most ${maxHeader} are allowed; write fewer tensors per file`);
  const head = new Uint8Array(8 + length).fill(0x20, 8);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(json, 8);
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield head;
    for (const { t, bytes } of order) yield* dataOf(t, bytes);
  }
  return { size: head.byteLength + at, pieces };
}

function checkedBytes(t: TensorData): number {
  if (!isDtype(t.dtype))
    throw new WorldlineError(`tensor ${quote(t.name)} has dtype ${quote(t.dtype)}; known are ${Object.keys(dtypeBytes).join(", ")}`);
  const bytes = isShape(t.shape) ? byteLength(t.shape, t.dtype) : null;
  if (bytes === null)
    throw new WorldlineError(`tensor ${quote(t.name)} has shape ${quote(t.shape)}; a list of whole numbers from 0 up is needed`);
  if (t.data instanceof Uint8Array) checkLength(t, t.data.byteLength, bytes);
  return bytes;
}

async function* dataOf(t: TensorData, bytes: number): AsyncGenerator<Uint8Array> {
  const data = t.data instanceof Uint8Array ? t.data : await t.data();
  if (data instanceof Uint8Array) {
    checkLength(t, data.byteLength, bytes);
    yield data;
    return;
  }
  let given = 0;
  for await (const piece of data) {
    given += piece.byteLength;
    if (given > bytes) checkLength(t, given, bytes);
    yield piece;
  }
  checkLength(t, given, bytes);
}

function checkLength(t: TensorData, given: number, needed: number): void {
  if (given !== needed)
    throw new WorldlineError(
      `tensor ${quote(t.name)} of shape ${quote(t.shape)} and dtype ${t.dtype} needs ${needed} bytes, ${given} were given`,
    );
}
