// A tokenizer folder (tokenizer.json and cases.json) against the ids, tokens and texts of the Rust library.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { WorldlineError } from "../../engine/errors.ts";
import { parseJsonObject } from "../../weights/source.ts";
import { type Case, isFile, type Row, unequal } from "./answers.ts";
import { tokenizerIn } from "./model_files.ts";

interface Decoded {
  readonly ids: number[];
  readonly decoded: string;
  readonly decoded_skip_special_tokens: string;
}
interface Cases {
  readonly vocab_size: number;
  readonly cases: (Decoded & { readonly text: string; readonly tokens: string[] })[];
  readonly decode_cases: Decoded[];
}

export async function tokenizer({ folder }: Case): Promise<Row[]> {
  const path = join(folder, "cases.json");
  if (!(await isFile(path))) return [];
  const cases = parseJsonObject(await readFile(path, "utf8"), path) as unknown as Cases;
  const t = await tokenizerIn(folder);
  if (!t) throw new WorldlineError(`${folder} has no tokenizer.json, to which cases.json belongs`);
  const wrong = <T>(list: readonly T[], right: (item: T) => boolean) => list.filter((item) => !right(item)).length;
  const row = (quantity: string, error: number): Row => ({ quantity, error, limit: 0 });
  const whole = (ids: number[], skipSpecial: boolean) => {
    const stream = t.stream({ skipSpecial });
    return ids.map((id) => stream.push(id)).join("") + stream.end();
  };
  const all: Decoded[] = [...cases.cases, ...cases.decode_cases];
  return [
    row("vocabulary size", Math.abs(t.size - cases.vocab_size)),
    row(
      `ids of ${cases.cases.length} texts`,
      wrong(cases.cases, (c) => unequal(t.ids(c.text), c.ids) === 0),
    ),
    row(
      "tokens",
      wrong(
        cases.cases,
        (c) =>
          unequal(
            c.ids.map((id) => t.token(id)),
            c.tokens,
          ) === 0,
      ),
    ),
    row(
      `texts of ${all.length} lists of ids`,
      wrong(all, (c) => t.decode(c.ids) === c.decoded),
    ),
    row(
      "texts without special tokens",
      wrong(all, (c) => t.decode(c.ids, { skipSpecial: true }) === c.decoded_skip_special_tokens),
    ),
    row(
      "streamed texts",
      wrong(all, (c) => whole(c.ids, false) === c.decoded && whole(c.ids, true) === c.decoded_skip_special_tokens),
    ),
  ];
}
