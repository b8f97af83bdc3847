// Makes a tabletop base from a seed and writes it as a model folder; base.ts says what it learns. What is done is kept in <out>/training, so that
// an interrupted run goes on where it was and ends with the same bits.

import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../engine/device.ts";
import { WorldlineError } from "../../engine/errors.ts";
import { parameters } from "../../engine/module.ts";
import { Rng } from "../../engine/rng.ts";
import type { VQGAN, VqReader } from "../../models/vqgan.ts";
import { checkpointStore } from "../../train/checkpoints.ts";
import { train } from "../../train/loop.ts";
import { trainVqgan, type VqganRecord } from "../../train/vqgan.ts";
import { openCheckpoint } from "../../weights/checkpoint.ts";
import { fileSource } from "../../weights/file_source.ts";
import { vqPrefix } from "../../weights/names.ts";
import { fromFloat32, openSafetensors, saveSafetensors, toFloat32 } from "../../weights/safetensors.ts";
import type { Progress } from "../codes.ts";
import { type Model, saveModel } from "../model.ts";
import { writeText } from "../records.ts";
import { FAMILIES } from "./actions.ts";
import { type BaseSettings, baseExamples, createBase, vqPictures } from "./base.ts";
import { paceOf } from "./demo.ts";
import { oracleError } from "./evaluate.ts";
import { pictureSide } from "./render.ts";
import { triplet } from "./samples.ts";
import type { Tabletop } from "./world.ts";

export interface MakeBaseOptions {
  readonly world: Tabletop;
  readonly settings: BaseSettings;
  readonly seed: number;
  readonly out: string;
  /** A trained picture tokenizer to take over, and what names its weights. */
  readonly vq?: { readonly read: VqReader; readonly hash: string; readonly codes: number };
  readonly vqOnly?: boolean;
  /** Train the taken-over picture tokenizer further instead of leaving it as it is. */
  readonly vqFurther?: boolean;
  /** Prints a line that stays. */
  readonly say: (text: string) => void;
  readonly progress: (label: string) => Progress;
  readonly signal?: AbortSignal;
  /** True targets that measure the oracle's error on reconstructions (default 500). */
  readonly truths?: number;
}

/** Reads the picture tokenizer of a model folder. A codebook of another size is left out: k-means makes a new one where training goes on. */
export async function vqReader(folder: string): Promise<NonNullable<MakeBaseOptions["vq"]>> {
  const checkpoint = await openCheckpoint(folder);
  const prefix = vqPrefix(checkpoint) ?? "";
  const book = await checkpoint.readFloat32(`${prefix}quantize.embedding.weight`);
  const ends = await checkpoint.readFloat32(`${prefix}encoder.conv_out.weight`);
  const read: VqReader = async (name, shape) => {
    const t = checkpoint.tensors.get(prefix + name);
    if (!t) return undefined;
    if (name === "quantize.embedding.weight" && t.shape[0] !== shape[0]) return new Float32Array(shape[0] * shape[1]);
    return checkpoint.readFloat32(prefix + name);
  };
  const codes = checkpoint.tensors.get(`${prefix}quantize.embedding.weight`)!.shape[0];
  return { read, hash: hashOf(book, ends), codes };
}

function hashOf(...parts: (string | Float32Array | Uint32Array)[]): string {
  const hash = createHash("sha256");
  for (const p of parts) hash.update(typeof p === "string" ? p : new Uint8Array(p.buffer, p.byteOffset, p.byteLength));
  return hash.digest("hex");
}

