// Tiny models in the layout of the hub for the tests of the ONNX metrics, CLIP, DINO and BERT in kind, each beside the same sums in f64.
import { Rng } from "../engine/rng.ts";
import { metricPipelines } from "./fuzz_strings.ts";
import { type Constant, type Graph, type Node, onnxModel, type Value } from "./onnx_writer.ts";

const side = 16;
const patch = 4;
const channels = 8;
const space = 6;
const grid = side / patch;

type Matrix = { readonly rows: number; readonly columns: number; readonly data: Float32Array };

/** A model folder's files, and what the model must give. */
export interface TinyModel<T> {
  readonly files: Record<string, Uint8Array>;
  readonly exact: T;
}

const json = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const constant = (name: string, { rows, columns, data }: Matrix): Constant => ({ name, shape: [rows, columns], floats: data });

function matrix(rng: Rng, rows: number, columns: number): Matrix {
  return { rows, columns, data: Float32Array.from({ length: rows * columns }, () => rng.int(2001) / 1000 - 1) };
}

/** Row vector times matrix, in f64. */
function times(x: ArrayLike<number>, { rows, columns, data }: Matrix): number[] {
  return Array.from({ length: columns }, (_, c) => {
    let sum = 0;
    for (let r = 0; r < rows; r++) sum += x[r] * data[r * columns + c];
    return sum;
  });
}

const mean = (rows: readonly number[][]) => rows[0].map((_, c) => rows.reduce((sum, row) => sum + row[c], 0) / rows.length);

/** Values of each patch of pixels [3, side, side] times the filters, in f64. */
function patchRows(pixels: ArrayLike<number>, filters: Matrix): number[][] {
  return Array.from({ length: grid * grid }, (_, at) =>
    Array.from({ length: channels }, (__, d) => {
      let sum = 0;
      for (let c = 0; c < 3; c++)
        for (let y = 0; y < patch; y++)
          for (let x = 0; x < patch; x++) {
            const pixel = pixels[(c * side + Math.floor(at / grid) * patch + y) * side + (at % grid) * patch + x];
            sum += pixel * filters.data[d * filters.columns + (c * patch + y) * patch + x];
          }
      return sum;
    }),
  );
}

const pixelInput: Value = { name: "pixel_values", type: "float", shape: ["batch", 3, side, side] };
const idInput = (name: string): Value => ({ name, type: "int64", shape: ["batch", "length"] });

/** Patches, their rows of values [batch, patches, channels] called "rows". */
function patchNodes(filters: Matrix): Pick<Graph, "nodes" | "constants"> {
  return {
    nodes: [
      {
        op: "Conv",
        inputs: ["pixel_values", "filters"],
        outputs: ["conv"],
        attributes: { strides: [patch, patch], kernel_shape: [patch, patch] },
      },
      { op: "Reshape", inputs: ["conv", "flat"], outputs: ["flattened"] },
      { op: "Transpose", inputs: ["flattened"], outputs: ["rows"], attributes: { perm: [0, 2, 1] } },
    ],
    constants: [
      { name: "filters", shape: [channels, 3, patch, patch], floats: filters.data },
      { name: "flat", shape: [3], ints: [0, channels, -1] },
    ],
  };
}

const meanOver = (input: string, output: string, keepdims: 0 | 1): Node => ({
  op: "ReduceMean",
  inputs: [input],
  outputs: [output],
  attributes: { axes: [1], keepdims },
});

/** CLIP in kind: vision mean(tanh(patches)) P, text mean(tanh(E[ids])) Q. `joined`: one file for both. Texts are the ids of tokenizer.json. */
export function tinyClip(
  seed: number,
  joined = false,
): TinyModel<{ picture(pixels: ArrayLike<number>): number[]; text(ids: readonly number[]): number[] }> {
  const rng = new Rng(seed, "tiny clip");
  const tokenizer = metricPipelines().CLIP as { model: { vocab: Record<string, number> } };
  const filters = matrix(rng, channels, 3 * patch * patch);
  const words = matrix(rng, Object.keys(tokenizer.model.vocab).length, channels);
  const [forPictures, forTexts] = [matrix(rng, channels, space), matrix(rng, channels, space)];
  const patches = patchNodes(filters);
  const vision: Graph = {
    nodes: [
      ...patches.nodes,
      { op: "Tanh", inputs: ["rows"], outputs: ["bent"] },
      meanOver("bent", "pooled", 0),
      { op: "MatMul", inputs: ["pooled", "P"], outputs: ["image_embeds"] },
    ],
    constants: [...patches.constants, constant("P", forPictures)],
    inputs: [pixelInput],
    outputs: [{ name: "image_embeds", type: "float", shape: ["batch", space] }],
  };
  const text: Graph = {
    nodes: [
      { op: "Gather", inputs: ["E", "input_ids"], outputs: ["words"] },
      { op: "Tanh", inputs: ["words"], outputs: ["bent words"] },
      meanOver("bent words", "text", 0),
      { op: "MatMul", inputs: ["text", "Q"], outputs: ["text_embeds"] },
    ],
    constants: [constant("E", words), constant("Q", forTexts)],
    inputs: [idInput("input_ids"), ...(joined ? [idInput("attention_mask")] : [])],
    outputs: [{ name: "text_embeds", type: "float", shape: ["batch", space] }],
  };
  const both: Graph = {
    nodes: [...vision.nodes, ...text.nodes],
    constants: [...vision.constants, ...text.constants],
    inputs: [...text.inputs, ...vision.inputs],
    outputs: [...text.outputs, ...vision.outputs],
  };
  return {
    files: {
      "config.json": json({ model_type: "clip", text_config: { max_position_embeddings: 12 } }),
      "preprocessor_config.json": json({
        crop_size: side,
        do_center_crop: true,
        do_normalize: true,
        do_resize: true,
        feature_extractor_type: "CLIPFeatureExtractor",
        image_mean: [0.48145466, 0.4578275, 0.40821073],
        image_std: [0.26862954, 0.26130258, 0.27577711],
        resample: 3,
        size: side,
      }),
      "tokenizer.json": json(tokenizer),
      ...(joined
        ? { "onnx/model.onnx": onnxModel(both) }
        : { "onnx/vision_model.onnx": onnxModel(vision), "onnx/text_model.onnx": onnxModel(text) }),
    },
    exact: {
      picture: (pixels) => times(mean(patchRows(pixels, filters).map((row) => row.map(Math.tanh))), forPictures),
      text: (ids) => times(mean(ids.map((id) => Array.from(words.data.slice(id * channels, (id + 1) * channels), Math.tanh))), forTexts),
    },
  };
}

