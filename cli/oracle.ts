// worldline oracle: judges predictions for tabletop records with the world's exact oracle.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { parseJsonObject } from "../weights/source.ts";
import { readPredictions } from "../world/predictions.ts";
import { readRecords, type TripletRecord, writeText } from "../world/records.ts";
import { systemRates, verdictOn } from "../world/tabletop/evaluate.ts";
import { makeWorld, type Tabletop } from "../world/tabletop/world.ts";
import { open } from "./shared.ts";
import { say } from "./terminal.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("oracle")
    .description("judge predictions on tabletop records with the world's oracle: edit done, and nothing else changed")
    .requiredOption("--model <model>", "the model whose picture tokenizer decodes the predictions")
    .requiredOption("--data <file>", "the records that were predicted")
    .requiredOption("--predictions <file>", "what `worldline edit --data` wrote")
    .option("--out <file>", "write the rates as JSON")
    .action(async (f: { model: string; data: string; predictions: string; out?: string }) => {
      const records = await readRecords<TripletRecord>(f.data, ["action", "meta"]);
      const predictions = new Map((await readPredictions(f.predictions)).map((p) => [p.id, p]));
      const s = await open(f.model);
      const world = await worldOf(s.model.folder);
      const all = [];
      const chosen = [];
      for (const r of records) {
        const p = predictions.get(r.id);
        if (!p) throw new WorldlineError(`${f.predictions} has nothing for ${r.id}; predict all of ${f.data}`);
        const verdicts = (await s.model.pictures.decode(p.candidates, p.columns)).map((picture) => verdictOn(world, r, picture));
        all.push(verdicts);
        chosen.push([verdicts[p.best]]);
      }
      const rates = { single: systemRates(records, all), best: systemRates(records, chosen) };
      for (const [name, r] of Object.entries(rates)) {
        const show = (key: "success" | "done" | "minimal") =>
          `${key} ${(100 * r[key].value).toFixed(1)}% (${(100 * r[key].low).toFixed(1)} to ${(100 * r[key].high).toFixed(1)})`;
        say(
          `${name === "single" ? "one candidate " : "best candidate"} ${show("success")}, ${show("done")}, ${show("minimal")}, n = ${r.success.n}`,
        );
      }
      if (f.out) await writeText(f.out, JSON.stringify(rates, null, 1));
    });
}

/** The world that a tabletop base was made for. */
async function worldOf(folder: string): Promise<Tabletop> {
  const text = await readFile(join(folder, "world.json"), "utf8").catch(() => {
    throw new WorldlineError(`${folder} has no world.json; oracle judges models of the tabletop world only`);
  });
  return makeWorld(parseJsonObject(text, join(folder, "world.json")) as Partial<Tabletop>);
}