/** Trains picture tokenizer and transformer and writes the folder (f16 weights) with log.json beside them; false where the signal stopped it. */
export async function makeBase(device: Device, o: MakeBaseOptions): Promise<boolean> {
  const { world, settings, seed, say } = o;
  if (o.vq && !o.vqFurther && o.vq.codes !== settings.vq.codes)
    throw new WorldlineError(
      `--vq has ${o.vq.codes} codes, this base has ${settings.vq.codes}; add --vq-further, which makes a new codebook`,
    );
  const state = join(o.out, "training");
  const model = await createBase(device, world, settings, seed, o.vq?.read);
  const log: Record<string, unknown> = { seed, settings };
  if (!o.vq || o.vqFurther) {
    const records = await trainPictures(device, model, o, join(state, "picture_tokenizer"));
    if (!records) return false;
    log.picture_tokenizer = records;
    await roundToHalf(device, model.vqgan);
    await saveModel(device, model, o.out, "F16");
  }
  log.oracle = await reconstructionError(model, world, seed, o.truths ?? 500);
  say(`oracle on reconstructed truths: ${JSON.stringify(log.oracle)}`);
  if (!o.vqOnly) {
    const examples = await documentExamples(device, model, o, state);
    const show = o.progress("transformer");
    const options = { ...settings.lmTraining, seed };
    const run = { world, settings, seed, codes: hashOf(examples.codes) };
    const result = await train(device, model.lm, examples.examples, options, {
      onLog: (r) => show(r.step, options.steps, paceOf(r)),
      signal: o.signal,
      store: checkpointStore(device, parameters(model.lm), join(state, "transformer"), { run, seed, maxSteps: options.steps }),
    });
    if (!result.finished) return false;
    log.transformer = result.log;
  }
  await saveModel(device, model, o.out, "F16");
  await writeText(join(o.out, "log.json"), JSON.stringify(log));
  await rm(state, { recursive: true, force: true });
  return true;
}

/** Trains the picture tokenizer; its last state stays on disk until the whole base is made. */
function trainPictures(device: Device, model: Model, o: MakeBaseOptions, folder: string): Promise<VqganRecord[] | undefined> {
  const { settings, seed } = o;
  const world = { ...o.world, grid: settings.vqGrid ?? o.world.grid };
  const side = pictureSide(world);
  const t = { ...settings.vqTraining, seed };
  const show = o.progress("picture tokenizer");
  return trainVqgan(device, model.vqgan, { width: side, height: side }, vqPictures(world, model.pixels, t.batch, seed), t, {
    onLog: (r) =>
      show(
        r.step,
        t.plain.steps + t.quantized.steps,
        `squared error ${r.reconstruction.toFixed(5)}${r.used ? `, ${r.used} codes used` : ""}`,
      ),
    signal: o.signal,
    store: checkpointStore(device, parameters(model.vqgan), folder, {
      run: { world, vq: settings.vq, training: t, from: o.vq?.hash ?? null },
      seed,
    }),
  });
}

/** Rounds weights to what f16 holds, so that the transformer learns the codes that the written picture tokenizer gives. */
async function roundToHalf(device: Device, vqgan: VQGAN): Promise<void> {
  const tensors = [...parameters(vqgan).values()];
  const values = (await device.read(...tensors)) as Float32Array[];
  for (const [i, t] of tensors.entries()) device.write(t, toFloat32(fromFloat32(values[i], "F16"), "F16"));
}

/** The documents as examples; the codes of their pictures are kept in `state`. */
async function documentExamples(device: Device, model: Model, o: MakeBaseOptions, state: string): ReturnType<typeof baseExamples> {
  const { world, settings, seed } = o;
  const path = join(state, "document_codes.safetensors");
  const weights = (await device.read(...parameters(model.vqgan).values())) as Float32Array[];
  const picture_tokenizer = hashOf(JSON.stringify([world, settings.documents, seed]), ...weights);
  const known = await readCodes(path, picture_tokenizer).catch(() => undefined);
  const all = await baseExamples(model, world, settings, seed, { known, onProgress: o.progress("encoding pictures"), signal: o.signal });
  if (all.codes !== known) {
    const data = new Uint8Array(all.codes.buffer);
    await saveSafetensors(path, [{ name: "codes", dtype: "U32", shape: [all.codes.length], data }], { picture_tokenizer });
  }
  return all;
}

async function readCodes(path: string, picture_tokenizer: string): Promise<Uint32Array | undefined> {
  const file = await openSafetensors(await fileSource(path), path);
  try {
    if (file.metadata.picture_tokenizer !== picture_tokenizer) return undefined;
    return new Uint32Array((await file.read("codes")).slice().buffer);
  } finally {
    await file.close();
  }
}

/** The oracle's error on `count` true targets that went through the picture tokenizer, and how often an unchanged cell keeps its code. */
async function reconstructionError(model: Model, world: Tabletop, seed: number, count: number): Promise<Record<string, number>> {
  const truths = Array.from({ length: count }, (_, i) => triplet(world, new Rng(seed, `oracle ${i}`), FAMILIES[i % FAMILIES.length]));
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
