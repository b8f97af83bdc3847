// Texts for ONNX models: ids by the folder's tokenizer.json, with the marks around them and cut to the model's length, and the tensors that hold them.
import { join } from "node:path";
import { WorldlineError } from "../../engine/errors.ts";
import { parseTokenizer } from "../../tokenizer/text.ts";
import { isObject } from "../../weights/source.ts";
import { folderJson, type OnnxInput } from "./onnx.ts";

/** How texts become a model's inputs. */
export interface TextIds {
  /** Ids of a text; a text that is too long loses its end, but not the mark after it. */
  readonly ids: (text: string) => number[];
  /** input_ids, attention_mask and token_type_ids of texts of one length: nothing is padded, so that no result depends on its neighbours. */
  readonly feeds: (ids: readonly (readonly number[])[]) => Record<string, OnnxInput>;
  /** Marks around every text, which are no words. */
  readonly marks: ReadonlySet<number>;
}

/** Reads tokenizer.json and config.json of a folder. */
export async function openTexts(folder: string): Promise<TextIds> {
  const tokenizer = parseTokenizer(await folderJson(folder, "tokenizer.json"), join(folder, "tokenizer.json"));
  const config = await folderJson(folder, "config.json");
  const text = isObject(config.text_config) ? config.text_config : config;
  const roberta = config.model_type === "roberta" || config.model_type === "xlm-roberta";
  // RoBERTa's first two places are not for words.
  const places = Number(text.max_position_embeddings ?? (isObject(config.text_config) ? 77 : 512)) - (roberta ? 2 : 0);
  const stated = Number((await folderJson(folder, "tokenizer_config.json", true))?.model_max_length ?? places);
  const most = Math.min(places, stated);
  if (!Number.isSafeInteger(most) || most < 3)
    throw new WorldlineError(`${folder}: texts may have ${most} tokens by config.json and tokenizer_config.json; at least 3 are needed`);
  const around = tokenizer.ids("", { addBos: true });
  if (around.length !== 2)
    throw new WorldlineError(
      `${join(folder, "tokenizer.json")}: ${around.length} marks stand around a text; one before and one after are needed`,
    );
  // Byte pairs of GPT-2's kind tell words by the space before them: a first word gets one, as BERTScore's authors do it.
  const lead = roberta ? " " : "";
  return {
    marks: new Set(around),
    ids: (words) => {
      const trimmed = words.trim();
      const ids = tokenizer.ids(trimmed === "" ? "" : lead + trimmed, { addBos: true, specialTokens: false });
      return ids.length > most ? [...ids.slice(0, most - 1), ids[ids.length - 1]] : ids;
    },
    feeds: (list) => {
      const length = list[0].length;
      if (list.some((ids) => ids.length !== length)) throw new WorldlineError("texts of one batch need one length");
      const shape = [list.length, length];
      const filled = (value: number) => ({ shape, ints: new Int32Array(list.length * length).fill(value) });
      return { input_ids: { shape, ints: list.flat() }, attention_mask: filled(1), token_type_ids: filled(0) };
    },
  };
}
