// WordPiece, the model of BERT's tokenizer.json: a piece is cut from the left into the longest tokens that the vocabulary has, those after the first
// with a prefix (`##`); a piece that cannot be cut wholly, or is too long, becomes the unknown token.

import { WorldlineError } from "../engine/errors.ts";
import { fieldsOf } from "../weights/fields.ts";
import { isObject, quote } from "../weights/source.ts";
import { cached, checkIds, type PieceModel } from "./bpe.ts";

/** Reads model. Throws a WorldlineError for damaged files. */
export function parseWordPiece(json: unknown, where: string): PieceModel {
  const f = fieldsOf(isObject(json) ? json : {}, `${where}: model`);
  const vocab = f.object("vocab");
  if (!vocab) throw new WorldlineError(`${where}: model.vocab is missing; the file is damaged`);
  const vocabulary = new Map(Object.entries(vocab) as [string, number][]);
  checkIds(vocabulary, where);
  const unknown = vocabulary.get(f.text("unk_token", "[UNK]"));
  if (unknown === undefined)
    throw new WorldlineError(
      `${where}: model.unk_token is ${quote(f.text("unk_token", "[UNK]"))}, which model.vocab lacks; correct the file`,
    );
  const prefix = f.text("continuing_subword_prefix", "##");
  const longest = f.count("max_input_chars_per_word", 100);
  const most = Array.from(vocabulary.keys()).reduce((longest, name) => Math.max(longest, name.length), 0);
  const cut = (piece: string): readonly number[] => {
    if ([...piece].length > longest) return [unknown];
    const ids: number[] = [];
    for (let begin = 0; begin < piece.length; ) {
      const lead = begin > 0 ? prefix : "";
      let end = Math.min(piece.length, begin + most - lead.length);
      let id: number | undefined;
      for (; end > begin; end--) {
        id = vocabulary.get(lead + piece.slice(begin, end));
        if (id !== undefined) break;
      }
      if (id === undefined) return [unknown];
      ids.push(id);
      begin = end;
    }
    return ids;
  };
  return { vocabulary, encode: cached(cut) };
}
