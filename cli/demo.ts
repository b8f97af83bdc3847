// worldline demo: the whole method on the embedded world, from data to report.html.
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Command, Option } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { checkWritable } from "../weights/file_source.ts";
import { writeText } from "../world/records.ts";
import type { Rate } from "../world/report.ts";
import { reportHtml } from "../world/report_html.ts";
import { runSeed } from "../world/tabletop/demo.ts";
import { demoReport } from "../world/tabletop/demo_report.ts";
import { type PresetName, presets, shippedBase } from "../world/tabletop/presets.ts";
import { count, duration, interruption, progress, say } from "./terminal.ts";
import { commandLine, versions } from "./versions.ts";

interface Flags {
  preset: PresetName;
  out?: string;
  base?: string;
  seed?: number;
  fresh: boolean;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("demo")
    .description("the whole method on the embedded tabletop world: no GPU and no download needed")
    .addOption(
      new Option("--preset <name>", "quick (minutes), default, full (hours on a CPU)").choices(Object.keys(presets)).default("default"),
    )
    .option("--out <folder>", "run folder (default: runs/<demo or preset>)")
    .option("--base <folder>", "tabletop base to start from (default: the shipped one)")
    .option("--seed <n>", "run this seed instead of the preset's", count(0, 2 ** 31))
    .option("--fresh", "delete what is in the run folder first", false)
    .action(demo);
}

async function demo(flags: Flags): Promise<void> {
  const begin = performance.now();
  const preset = presets[flags.preset];
  const out = flags.out ?? join("runs", flags.preset === "default" ? "demo" : flags.preset);
  const base = baseFor(flags);
  await checkWritable(join(out, "report.html"));
  if (flags.fresh) await rm(out, { recursive: true, force: true });
  await writeText(join(out, "README.txt"), "A run of `worldline demo`: report.html first; the stages' files lie in the seed-* folders.\n");
  const device = await openDevice();
  say(`${device.describe()}`);
  const context = { device, preset, base, hooks: { say, progress, signal: interruption() } };
  const seeds = flags.seed === undefined ? preset.demo.seeds : [flags.seed];
  const runs = [];
  for (const [i, seed] of seeds.entries()) {
    const run = await runSeed(context, join(out, `seed-${seed}`), seed);
    runs.push(run);
    const seconds = Object.values(run.stages.seconds).reduce((a, s) => a + s, 0);
    const rest = seeds.length - 1 - i;
    if (rest > 0) say(`seed ${seed} is done, ${duration(seconds)}; ${rest} to go, about ${duration(rest * seconds)}`);
  }
  const command = commandLine();
  const report = await demoReport(context, runs, { worldline: versions().worldline, preset: flags.preset, command, versions: versions() });
  await writeText(join(out, "report.json"), JSON.stringify(report, null, 1));
  await writeText(join(out, "report.html"), reportHtml(report));
  const show = (r: Rate | undefined) =>
    r ? `${(100 * r.value).toFixed(1)}% (${(100 * r.low).toFixed(1)} to ${(100 * r.high).toFixed(1)})` : "-";
  say(`dynamics model: valid actions ${show(report.cdm.valid)}`);
  for (const [system, r] of Object.entries(report.success)) say(`${system.padEnd(14)} success ${show(r)}`);
  for (const t of report.targets) say(`${t.met ? "met   " : "missed"} ${t.name}: ${t.wanted}`);
  say(
    `${join(out, "report.html")} and report.json, ${duration((performance.now() - begin) / 1000)} now, ${duration(report.seconds.total)} for all stages`,
  );
}

/** The base to start from: as asked, or the shipped one. */
function baseFor({ base, preset }: Flags): string {
  const folder = base ?? fileURLToPath(shippedBase(preset));
  if (existsSync(join(folder, "config.json"))) return folder;
  throw new WorldlineError(`${folder} has no config.json; give the folder of a tabletop base, as \`npm run pretrain\` writes it`);
}
