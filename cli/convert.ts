// worldline convert: a model folder in another element type, name order or shard size, or with an adapter merged.
import { type Command, InvalidArgumentError, Option } from "commander";
import type { FloatDtype } from "../weights/dtypes.ts";
import { checkWritable } from "../weights/file_source.ts";
import { defaultGroupSize, type StoredType, storedTypes } from "../weights/stored.ts";
import { convertModel, defaultShard } from "../world/convert.ts";
import { folderOf } from "./shared.ts";
import { count, duration, interruption, say, status } from "./terminal.ts";

interface Flags {
  model: string;
  out: string;
  dtype?: StoredType;
  groupSize: number;
  pictureDtype?: string;
  names: "hf" | "meta";
  adapter?: string;
  shardSize: number;
  overwrite?: true;
}

const floats: Record<string, FloatDtype> = { f32: "F32", bf16: "BF16", f16: "F16" };

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("convert")
    .description("write a model in another element type or name order, or with an adapter merged")
    .requiredOption("-m, --model <model>", "a folder or a hub id; Hugging Face's or Meta's tensor names")
    .requiredOption("--out <folder>", "where to write the new model folder")
    .addOption(new Option("--dtype <type>", "element type of the language model (default: as stored)").choices(storedTypes))
    .option("--group-size <n>", "int8 and int4: values per scale, a power of two", count(8, 65536), defaultGroupSize)
    .addOption(new Option("--picture-dtype <type>", "element type of the picture model (default: as stored)").choices(Object.keys(floats)))
    .addOption(new Option("--names <order>", "tensor names and row order").choices(["hf", "meta"]).default("hf"))
    .option("--adapter <folder>", "merge this LoRA adapter")
    .option("--shard-size <bytes>", "largest file, like 5GB or 500MB", bytes, defaultShard)
    .option("--overwrite", "replace the folder if it exists")
    .action(run);
}

async function run(f: Flags): Promise<void> {
  await checkWritable(f.out);
  const signal = interruption();
  const begin = performance.now();
  const folder = await folderOf(f.model, signal);
  const adapter = f.adapter === undefined ? undefined : await folderOf(f.adapter, signal);
  const done = await convertModel(folder, f.out, {
    dtype: f.dtype,
    groupSize: f.groupSize,
    pictureDtype: f.pictureDtype ? floats[f.pictureDtype] : undefined,
    names: f.names,
    adapter,
    shardBytes: f.shardSize,
    overwrite: f.overwrite,
    onProgress: (now, total) => {
      signal.throwIfAborted();
      status(`writing ${(now / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB`);
    },
  });
  const merged = adapter ? `, adapter merged into ${done.merged}` : "";
  say(`${f.out}: ${done.tensors} tensors${merged}, ${(done.bytes / 1e6).toFixed(1)} MB in ${duration((performance.now() - begin) / 1000)}`);
}

/** A size like 5GB, 500MB or 1000000. */
function bytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(k|m|g|t)?(i)?b?$/i.exec(text);
  const power = match?.[2] ? "kmgt".indexOf(match[2].toLowerCase()) + 1 : 0;
  const value = match ? Number(match[1]) * (match[3] ? 1024 : 1000) ** power : 0;
  if (value < 1) throw new InvalidArgumentError("a size such as 5GB, 500MB or 100000 is needed.");
  return value;
}
