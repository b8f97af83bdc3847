// worldline aurora: AURORA's files as records, for training and for making predictions of its benchmark.
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { checkWritable } from "../weights/file_source.ts";
import { readAurora, subsample, subsets } from "../world/aurora.ts";
import { writeRecords } from "../world/records.ts";
import { count, say } from "./terminal.ts";

interface Flags {
  out: string;
  subset?: string[];
  limit?: number;
  seed: number;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("aurora")
    .argument("<path>", "the folder of AURORA-Bench, or one of AURORA's JSON files (data/ag/train.json)")
    .description("turn AURORA's files into records; entries without a target or without their pictures are left out and counted")
    .requiredOption("--out <file>", "where to write the records (JSON lines)")
    .option("--subset <name...>", `only these parts: ${Object.keys(subsets).join(", ")}`)
    .option("--limit <n>", "at most this many of each part, drawn by the seed", count(1, 1e9))
    .option("--seed <n>", "seed of the draw", count(0, 2 ** 31), 0)
    .action(run);
}

async function run(path: string, f: Flags): Promise<void> {
  await checkWritable(f.out);
  const { records, missing, untargeted } = await readAurora(path);
  const names = new Set(records.map((r) => r.family));
  const stranger = f.subset?.find((name) => !names.has(name));
  if (stranger) throw new WorldlineError(`${path} has no usable entry of "${stranger}"; it has ${[...names].join(", ")}`);
  const wanted = records.filter((r) => !f.subset || f.subset.includes(r.family!));
  const kept = f.limit ? subsample(wanted, f.limit, f.seed) : wanted;
  await writeRecords(f.out, kept);
  say(countsLine(missing, untargeted));
  say(`${f.out}: ${kept.length} records${kept.length < records.length ? ` of ${records.length}` : ""}`);
}

/** What was left out, in words. */
export function countsLine(missing: Readonly<Record<string, number>>, untargeted: Readonly<Record<string, number>>): string {
  const list = (counts: Readonly<Record<string, number>>) =>
    Object.entries(counts)
      .map(([name, n]) => `${n} ${name}`)
      .join(", ") || "none";
  return `left out: pictures missing: ${list(missing)}; without a target: ${list(untargeted)}`;
}
