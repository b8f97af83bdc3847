// worldline weights: the recognition weights of a pair of pictures, as a heat map over the second.
import { fileURLToPath } from "node:url";
import { type Command, Option } from "commander";
import { openDevice } from "../engine/node.ts";
import { preparePicture } from "../tokenizer/pixels.ts";
import { checkWritable } from "../weights/file_source.ts";
import { loadModel } from "../world/model.ts";
import { readPicture, writePng } from "../world/pictures.ts";
import { featureDistances, type Normalisation, normalisations, recognitionWeights } from "../world/recognition.ts";
import { writeText } from "../world/records.ts";
import { enlarged, heatMap } from "../world/sheets.ts";
import { shippedBase } from "../world/tabletop/presets.ts";
import { number, say } from "./terminal.ts";

interface Flags {
  model?: string;
  out: string;
  values?: string;
  normalisation: Normalisation;
  epsilon: number;
  floor: number;
  exponent: number;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("weights")
    .argument("<source>", "the picture before")
    .argument("<target>", "the picture after")
    .description("loss weights of the target's picture tokens: how far the picture tokenizer's features differ, cell by cell")
    .option("--model <folder>", "the model whose picture tokenizer is asked (default: the shipped tabletop base)")
    .option("--out <file>", "where to write the heat map over the target (PNG)", "weights.png")
    .option("--values <file>", "write distances and weights as JSON, too")
    .addOption(new Option("--normalisation <name>", "what distances are divided by").choices([...normalisations]).default("mean"))
    .option("--epsilon <x>", "share of the plain loss, which unchanged cells keep", number(0, 1), 0)
    .option("--floor <x>", "the divisor is at least this", number(0, 1e9), 0)
    .option("--exponent <x>", "power of the distance", number(0.01, 100), 1)
    .action(run);
}

async function run(source: string, target: string, f: Flags): Promise<void> {
  for (const path of [f.out, f.values]) if (path) await checkWritable(path);
  const pictures = [await readPicture(source), await readPicture(target)];
  if (f.model === undefined)
    say("no --model: the shipped tabletop base's picture tokenizer is asked, which knows toy tables of 48 x 48 pixels");
  const model = await loadModel(await openDevice(), f.model ?? fileURLToPath(shippedBase("default")));
  const [before, after] = await model.pictures.encode(pictures);
  const distances = featureDistances(before.features, after.features, model.vqgan.config.embedDim);
  const { normalisation, epsilon, floor, exponent } = f;
  const weights = recognitionWeights(distances, { normalisation, epsilon, floor, exponent });
  // At the model's size, which may be 48 pixels a side, nothing could be made out.
  const map = heatMap(weights, [after.rows, after.columns], preparePicture(pictures[1], model.pixels));
  await writePng(f.out, enlarged(map, Math.max(1, Math.ceil(256 / map.width))));
  const { rows, columns } = after;
  if (f.values)
    await writeText(f.values, JSON.stringify({ source, target, rows, columns, distances: [...distances], weights: [...weights] }));
  const sorted = Float32Array.from(weights).sort();
  const changed = before.codes.reduce((n, code, i) => n + (code === after.codes[i] ? 0 : 1), 0);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))].toFixed(3);
  say(
    `${f.out}: ${rows} x ${columns} cells, ${changed} with another code; weights ${at(0)} least, ${at(0.5)} median, ${at(0.9)} at 90%, ${at(1)} most`,
  );
}
