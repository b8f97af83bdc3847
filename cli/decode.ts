// worldline decode: codes to pictures. Reads what `worldline encode` writes.
import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { checkWritable, reasonOf } from "../weights/file_source.ts";
import { isObject } from "../weights/source.ts";
import { loadPictures } from "../world/model.ts";
import { writePng } from "../world/pictures.ts";
import { numbered } from "./generate.ts";
import { folderOf } from "./shared.ts";
import { progress, say } from "./terminal.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("decode")
    .description("turn codes into pictures")
    .argument("<file>", "JSON lines with codes and columns, as encode writes them")
    .requiredOption("-m, --model <model>", "model folder or hub id; its files must hold the picture decoder")
    .requiredOption("--out <file>", "PNG to write; further ones become name-2.png, ...")
    .action(run);
}

async function run(file: string, f: { model: string; out: string }): Promise<void> {
  await checkWritable(f.out);
  const grids = await readCodes(file);
  const device = await openDevice();
  const { coder } = await loadPictures(device, await folderOf(f.model));
  const show = progress("decoding pictures");
  for (const [i, { codes, columns }] of grids.entries()) {
    const [picture] = await coder.decode([codes], columns);
    const path = i === 0 ? f.out : numbered(f.out, i + 1);
    await writePng(path, picture);
    show(i + 1, grids.length);
    say(`${path}: ${picture.width} x ${picture.height}`);
  }
}

async function readCodes(file: string): Promise<{ codes: number[]; columns: number }[]> {
  const text = await readFile(file, "utf8").catch((error) => {
    throw new WorldlineError(`${file}: ${reasonOf(error)}`);
  });
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  if (lines.length === 0) throw new WorldlineError(`${file}: there are no codes in this file; write one with worldline encode`);
  return lines.map((line, i) => {
    const refuse = (what: string) => new WorldlineError(`${file}:${i + 1}: ${what}; lines like {"columns": 32, "codes": [...]} are needed`);
    let value: unknown;
    try {
      value = JSON.parse(line);
    } catch {
      throw refuse("this is not JSON");
    }
    if (!isObject(value) || !Array.isArray(value.codes) || !value.codes.every((c) => Number.isSafeInteger(c) && c >= 0))
      throw refuse("codes is no list of whole numbers from 0 up");
    const { codes, columns } = value as { codes: number[]; columns: unknown };
    const wide = columns ?? Math.sqrt(codes.length);
    if (!Number.isSafeInteger(wide) || (wide as number) < 1 || codes.length === 0 || codes.length % (wide as number))
      throw refuse(`${codes.length} codes do not make rows of ${String(wide)}`);
    return { codes, columns: wide as number };
  });
}
