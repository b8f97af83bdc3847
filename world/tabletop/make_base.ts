// Makes a tabletop base from a seed and writes it as a model folder; base.ts says what it learns.
import { join } from "node:path";
import type { Device } from "../../engine/device.ts";
import { Rng } from "../../engine/rng.ts";
import type { VqReader } from "../../models/vqgan.ts";
import { train } from "../../train/loop.ts";
import { trainVqgan } from "../../train/vqgan.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { vqPrefix } from "../../weights/names.ts";
import { type Model, saveModel } from "../model.ts";
import { writeText } from "../records.ts";
import { FAMILIES } from "./actions.ts";
import { type BaseSettings, baseExamples, createBase, vqPictures } from "./base.ts";
import { oracleError } from "./evaluate.ts";
import { pictureSide } from "./render.ts";
import { triplet } from "./samples.ts";
import type { Tabletop } from "./world.ts";

export interface MakeBaseOptions {
  readonly world: Tabletop;
  readonly settings: BaseSettings;
  readonly seed: number;
  readonly out: string;
  /** A trained picture tokenizer to take over. */
  readonly vq?: VqReader;
  readonly vqOnly?: boolean;
  /** Train the taken-over picture tokenizer further instead of leaving it as it is. */
  readonly vqFurther?: boolean;
  /** Lines that stay, and the one that is overwritten. */
  readonly say: (text: string) => void;
  readonly status: (text: string) => void;
}

/** Reads the picture tokenizer of a model folder. A codebook of another size is left out: k-means makes a new one where training goes on. */
export async function vqReader(folder: string): Promise<VqReader> {
  const checkpoint = await openCheckpoint(folder);
  const prefix = vqPrefix(checkpoint) ?? "";
  return async (name, shape) => {
    const t = checkpoint.tensors.get(prefix + name);
    if (!t) return undefined;
    if (name === "quantize.embedding.weight" && t.shape[0] !== shape[0]) return new Float32Array(shape[0] * shape[1]);
    return checkpoint.readFloat32(prefix + name);
  };
}

/** Trains picture tokenizer and transformer and writes the folder (f16 weights) with log.json beside them. */
export async function makeBase(device: Device, o: MakeBaseOptions): Promise<void> {
  const { world, settings, seed, say, status } = o;
  const model = await createBase(device, world, settings, seed, o.vq);
  const log: Record<string, unknown> = { seed, settings };
  if (!o.vq || o.vqFurther) {
    const side = pictureSide(world);
    const t = { ...settings.vqTraining, seed };
    const pictures = vqPictures(world, model.pixels, t.batch, seed);
    log.picture_tokenizer = await trainVqgan(device, model.vqgan, { width: side, height: side }, pictures, t, (r) =>
      say(
        `picture tokenizer ${r.step}/${t.plain.steps + t.quantized.steps}: squared error ${r.reconstruction.toFixed(5)}, ${r.used} codes used, ${r.seconds.toFixed(1)} s`,
      ),
    );
    await saveModel(device, model, o.out, "F16");
  }
  log.oracle = await reconstructionError(model, world, seed);
  say(`oracle on reconstructed truths: ${JSON.stringify(log.oracle)}`);
  if (!o.vqOnly) {
    const examples = await baseExamples(model, world, settings, seed, (done, total) => status(`encoding pictures ${done}/${total}`));
    const { steps } = settings.lmTraining;
    const result = await train(
      device,
      model.lm,
      examples,
      { ...settings.lmTraining, seed },
      {
        onLog: (r) =>
          say(
            `transformer ${r.step}/${steps}: loss ${r.loss.toFixed(4)}, ${r.tokens_per_s.toFixed(0)} tokens/s, ${r.gflop_per_s.toFixed(1)} GFLOP/s`,
          ),
      },
    );
    log.transformer = result.log;
  }
  await saveModel(device, model, o.out, "F16");
  await writeText(join(o.out, "log.json"), JSON.stringify(log));
}

/** The oracle's error on 500 true targets that went through the picture tokenizer, and how often an unchanged cell keeps its code. */
async function reconstructionError(model: Model, world: Tabletop, seed: number): Promise<Record<string, number>> {
  const truths = Array.from({ length: 500 }, (_, i) => triplet(world, new Rng(seed, `oracle ${i}`), FAMILIES[i % FAMILIES.length]));
  const sources = await model.pictures.encode(truths.map((t) => t.source));
  const targets = await model.pictures.encode(truths.map((t) => t.target));
  const pictures = await model.pictures.decode(
    targets.map((e) => e.codes),
    targets[0].columns,
  );
  const records = truths.map((t, i) => ({
    id: `${i}`,
    source: "",
    target: "",
    action: t.text,
    meta: { before: t.before, after: t.after },
  }));
  const error = oracleError(world, records, pictures);
  const kept = { empty: [0, 0], object: [0, 0] };
  truths.forEach((t, i) => {
    t.before.cells.forEach((item, c) => {
      const after = t.after.cells[c];
      if (item?.kind !== after?.kind) return;
      const count = item ? kept.object : kept.empty;
      count[0] += sources[i].codes[c] === targets[i].codes[c] ? 1 : 0;
      count[1]++;
    });
  });
  const share = ([same, all]: number[]) => same / all;
  const used = new Set(targets.flatMap((e) => [...e.codes])).size;
  return {
    verdicts_wrong: error.verdicts.value,
    cells_wrong: error.cells.value,
    kept_code_empty: share(kept.empty),
    kept_code_object: share(kept.object),
    codes_used: used,
  };
}
