// A checkpoint in the shape of Chameleon-7B with seeded random weights, written piece by piece: config.json, bf16 shards of up to 5 GB, index. Rows are
// stretches of one pool of normal numbers from seeded places, so that gigabytes take no longer than the disk. No VQ model and no tokenizer.
import { Rng } from "../engine/rng.ts";
import { chameleonSpecs } from "../models/chameleon.ts";
import { saveCheckpoint } from "../weights/checkpoint.ts";
import { type ChameleonConfig, parseConfig, writeConfig } from "../weights/names.ts";
import { fromFloat32 } from "../weights/safetensors.ts";

/** Chameleon-7B's sizes with another number of layers (32 in the real one). */
export function shapedConfig(layers: number): ChameleonConfig {
  return parseConfig({ model_type: "chameleon", num_hidden_layers: layers });
}

/** Bytes of the tensors of the checkpoint. */
export function shapedBytes(layers: number): number {
  return chameleonSpecs(shapedConfig(layers)).reduce((sum, { shape }) => sum + 2 * shape.reduce((a, b) => a * b, 1), 0);
}

const poolSize = 1 << 21;
const pieceBytes = 1 << 24;

/** Writes the folder, all or nothing. `onBytes` hears how much is written; it may throw to stop. */
export async function writeShaped(
  folder: string,
  options: { layers: number; seed?: number; overwrite?: boolean; onBytes?: (done: number, total: number) => void },
): Promise<void> {
  const { layers, seed = 1, overwrite, onBytes } = options;
  const config = shapedConfig(layers);
  const normals = new Rng(seed, "shaped").normals(poolSize);
  const pools = new Map<number, Uint8Array>();
  const poolOf = (deviation: number) => {
    let pool = pools.get(deviation);
    if (!pool)
      pools.set(
        deviation,
        (pool = fromFloat32(
          normals.map((v) => v * deviation),
          "BF16",
        )),
      );
    return pool;
  };
  const total = shapedBytes(layers);
  let done = 0;
  const tensors = chameleonSpecs(config).map(({ name, shape }) => ({
    name,
    dtype: "BF16" as const,
    shape,
    data: async function* () {
      for (const piece of pieces(name, shape, config, poolOf, new Rng(seed, name))) {
        yield piece;
        onBytes?.((done += piece.byteLength), total);
      }
    },
  }));
  await saveCheckpoint(folder, { config: { ...writeConfig(config), torch_dtype: "bfloat16" }, tensors }, { overwrite, shardBytes: 5e9 });
}

function* pieces(
  name: string,
  shape: readonly number[],
  config: ChameleonConfig,
  poolOf: (deviation: number) => Uint8Array,
  rng: Rng,
): Generator<Uint8Array> {
  const columns = shape[shape.length - 1];
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  if (name.includes("norm")) {
    yield fromFloat32(new Float32Array(rows * columns).fill(name.endsWith("bias") ? 0 : 1), "BF16");
    return;
  }
  const residual = /o_proj|down_proj/.test(name) ? Math.sqrt(2 * config.layers) : 1;
  const pool = poolOf(name.includes("embed") ? 1 : 1 / (Math.sqrt(columns) * residual));
  const stride = 2 * columns;
  const step = Math.floor(pieceBytes / stride);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const piece = new Uint8Array(count * stride);
    for (let r = 0; r < count; r++) {
      const at = 2 * rng.int(poolSize - columns);
      piece.set(pool.subarray(at, at + stride), r * stride);
    }
    yield piece;
  }
}
