// The tabletop base: a picture tokenizer trained on tables, and a transformer pre-trained on captioned pictures and unlabelled neighbouring
// frames. No sentence it sees holds an action word. `npm run pretrain` makes it from a seed; the demo starts from it.
import type { Device } from "../../engine/device.ts";
import { Rng } from "../../engine/rng.ts";
import { createChameleon } from "../../models/chameleon.ts";
import { createVqgan, type VQGAN, type VqReader } from "../../models/vqgan.ts";
import { interleaved, PictureCoder } from "../../tokenizer/image.ts";
import { modelFiles } from "../../tokenizer/model_files.ts";
import { parsePixelConfig, pixelValues } from "../../tokenizer/pixels.ts";
import { layout, lossWeights, type Segment } from "../../tokenizer/prompt.ts";
import { parseTokenizer } from "../../tokenizer/text.ts";
import { trainBpe } from "../../tokenizer/train_bpe.ts";
import { vocabOf } from "../../tokenizer/vocab.ts";
import type { Example } from "../../train/data.ts";
import { defaultTraining, type TrainOptions } from "../../train/loop.ts";
import { type ExampleSource, inTurn, shuffled } from "../../train/order.ts";
import type { VqganBatch, VqganTraining } from "../../train/vqgan.ts";
import type { ChameleonConfig, VqConfig } from "../../weights/names.ts";
import type { Progress } from "../codes.ts";
import type { Model } from "../model.ts";
import { FAMILIES, sentences } from "./actions.ts";
import { caption, countCaption, spatialFacts } from "./captions.ts";
import { driftView, type Picture, pictureSide, randomView, render } from "./render.ts";
import { pair } from "./samples.ts";
import { kindCount, kindsOf, randomScene, restingItem, type Scene, type Tabletop } from "./world.ts";

/** Sizes and schedules of a base. */
export interface BaseSettings {
  readonly vq: {
    readonly codes: number;
    readonly embedDim: number;
    readonly baseChannels: number;
    readonly channelMultiplier: number[];
    readonly resBlocks: number;
  };
  readonly lm: {
    readonly hidden: number;
    readonly intermediate: number;
    readonly layers: number;
    readonly heads: number;
    readonly ropeTheta: number;
  };
  readonly vqTraining: VqganTraining;
  /** Cells on a side of the tables that the picture tokenizer is trained on (default: the world's): its norms do not mind a smaller table, which costs less. */
  readonly vqGrid?: number;
  readonly lmTraining: TrainOptions;
  /** Scenes re-shot or unrelated in pairs, single pictures, and neighbouring frames. */
  readonly documents: { readonly scenes: number; readonly frames: number };
  /** Steps that see only two-picture documents with loss on the second picture and the words: they form the copying heads. */
  readonly copySteps: number;
}

export const defaultBase: BaseSettings = {
  vq: { codes: 48, embedDim: 16, baseChannels: 32, channelMultiplier: [1, 1, 1, 2, 3], resBlocks: 1 },
  lm: { hidden: 64, intermediate: 160, layers: 4, heads: 2, ropeTheta: 30 },
  vqTraining: {
    plain: { learningRate: 1.5e-3, steps: 3000, warmupRatio: 0.02, type: "cosine", floor: 0.05 },
    quantized: { learningRate: 8e-4, steps: 1000, warmupRatio: 0.03, type: "cosine", floor: 0.05 },
    batch: 8,
    commitment: 0.25,
    consistency: 0.2,
    contrast: 0.03,
    temperature: 0.1,
    noise: 0.3,
    betas: [0.9, 0.99],
    clip: 1,
    seed: 1,
    logEvery: 20,
    reviveEvery: 50,
    saveEvery: 250,
  },
  lmTraining: { ...defaultTraining, learningRate: 6e-3, steps: 1300, batch: 32, seed: 1 },
  documents: { scenes: 6000, frames: 4500 },
  copySteps: 300,
};

