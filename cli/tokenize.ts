// worldline tokenize: text to ids and back with a model's tokenizer. Text comes from an argument, a file or standard input, and comes back byte
// for byte: `worldline tokenize -m M --in a.txt | worldline tokenize -m M --decode` prints a.txt.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { parseTokenizer, type Tokenizer } from "../tokenizer/text.ts";
import { checkWritable, reasonOf, writeFileAtomic } from "../weights/file_source.ts";
import { folderOf } from "./shared.ts";
import { interruption } from "./terminal.ts";

interface Flags {
  model: string;
  in?: string;
  out?: string;
  decode?: true;
  tokens?: true;
  bos?: true;
  plain?: true;
  skipSpecial?: true;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("tokenize")
    .argument("[text]", "the text, or with --decode the ids; else --in, else standard input")
    .description("text to token ids, and ids to text")
    .requiredOption("-m, --model <model>", "a folder, a hub id, or a tokenizer.json")
    .option("--in <file>", "read from a file")
    .option("--out <file>", "write to a file")
    .option("--decode", "ids to text")
    .option("--tokens", "print a line per token: id, then its name")
    .option("--bos", "put the beginning-of-sequence token in front")
    .option("--plain", "names of special tokens in the text are plain text")
    .option("--skip-special", "with --decode: leave special tokens out")
    .action(run);
}

async function run(text: string | undefined, f: Flags): Promise<void> {
  if (text !== undefined && f.in !== undefined) throw new WorldlineError("tokenize takes a text or --in, not both");
  for (const [flag, set, only] of [
    ["--bos", f.bos, !f.decode],
    ["--plain", f.plain, !f.decode],
    ["--skip-special", f.skipSpecial, f.decode],
  ])
    if (set && !only) throw new WorldlineError(`${flag} has no meaning ${f.decode ? "with" : "without"} --decode; leave it out`);
  if (f.out) await checkWritable(f.out);
  const tokenizer = await tokenizerOf(f.model);
  const given = text ?? (await read(f.in));
  const result = convert(tokenizer, given, f);
  if (f.out) await writeFileAtomic(f.out, [new TextEncoder().encode(result)]);
  else process.stdout.write(result);
}

function convert(tokenizer: Tokenizer, given: string, f: Flags): string {
  const ids = f.decode ? idsOf(given) : tokenizer.ids(given, { addBos: f.bos, specialTokens: !f.plain });
  const decoded = f.decode ? tokenizer.decode(ids, { skipSpecial: f.skipSpecial }) : "";
  if (f.tokens) return ids.map((id) => `${id}\t${tokenizer.token(id)}\n`).join("");
  return f.decode ? decoded : `${ids.join(" ")}\n`;
}

/** Ids between blanks, commas or brackets. */
function idsOf(text: string): number[] {
  return (text.match(/[^\s,[\]]+/g) ?? []).map((word) => {
    if (!/^\d{1,9}$/.test(word))
      throw new WorldlineError(`${JSON.stringify(word.slice(0, 40))} is no token id; ids are whole numbers from 0 up`);
    return Number(word);
  });
}

async function tokenizerOf(model: string): Promise<Tokenizer> {
  const path = model.endsWith(".json") ? model : join(await folderOf(model, interruption(), false), "tokenizer.json");
  return parseTokenizer(await textOf(path), path);
}

async function read(path: string | undefined): Promise<string> {
  if (path !== undefined) return textOf(path);
  const chunks: Uint8Array[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Uint8Array);
  return utf8(Buffer.concat(chunks), "standard input");
}

async function textOf(path: string): Promise<string> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw new WorldlineError(`${path}: ${reasonOf(error)}`);
  });
  return utf8(bytes, path);
}

function utf8(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new WorldlineError(`${name} is not UTF-8 text; save it as UTF-8`);
  }
}
