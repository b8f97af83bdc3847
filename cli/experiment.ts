// worldline experiment: a grid of systems over seeds on the embedded world, from a TOML file to one report.
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Command } from "commander";
import { openDevice } from "../engine/node.ts";
import { checkWritable } from "../weights/file_source.ts";
import { aligned } from "../world/bench_results.ts";
import { runExperiment } from "../world/experiment.ts";
import { readExperiment } from "../world/experiment_config.ts";
import { annotationRows, experimentHtml, experimentRows } from "../world/experiment_report.ts";
import { writeText } from "../world/records.ts";
import { presets, shippedBase } from "../world/tabletop/presets.ts";
import { interruption, progress, say } from "./terminal.ts";
import { versions } from "./versions.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("experiment")
    .argument("<file>", "the experiment (TOML); examples/experiments holds those of the paper's tables")
    .description("compare systems over seeds on the embedded world and write one report with intervals")
    .requiredOption("--out <folder>", "run folder; a rerun goes on where it stopped")
    .option("--base <folder>", "tabletop base to start from (default: the shipped one)")
    .action(run);
}

async function run(file: string, f: { out: string; base?: string }): Promise<void> {
  const config = await readExperiment(file);
  await checkWritable(join(f.out, "report.html"));
  const device = await openDevice();
  const base = f.base ?? fileURLToPath(shippedBase("default"));
  const place = { folder: f.out, world: presets.default.world, base };
  const outcomes = await runExperiment(device, config, place, { say, progress, signal: interruption() });
  const origin = {
    command: `worldline ${process.argv.slice(2).join(" ")}`,
    seeds: config.seeds.join(", "),
    device: device.describe(),
    ...versions(),
  };
  await writeText(join(f.out, "results.json"), `${JSON.stringify({ config, outcomes, origin }, null, 1)}\n`);
  await writeText(join(f.out, "report.html"), experimentHtml(config, outcomes, origin));
  const { head, rows } = experimentRows(config, outcomes);
  for (const line of aligned(head, rows)) say(line);
  for (const line of aligned(["labels", "true %", "n"], annotationRows(outcomes))) say(line);
  say(`${join(f.out, "report.html")}: ${config.system.length} systems, ${config.seeds.length} seeds`);
}
