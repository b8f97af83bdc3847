// worldline experiment: a grid of systems over seeds on the embedded world, from TOML files to a report each.
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, InvalidArgumentError } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { checkWritable } from "../weights/file_source.ts";
import { aligned } from "../world/bench_results.ts";
import { runExperiments } from "../world/experiment.ts";
import { type ExperimentConfig, readExperiment, resized } from "../world/experiment_config.ts";
import { experimentHtml, labelLines, labelRows, systemLines, systemRows } from "../world/experiment_report.ts";
import { writeText } from "../world/records.ts";
import { presets, shippedBase } from "../world/tabletop/presets.ts";
import { interruption, number, progress, say } from "./terminal.ts";
import { originOf } from "./versions.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("experiment")
    .argument("<files...>", "experiments (TOML); examples/experiments holds those of the paper's tables")
    .description("compare systems over seeds on the embedded world and write a report with intervals")
    .requiredOption("--out <folder>", "run folder; a rerun goes on where it stopped, and files share equal data and models")
    .option("--base <folder>", "tabletop base to start from (default: the shipped one)")
    .option("--scale <x>", "times the files' labels, clips and steps (not their test scenes), for a smaller run", number(0.001, 100), 1)
    .option("--seeds <list>", "these seeds instead of the files', as 0,1", seedList)
    .action(run);
}

function seedList(text: string): number[] {
  if (!/^\d+(,\d+)*$/.test(text)) throw new InvalidArgumentError("whole numbers with commas between are needed, as 0,1,2.");
  return [...new Set(text.split(",").map(Number))];
}

interface Flags {
  readonly out: string;
  readonly base?: string;
  readonly scale: number;
  readonly seeds?: readonly number[];
}

async function run(files: readonly string[], f: Flags): Promise<void> {
  const configs: ExperimentConfig[] = [];
  for (const file of files) configs.push(resized(await readExperiment(file), f.scale, f.seeds));
  const folders = files.map((file) => (files.length > 1 ? join(f.out, basename(file, ".toml")) : f.out));
  if (new Set(folders).size < folders.length) throw new WorldlineError("experiment: two files have the same name; give each its own");
  for (const folder of folders) await checkWritable(join(folder, "report.html"));
  const device = await openDevice();
  const base = f.base ?? fileURLToPath(shippedBase("default"));
  const signal = interruption();
  const place = { folder: f.out, world: presets.default.world, base };
  let i = 0;
  for await (const outcomes of runExperiments(device, configs, place, { say, progress, signal })) {
    const [config, folder] = [configs[i], folders[i++]];
    const { labels, clips, cdm_steps, cwm_steps } = config;
    const origin = {
      ...originOf(device, config.seeds.join(", ")),
      sizes: `${labels} labels, ${clips} clips, ${cdm_steps} steps of the dynamics model, ${cwm_steps} of each world model${f.scale === 1 ? "" : ` (${f.scale} times the file's)`}`,
    };
    await writeText(join(folder, "results.json"), `${JSON.stringify({ config, outcomes, origin }, null, 1)}\n`);
    await writeText(join(folder, "report.html"), experimentHtml(config, outcomes, origin));
    for (const { head, lines } of [systemLines(systemRows(config, outcomes)), labelLines(labelRows(config, outcomes))])
      for (const line of aligned(head, lines)) say(line);
    say(
      `${join(folder, "report.html")}: ${config.system.length} systems, seed${config.seeds.length > 1 ? "s" : ""} ${config.seeds.join(", ")}`,
    );
  }
}
