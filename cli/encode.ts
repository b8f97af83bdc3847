// worldline encode: pictures to codes, one JSON object a line; with --features also the vectors before the codebook.
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { blendOnWhite, centreCrop, type Picture, type PixelConfig } from "../tokenizer/pixels.ts";
import { codesToIds } from "../tokenizer/vocab.ts";
import { checkWritable, writeFileAtomic } from "../weights/file_source.ts";
import { fromFloat32, saveSafetensors, type TensorData } from "../weights/safetensors.ts";
import { loadPictures } from "../world/model.ts";
import { readPicture } from "../world/pictures.ts";
import { folderOf } from "./shared.ts";
import { progress, say } from "./terminal.ts";

interface Flags {
  model: string;
  out?: string;
  features?: string;
  keepSize?: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("encode")
    .description("turn pictures into codes")
    .argument("<pictures...>", "PNG, JPEG, WebP, ...")
    .requiredOption("-m, --model <model>", "model folder or hub id")
    .option("--out <file>", "write the JSON lines to this file instead of stdout")
    .option("--features <file>", "write the vectors before the codebook, (rows, columns, channels) by path, as safetensors")
    .option("--keep-size", "do not scale: cut each side to a multiple of the model's step and encode the picture as it is")
    .action(run);
}

async function run(paths: string[], f: Flags): Promise<void> {
  for (const path of [f.out, f.features]) if (path) await checkWritable(path);
  const twice = paths.find((path, i) => paths.indexOf(path) !== i);
  if (twice && f.features) throw new WorldlineError(`${twice} was given twice; features are named by path, give each picture once`);
  const read: Picture[] = [];
  for (const path of paths) read.push(await readPicture(path));
  const device = await openDevice();
  const { coder, vocab } = await loadPictures(device, await folderOf(f.model), f.keepSize ? unscaled : undefined);
  const lines: string[] = [];
  const features: TensorData[] = [];
  const show = progress("encoding pictures");
  for (const [i, path] of paths.entries()) {
    const [e] = await coder.encode([f.keepSize ? cut(read[i], coder.reduction, path) : read[i]]);
    const { rows, columns } = e;
    lines.push(JSON.stringify({ path, rows, columns, codes: [...e.codes], ...(vocab ? { ids: [...codesToIds(vocab, e.codes)] } : {}) }));
    if (f.features)
      features.push({
        name: path,
        dtype: "F32",
        shape: [rows, columns, e.features.length / rows / columns],
        data: fromFloat32(e.features, "F32"),
      });
    show(i + 1, paths.length);
  }
  if (f.features) await saveSafetensors(f.features, features);
  if (f.out) {
    await writeFileAtomic(f.out, [new TextEncoder().encode(lines.map((line) => `${line}\n`).join(""))]);
    say(`${f.out}: codes of ${paths.length} pictures`);
  } else for (const line of lines) console.log(line);
}

const unscaled = (pixels: PixelConfig): PixelConfig => ({ ...pixels, shortestEdge: null, exact: undefined, crop: null });

/** The largest centre of a picture whose sides are multiples of `step`. */
function cut(picture: Picture, step: number, path: string): Picture {
  const [width, height] = [picture.width, picture.height].map((n) => Math.floor(n / step) * step);
  if (!width || !height)
    throw new WorldlineError(`${path}: the picture has ${picture.width} x ${picture.height} pixels; at least ${step} x ${step} are needed`);
  return centreCrop(blendOnWhite(picture), width, height);
}