/** An untrained base: random weights, a tokenizer trained on the world's words, configuration files. */
export async function createBase(
  device: Device,
  world: Tabletop,
  settings: BaseSettings,
  seed: number,
  vqSource?: VqReader,
): Promise<Model> {
  const side = pictureSide(world);
  const vq: VqConfig = {
    ...settings.vq,
    latentChannels: settings.vq.embedDim,
    resolution: side,
    inChannels: 3,
    outChannels: 3,
    attnResolutions: [],
    doubleLatent: false,
  };
  const step = 2 ** (vq.channelMultiplier.length - 1);
  const tokenizerJson = trainBpe(corpus(world, seed), { codes: vq.codes, merges: 400, minCount: 2 });
  const { configFields, files } = modelFiles(tokenizerJson, { size: side, imageSeqLength: (side / step) ** 2 });
  const { hidden, intermediate, layers, heads, ropeTheta } = settings.lm;
  const config: ChameleonConfig = {
    ...configFields,
    // Rows of logits that are whole vectors: the spare ids have no name and are never allowed.
    vocabSize: Math.ceil(configFields.vocabSize / 32) * 32,
    hidden,
    intermediate,
    layers,
    heads,
    kvHeads: heads,
    headDim: hidden / heads,
    maxPositions: 256,
    rmsNormEps: 1e-5,
    ropeTheta,
    ropeScaling: null,
    swinNorm: false,
    modelParallelSize: 1,
    tieWordEmbeddings: false,
    vq,
  };
  const texts = Object.fromEntries(
    Object.entries({ ...files, "world.json": world as unknown as Record<string, unknown> }).map(([name, value]) => [
      name,
      JSON.stringify(value, null, 1),
    ]),
  );
  const lm = await createChameleon(device, config, new Rng(seed, "transformer"));
  const vqgan = await createVqgan(device, vq, vqSource ?? new Rng(seed, "picture tokenizer"));
  if (!vqSource) paintTable(device, vqgan, world);
  const pixels = parsePixelConfig(JSON.parse(texts["preprocessor_config.json"]) as Record<string, unknown>);
  const tokenizer = parseTokenizer(tokenizerJson);
  return {
    folder: "",
    config,
    lm,
    vqgan,
    pixels,
    tokenizer,
    files: texts,
    vocab: vocabOf(config),
    pictures: new PictureCoder(device, vqgan, pixels),
  };
}

/** Starts the decoder at the colour of the bare table, which most pixels have. */
function paintTable(device: Device, vqgan: VQGAN, world: Tabletop): void {
  const bias = vqgan.decoder!.conv_out.bias;
  const start = new Float32Array(bias.size);
  start.set(world.table.map((c) => 2 * c - 1));
  device.write(bias, start);
}

/** Sentences whose words the tokenizer learns: every action, and captions. */
function corpus(world: Tabletop, seed: number): string[] {
  const rng = new Rng(seed, "corpus");
  const texts = [...sentences(world).keys()];
  for (let i = 0; i < 4000; i++) texts.push(caption(world, randomScene(world, rng, i % 3 === 0), rng));
  return texts.flatMap((t) => [t, ` ${t}`]);
}

/**
 * Batches for the picture tokenizer: pairs of tables as crowded as the world's own; the second shows some objects of the first again, in other cells,
 * among other things and under other light. The norms of the picture tokenizer look at the whole picture; cells that show the same teach it to give
 * an object the same features in any company.
 */
export function vqPictures(world: Tabletop, pixels: Model["pixels"], batch: number, seed: number): (step: number) => VqganBatch {
  const side = pictureSide(world);
  const cells = world.grid ** 2;
  return (step) => {
    const rng = new Rng(seed, `vq pictures ${step}`);
    const out = new Float32Array(batch * side * side * 3);
    const shows = new Int32Array(batch * cells);
    const put = (scene: Scene, b: number) => {
      out.set(interleaved(pixelValues(render(world, scene, randomView(world, rng)), pixels), side * side), b * side * side * 3);
      shows.set(kindsOf(scene), b * cells);
    };
    for (let b = 0; b + 1 < batch; b += 2) {
      const first = crowd(world, rng);
      const second = { ...crowd(world, rng), clutter: first.clutter };
      const places = rng.shuffle(Array.from({ length: cells }, (_, i) => i));
      const shown = second.cells.slice();
      first.cells.forEach((item, cell) => {
        if (rng.uniform() >= 0.4) shown[places[cell]] = item && restingItem(item.kind, rng);
      });
      put(first, b);
      put({ ...second, cells: shown }, b + 1);
    }
    return { pixels: out, shows };
  };
}

/** A table with objects out of a random palette of kinds in 15 to 60% of its cells. */
function crowd(world: Tabletop, rng: Rng): Scene {
  const { clutter } = randomScene(world, rng);
  const share = rng.uniform(0.15, 0.6);
  const palette = Array.from({ length: 4 + rng.int(5) }, () => rng.int(kindCount(world)));
  return {
    clutter,
    cells: Array.from({ length: world.grid ** 2 }, () => (rng.uniform() < share ? restingItem(rng.pick(palette), rng) : null)),
  };
}

/** One or two pictures and a caption before or behind them. */
export interface Document {
  readonly pictures: readonly Picture[];
  readonly text: string;
  readonly textFirst: boolean;
}

