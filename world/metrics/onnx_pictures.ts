// CLIP and DINO for the metrics of pictures, as ONNX exports on the Hugging Face hub lay them out: vectors of pictures and, in CLIP's space, of texts.
// CLIP-I and DINO are cosines of a prediction's vector and its target's, CLIP-T is that of a prediction's and a text's. Pictures are prepared as the
// model's preprocessor_config.json says, resized as Pillow does.
import { join } from "node:path";
import { WorldlineError } from "../../engine/errors.ts";
import { type Picture, type PixelConfig, parsePixelConfig, preprocess } from "../../tokenizer/pixels.ts";
import { chosenFiles, type FileChoice } from "../../weights/hub.ts";
import { isObject } from "../../weights/source.ts";
import { folderJson, type OnnxInput, type OnnxModel, openOnnx, outputOf } from "./onnx.ts";
import { openTexts } from "./onnx_texts.ts";

/** Vectors of pictures. */
export interface PictureVectors {
  /** Names the weights and the preparation, for the names of results. */
  readonly digest: string;
  readonly picture: (picture: Picture) => Promise<Float32Array>;
}

/** Vectors of pictures and texts in one space. */
export interface ClipVectors extends PictureVectors {
  readonly text: (text: string) => Promise<Float32Array>;
}

/** CLIP: one file for pictures and one for texts, else one for both. */
export const clipFiles: FileChoice = [
  ["onnx/vision_model.onnx", "onnx/text_model.onnx"],
  ["onnx/model.onnx"],
  ["vision_model.onnx", "text_model.onnx"],
  ["model.onnx"],
];

/** DINO, and BERT for BERTScore: one file. */
export const modelFiles: FileChoice = [["onnx/model.onnx"], ["model.onnx"]];

/** The model files of a folder. Throws a sentence that says which are wanted. */
export async function onnxFilesOf(folder: string, choice: FileChoice): Promise<readonly string[]> {
  const files = await chosenFiles(folder, choice);
  if (files) return files;
  throw new WorldlineError(
    `${folder} has no ${choice.map((set) => set.join(" with ")).join(", nor ")}; a folder in the hub's layout is needed`,
  );
}

/** CLIP in a folder. Throws a sentence where the files are no CLIP's. */
export async function openClip(folder: string): Promise<ClipVectors> {
  const files = await onnxFilesOf(folder, clipFiles);
  const pixels = await pixelsOf(folder);
  const texts = await openTexts(folder);
  const models = await Promise.all(files.map((file) => openOnnx(folder, file)));
  const [forPictures, forTexts] = [models[0], models.at(-1) as OnnxModel];
  const pictureOutput = outputOf(forPictures, ["image_embeds"], "CLIP with its projection, as on the hub");
  const textOutput = outputOf(forTexts, ["text_embeds"], "CLIP with its projection, as on the hub");
  const size = { pictures: 0, texts: 0 };
  const checked = (space: keyof typeof size, n: number) => {
    size[space] = n;
    if (size.pictures && size.texts && size.pictures !== size.texts)
      throw new WorldlineError(
        `${folder}: pictures have ${size.pictures} values and texts ${size.texts}; the two files are of different models`,
      );
  };
  // A file for both takes both: what is not asked about is the shortest text and a black picture.
  const nothing = prepared({ width: 1, height: 1, data: new Uint8Array(3) }, pixels);
  return {
    digest: (await Promise.all(models.map((m) => m.digest()))).concat(JSON.stringify(pixels)).join(" "),
    picture: async (picture) => {
      const feeds = { ...texts.feeds([texts.ids("")]), pixel_values: prepared(picture, pixels) };
      const { shape, data } = await forPictures.run(feeds, pictureOutput, 2);
      checked("pictures", shape[1]);
      return data;
    },
    text: async (text) => {
      const { shape, data } = await forTexts.run({ ...texts.feeds([texts.ids(text)]), pixel_values: nothing }, textOutput, 2);
      checked("texts", shape[1]);
      return data;
    },
  };
}

/** DINO in a folder: the vector is the class token's of the last hidden state. */
export async function openDino(folder: string): Promise<PictureVectors> {
  const [file] = await onnxFilesOf(folder, modelFiles);
  const pixels = await pixelsOf(folder);
  const model = await openOnnx(folder, file);
  const output = outputOf(model, ["last_hidden_state"], "a DINO model without a head");
  return {
    digest: `${await model.digest()} ${JSON.stringify(pixels)}`,
    picture: async (picture) => {
      const { shape, data } = await model.run({ pixel_values: prepared(picture, pixels) }, output, 3);
      return data.slice(0, shape[2]);
    },
  };
}

/** preprocessor_config.json as CLIP's and ViT's processors read it: what it leaves out is theirs, not Chameleon's. */
async function pixelsOf(folder: string): Promise<PixelConfig> {
  const json = await folderJson(folder, "preprocessor_config.json");
  const type = String(json.image_processor_type ?? json.feature_extractor_type ?? "");
  const [vit, bit] = [/^ViT|^Dei/.test(type), /^Bit/.test(type)];
  const square = (n: unknown) => ({ height: n, width: n });
  const { size = 224, crop_size = 224 } = json;
  return parsePixelConfig(
    {
      ...json,
      size: typeof size !== "number" ? size : vit ? square(size) : { shortest_edge: size },
      crop_size: isObject(crop_size) ? crop_size : square(crop_size),
      do_center_crop: json.do_center_crop ?? !vit,
      resample: json.resample ?? (vit ? 2 : 3),
      rescale_factor: json.rescale_factor ?? 1 / 255,
      image_mean: json.image_mean ?? (vit ? [0.5, 0.5, 0.5] : bit ? imagenet.mean : clip.mean),
      image_std: json.image_std ?? (vit ? [0.5, 0.5, 0.5] : bit ? imagenet.std : clip.std),
    },
    join(folder, "preprocessor_config.json"),
  );
}

const clip = { mean: [0.48145466, 0.4578275, 0.40821073], std: [0.26862954, 0.26130258, 0.27577711] };
const imagenet = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] };

function prepared(picture: Picture, pixels: PixelConfig): OnnxInput {
  const { values, width, height } = preprocess(picture, pixels);
  return { shape: [1, 3, height, width], floats: values };
}
