// Metrics of the evaluation of pictures that need a model: token agreement by a picture tokenizer, CLIP-I, CLIP-T and DINO by ONNX models. A picture's
// vector is made once and serves CLIP-I and CLIP-T; those of targets and texts are kept for the next systems. Pictures go through an ONNX model one at a
// time, so that no value depends on its neighbours and a resumed run gives the same bits.
import type { Picture } from "../tokenizer/pixels.ts";
import { modelKey } from "./answers.ts";
import { type PictureMetric, pixelMetrics } from "./bench.ts";
import { tokenAgreement } from "./metrics/index.ts";
import { cosine } from "./metrics/onnx.ts";
import type { ClipVectors, PictureVectors } from "./metrics/onnx_pictures.ts";
import type { Model } from "./model.ts";

/** The models that measure; what is absent is not measured. */
export interface MetricModels {
  readonly tokens?: Pick<Model, "pictures" | "folder">;
  readonly clip?: ClipVectors;
  readonly dino?: PictureVectors;
}

/** Every metric of pictures, in one order: the names of samples depend on it. */
export async function pictureMetrics({ tokens, clip, dino }: MetricModels): Promise<PictureMetric[]> {
  return [
    ...pixelMetrics,
    ...(tokens ? [await tokenMetric(tokens)] : []),
    ...(clip ? clipMetrics(clip) : []),
    ...(dino ? [dinoMetric(dino)] : []),
  ];
}

/** Share of the picture codes that prediction and target have in common. */
async function tokenMetric({ pictures, folder }: Pick<Model, "pictures" | "folder">): Promise<PictureMetric> {
  const codes = async (picture: Picture) => (await pictures.encode([picture]))[0].codes;
  const known = new Map<string, Promise<Uint32Array>>();
  return {
    name: "tokens",
    by: await modelKey(folder),
    of: async (prediction, target, record) => {
      const wanted = known.get(record.target) ?? codes(target);
      known.set(record.target, wanted);
      return tokenAgreement(await codes(prediction), await wanted);
    },
  };
}

/** CLIP-I: prediction and target. CLIP-T: prediction and the record's caption, or its action where it has none. */
function clipMetrics(clip: ClipVectors): PictureMetric[] {
  const vectors = kept(clip);
  const texts = new Map<string, Promise<Float32Array>>();
  const textVector = (text: string) => {
    const found = texts.get(text) ?? clip.text(text);
    texts.set(text, found);
    return found;
  };
  return [
    similarity("clip_i", clip, vectors),
    {
      name: "clip_t",
      by: clip.digest,
      of: async (prediction, _, { caption, action }) => cosine(await vectors.once(prediction), await textVector(caption ?? action)),
    },
  ];
}

/** DINO: prediction and target. */
function dinoMetric(dino: PictureVectors): PictureMetric {
  return similarity("dino", dino, kept(dino));
}

function similarity(name: string, { digest }: PictureVectors, { once, target }: ReturnType<typeof kept>): PictureMetric {
  return {
    name,
    by: digest,
    of: async (prediction, wanted, record) => cosine(await once(prediction), await target(record.target, wanted)),
  };
}

/** Vectors of pictures by object, as long as someone holds it, and of targets by path. */
function kept(model: PictureVectors) {
  const known = new WeakMap<Picture, Promise<Float32Array>>();
  const targets = new Map<string, Promise<Float32Array>>();
  const once = (picture: Picture) => {
    const found = known.get(picture) ?? model.picture(picture);
    known.set(picture, found);
    return found;
  };
  return {
    once,
    target: (path: string, picture: Picture) => {
      const found = targets.get(path) ?? once(picture);
      targets.set(path, found);
      return found;
    },
  };
}
