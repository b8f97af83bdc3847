// worldline goldens <folder>: runs a model or tokenizer folder against reference answers laid out as test/goldens/MANIFEST.md describes and prints
// a line for each quantity with its error and limit. One file a subject in goldens/; answers that nothing was compared with are named last.
import { join } from "node:path";
import type { Command } from "commander";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { Answers, type Row, type Subject } from "./goldens/answers.ts";
import { generation } from "./goldens/generation.ts";
import { languageModel } from "./goldens/language_model.ts";
import { lora } from "./goldens/lora.ts";
import { pictures } from "./goldens/pictures.ts";
import { preprocessing } from "./goldens/preprocess.ts";
import { tokenizer } from "./goldens/tokenizer.ts";
import { training } from "./goldens/training.ts";
import { variants } from "./goldens/variants.ts";

/** In the order they are run and printed. */
const subjects: readonly Subject[] = [tokenizer, languageModel, variants, training, lora, preprocessing, pictures, generation];

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("goldens")
    .argument("<folders...>", "configuration folders with expected/ inside, or tokenizer folders with cases.json")
    .description("check model and tokenizer folders against reference answers (layout: test/goldens/MANIFEST.md)")
    .action(async (folders: string[]) => {
      const device = await openDevice();
      for (const folder of folders) {
        if (folders.length > 1) console.log(folder);
        if (!(await report(device, folder))) process.exitCode = 1;
      }
    });
}

async function report(device: Device, folder: string): Promise<boolean> {
  const { rows, unasked } = await checkGoldens(device, folder, (r) => {
    const [word, limit] = Number.isFinite(r.limit) ? [r.error <= r.limit ? "ok  " : "MISS", r.limit.toExponential(0)] : ["info", "none"];
    console.log(`${word} ${r.quantity.padEnd(70)} error ${r.error.toExponential(2)} limit ${limit}`);
  });
  for (const name of unasked) console.log(`not compared: ${name}`);
  const limited = rows.filter((r) => Number.isFinite(r.limit));
  const missed = limited.filter((r) => !(r.error <= r.limit)).length;
  console.log(`${limited.length - missed} within their limits, ${missed} not, ${unasked.length} answers not compared`);
  return missed === 0;
}

/** All comparisons that the folder has answers for, and the answers that nothing was compared with. */
export async function checkGoldens(
  device: Device,
  folder: string,
  onRow?: (row: Row) => void,
): Promise<{ rows: Row[]; unasked: string[] }> {
  const answers = new Answers(join(folder, "expected"));
  const rows: Row[] = [];
  for (const subject of subjects) {
    const found = await subject({ device, folder, answers });
    for (const r of found) onRow?.(r);
    rows.push(...found);
  }
  if (rows.length === 0)
    throw new WorldlineError(
      `${folder} has no answers to compare with; give a configuration folder with expected/ or a tokenizer folder with cases.json, as test/goldens/MANIFEST.md describes`,
    );
  return { rows, unasked: await answers.unasked() };
}