/**
 * Documents of the base: one or two pictures with a caption, which stands first in 40%. A caption is about the picture beside it: the first one
 * where it precedes them, the last one where it follows. Half of those before two pictures are about a table that is not shown, as words near
 * pictures often are: the second picture follows from the first, and what words before them name says nothing about it.
 */
export function documents(world: Tabletop, settings: Pick<BaseSettings, "documents">, seed: number): Document[] {
  const rng = new Rng(seed, "documents");
  const make = (pictures: Picture[], first: Scene, last: Scene): Document => {
    const textFirst = rng.uniform() < 0.4;
    const about = !textFirst ? last : pictures.length === 2 && rng.uniform() < 0.5 ? randomScene(world, rng) : first;
    return { pictures, text: wordsFor(world, about, rng), textFirst };
  };
  const out: Document[] = [];
  for (let i = 0; i < settings.documents.frames; i++) {
    const p = pair(world, rng, { steps: rng.uniform() < 0.3 ? 2 : 1, family: rng.pick(FAMILIES) });
    out.push(make([p.source, p.target], p.before, p.after));
  }
  for (let i = 0; i < settings.documents.scenes; i++) {
    const scene = randomScene(world, rng, i % 3 === 0);
    const view = randomView(world, rng);
    const picture = render(world, scene, view);
    const draw = rng.uniform();
    if (draw < 0.35) out.push(make([picture], scene, scene));
    else {
      const before = draw < 0.35 + 0.65 * 0.75 ? scene : randomScene(world, rng);
      out.push(make([render(world, before, driftView(world, view, rng)), picture], before, scene));
    }
  }
  return out;
}

function wordsFor(world: Tabletop, scene: Scene, rng: Rng): string {
  const text = caption(world, scene, rng);
  return text || spatialFacts(world, scene)[0] || countCaption(world, scene);
}

/** Encodes the documents (`known`: the codes of all their pictures from an earlier call) and gives the codes and the examples. */
export async function baseExamples(
  model: Model,
  world: Tabletop,
  settings: BaseSettings,
  seed: number,
  options: { known?: Uint32Array; onProgress?: Progress; signal?: AbortSignal } = {},
): Promise<{ codes: Uint32Array; examples: ExampleSource }> {
  const docs = documents(world, settings, seed);
  const pictures = docs.flatMap((d) => d.pictures);
  const cells = world.grid ** 2;
  const { known, onProgress, signal } = options;
  const codes = known?.length === pictures.length * cells ? known : new Uint32Array(pictures.length * cells);
  for (let i = 0; codes !== known && i < pictures.length; i += 256) {
    signal?.throwIfAborted();
    const part = await model.pictures.encode(pictures.slice(i, i + 256));
    for (const [n, e] of part.entries()) codes.set(e.codes, (i + n) * cells);
    onProgress?.(Math.min(i + 256, pictures.length), pictures.length);
  }
  return { codes, examples: layOut(model, docs, codes, settings, seed) };
}

/** Copying first, then everything; the first of two pictures counts 0.3 where no caption precedes it. */
function layOut(model: Model, docs: readonly Document[], codes: Uint32Array, settings: BaseSettings, seed: number): ExampleSource {
  const cells = codes.length / docs.reduce((n, d) => n + d.pictures.length, 0);
  let at = 0;
  const copy: Example[] = [];
  const all: Example[] = [];
  for (const d of docs) {
    const images: Segment[] = d.pictures.map(() => ({ kind: "image", codes: codes.subarray(at, (at += cells)) }));
    const text: Segment = { kind: "text", text: d.text };
    const segments = d.textFirst ? [text, ...images] : [...images, text];
    all.push(documentExample(model, segments, images.length, d.textFirst ? 1 : 0.3));
    if (images.length === 2) copy.push(documentExample(model, segments, 2, 0));
  }
  const rest = shuffled(all, seed);
  return copy.length ? inTurn(shuffled(copy, seed + 1), settings.copySteps, rest) : rest;
}

/** Loss 1 everywhere but on the first of two pictures, which has `first`. */
function documentExample(model: Model, segments: readonly Segment[], images: number, first: number): Example {
  const whole = segments.map((s, i) => (i === segments.length - 1 ? { ...s, completes: true } : s));
  const l = layout(whole, model, { end: "eos" });
  const weights = lossWeights(l).fill(1, 1);
  const leading = l.spans.find((s) => s.kind === "image");
  if (images === 2 && leading) weights.fill(first, leading.begin, leading.end);
  return { ids: l.ids, weights };
}