/** DINO in kind: class token tanh(mean(patches) W) before the patches. `output` renames what it gives. */
export function tinyDino(seed: number, output = "last_hidden_state"): TinyModel<(pixels: ArrayLike<number>) => number[]> {
  const rng = new Rng(seed, "tiny dino");
  const filters = matrix(rng, channels, 3 * patch * patch);
  const weights = matrix(rng, channels, channels);
  const patches = patchNodes(filters);
  const graph: Graph = {
    nodes: [
      ...patches.nodes,
      meanOver("rows", "mean", 1),
      { op: "MatMul", inputs: ["mean", "W"], outputs: ["class"] },
      { op: "Concat", inputs: ["class", "rows"], outputs: ["all"], attributes: { axis: 1 } },
      { op: "Tanh", inputs: ["all"], outputs: [output] },
    ],
    constants: [...patches.constants, constant("W", weights)],
    inputs: [pixelInput],
    outputs: [{ name: output, type: "float", shape: ["batch", grid * grid + 1, channels] }],
  };
  return {
    files: {
      "config.json": json({ model_type: "vit" }),
      "preprocessor_config.json": json({
        do_normalize: true,
        do_resize: true,
        feature_extractor_type: "ViTFeatureExtractor",
        image_mean: [0.485, 0.456, 0.406],
        image_std: [0.229, 0.224, 0.225],
        resample: 2,
        size: side,
      }),
      "onnx/model.onnx": onnxModel(graph),
    },
    exact: (pixels) => times(mean(patchRows(pixels, filters)), weights).map(Math.tanh),
  };
}

/** BERT in kind, two layers: h1 = tanh(E[ids] + mean(E[ids]) A), h2 = tanh(h1 B). `exact` gives the rows of a layer. */
export function tinyBert(seed: number): TinyModel<(ids: readonly number[], layer: 1 | 2) => number[][]> {
  const rng = new Rng(seed, "tiny bert");
  const tokenizer = metricPipelines().BERT as { model: { vocab: Record<string, number> } };
  const words = matrix(rng, Object.keys(tokenizer.model.vocab).length, channels);
  const [mixed, last] = [matrix(rng, channels, channels), matrix(rng, channels, channels)];
  const shape = ["batch", "length", channels];
  const graph: Graph = {
    nodes: [
      { op: "Gather", inputs: ["E", "input_ids"], outputs: ["words"] },
      meanOver("words", "mean", 1),
      { op: "MatMul", inputs: ["mean", "A"], outputs: ["mixed"] },
      { op: "Add", inputs: ["words", "mixed"], outputs: ["sum"] },
      { op: "Tanh", inputs: ["sum"], outputs: ["hidden_states.1"] },
      { op: "MatMul", inputs: ["hidden_states.1", "B"], outputs: ["product"] },
      { op: "Tanh", inputs: ["product"], outputs: ["last_hidden_state"] },
    ],
    constants: [constant("E", words), constant("A", mixed), constant("B", last)],
    inputs: ["input_ids", "attention_mask", "token_type_ids"].map(idInput),
    outputs: ["last_hidden_state", "hidden_states.1"].map((name) => ({ name, type: "float", shape })),
  };
  return {
    files: {
      "config.json": json({ model_type: "bert", num_hidden_layers: 2, max_position_embeddings: 16 }),
      "tokenizer.json": json(tokenizer),
      "tokenizer_config.json": json({ model_max_length: 512 }),
      "onnx/model.onnx": onnxModel(graph),
    },
    exact: (ids, layer) => {
      const rows = ids.map((id) => Array.from(words.data.slice(id * channels, (id + 1) * channels)));
      const mix = times(mean(rows), mixed);
      const first = rows.map((row) => row.map((v, i) => Math.tanh(v + mix[i])));
      return layer === 1 ? first : first.map((row) => times(row, last).map(Math.tanh));
    },
  };
}
