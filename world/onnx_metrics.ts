// CLIP-I, CLIP-T and DINO as metrics of the evaluation of pictures. A picture's vector is made once and serves CLIP-I and CLIP-T; those of targets and
// texts are kept for the next systems. Pictures go through the model one at a time, so that no value depends on its neighbours and a resumed run gives
// the same bits.
import type { Picture } from "../tokenizer/pixels.ts";
import type { PictureMetric } from "./bench.ts";
import { cosine } from "./metrics/onnx.ts";
import type { ClipVectors, PictureVectors } from "./metrics/onnx_pictures.ts";

/** CLIP-I: prediction and target. CLIP-T: prediction and the record's caption, or its action where it has none. */
export function clipMetrics(clip: ClipVectors): PictureMetric[] {
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
export function dinoMetric(dino: PictureVectors): PictureMetric {
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
