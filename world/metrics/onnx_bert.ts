// BERTScore with a model of BERT's kind as an ONNX export: hidden states of the last layer, or of another where the export gives it.
import { readFile } from "node:fs/promises";
import { WorldlineError } from "../../engine/errors.ts";
import type { Progress } from "../codes.ts";
import { type BertScore, baselineOf, bertScore, inverseFrequency, rescaled, type TokenVectors } from "./bert_score.ts";
import { folderJson, openOnnx, outputOf, unitRows } from "./onnx.ts";
import { modelFiles, onnxFilesOf } from "./onnx_pictures.ts";
import { openTexts } from "./onnx_texts.ts";

export interface BertOptions {
  /** Which layer's hidden states; default the last. */
  readonly layer?: number;
  /** The authors' file of baselines, to rescale by. */
  readonly baseline?: string;
  /** Targets, to weigh tokens by their inverse document frequency. */
  readonly idf?: readonly string[];
}

/** Scores pairs of texts. */
export interface BertScorer {
  /** What was used, in words. */
  readonly said: string;
  score(pairs: readonly { said: string; truth: string }[], onProgress?: Progress): Promise<BertScore[]>;
}

/** Texts of one length that go through the model together, and pairs whose vectors are held at a time. */
const together = 16;
const held = 512;

/** Opens a folder in the hub's layout. Throws a sentence where the model gives no hidden states, or not those of `layer`. */
export async function openBertScore(folder: string, { layer, baseline, idf }: BertOptions = {}): Promise<BertScorer> {
  const [file] = await onnxFilesOf(folder, modelFiles);
  const config = await folderJson(folder, "config.json");
  const layers = Number(config.num_hidden_layers ?? config.n_layers ?? config.n_layer);
  const chosen = layer ?? layers;
  if (layer !== undefined && layers && layer > layers)
    throw new WorldlineError(`${folder} has ${layers} layers; --bertscore-layer ${layer} names none of them`);
  const scale = baseline === undefined ? undefined : baselineOf(await text(baseline), chosen, baseline);
  const texts = await openTexts(folder);
  const model = await openOnnx(folder, file);
  const last = layer === undefined || layer === layers;
  const named = [`hidden_states.${layer}`, `hidden_states_${layer}`, `hidden_state_${layer}`];
  const output = outputOf(
    model,
    last ? ["last_hidden_state", ...named] : named,
    last ? "a model without a head" : "an export that gives hidden states, or --bertscore-layer left out,",
  );
  const rarity = idf && inverseFrequency(idf.map(texts.ids));
  const weight = (id: number) => (texts.marks.has(id) ? 0 : (rarity?.(id) ?? 1));
  const vectorsOf = async (batch: readonly (readonly number[])[]): Promise<TokenVectors[]> => {
    const { shape, data } = await model.run(texts.feeds(batch), output, 3);
    const [n, length, size] = shape;
    if (n !== batch.length || length !== batch[0].length)
      throw new WorldlineError(
        `${model.where}: ${output} is (${shape.join(", ")}) for ${batch.length} texts of ${batch[0].length} tokens; one vector a token is needed`,
      );
    unitRows(data, size, model.where);
    return batch.map((ids, i) => ({ ids, vectors: data.slice(i * length * size, (i + 1) * length * size) }));
  };
  return {
    said: `${folder}, layer ${chosen || "last"}, ${rarity ? "weighted by rarity" : "unweighted"}, ${scale ? "rescaled" : "not rescaled"}`,
    score: async (pairs, onProgress) => {
      const scores: BertScore[] = [];
      for (let begin = 0; begin < pairs.length; begin += held) {
        const some = pairs.slice(begin, begin + held);
        const byText = new Map<string, TokenVectors>();
        for (const batch of batchesOf([...new Set(some.flatMap(({ said, truth }) => [said, truth]))], texts.ids)) {
          const vectors = await vectorsOf(batch.map(({ ids }) => ids));
          for (const [i, { text: words }] of batch.entries()) byText.set(words, vectors[i]);
          onProgress?.(begin + Math.floor(byText.size / 2), pairs.length);
        }
        for (const { said, truth } of some) {
          const score = bertScore(byText.get(said) as TokenVectors, byText.get(truth) as TokenVectors, weight);
          scores.push(scale ? rescaled(score, scale) : score);
        }
        onProgress?.(scores.length, pairs.length);
      }
      return scores;
    },
  };
}

/** Texts in batches of one length. */
function batchesOf(list: readonly string[], idsOf: (text: string) => number[]): { text: string; ids: number[] }[][] {
  const byLength = new Map<number, { text: string; ids: number[] }[]>();
  for (const words of list) {
    const ids = idsOf(words);
    const same = byLength.get(ids.length);
    if (same) same.push({ text: words, ids });
    else byLength.set(ids.length, [{ text: words, ids }]);
  }
  return [...byLength.values()].flatMap((all) =>
    Array.from({ length: Math.ceil(all.length / together) }, (_, i) => all.slice(i * together, (i + 1) * together)),
  );
}

function text(path: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: Error) => {
    throw new WorldlineError(`${path} cannot be read: ${cause.message.split(",")[0]}; check --bertscore-baseline`);
  });
}
