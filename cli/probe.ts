// worldline probe: how often a model finds the real trajectory likelier than a manipulated one.
import { type Command, Option } from "commander";
import { checkWritable } from "../weights/file_source.ts";
import { basicNegatives, type Direction, negatives, probe } from "../world/probe.ts";
import { preferenceLines, preferences, probeHtml, probeRows } from "../world/probe_report.ts";
import { readRecords, type TripletRecord, writeText } from "../world/records.ts";
import { encodeAll, open, reportPath, type StorageFlags, withCache, withStorage } from "./shared.ts";
import { count, interruption, progress, say } from "./terminal.ts";
import { originOf } from "./versions.ts";

interface Flags extends StorageFlags {
  model: string;
  data: string;
  direction: "image" | "action" | "both";
  kinds: "paper" | "all";
  batch: number;
  out?: string;
  report?: string;
  cache?: string;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("probe")
    .description("the trajectory preference probe; 50% is chance")
    .requiredOption("--model <model>", "model to probe: a folder or a hub id")
    .requiredOption("--data <file>", "triplets")
    .addOption(new Option("--direction <name>", "what is scored").choices(["image", "action", "both"]).default("both"))
    .addOption(
      new Option("--kinds <which>", `paper: ${basicNegatives.join(", ")}; all: ${negatives.slice(basicNegatives.length).join(", ")}, too`)
        .choices(["paper", "all"])
        .default("all"),
    )
    .option("--batch <n>", "sequences at a time", count(1, 4096), 64)
    .option("--out <file>", "write every comparison as JSON lines")
    .option("--report <file>", "where the page with shares, intervals, a plot for every kind and examples goes (default: <out>.html)");
  withStorage(withCache(command)).action(run);
}

async function run(f: Flags): Promise<void> {
  const page = f.report ?? (f.out && reportPath(f.out));
  for (const path of [f.out, page]) if (path) await checkWritable(path);
  const records = await readRecords<TripletRecord>(f.data, ["action"]);
  const s = await open(f.model, f.cache, f, false);
  const signal = interruption();
  await encodeAll(s, records, signal);
  const directions: Direction[] = f.direction === "both" ? ["image", "action"] : [f.direction];
  const kinds = f.kinds === "all" ? negatives : basicNegatives;
  const items = await probe(s.device, s.model, s.codes, records, directions, {
    batch: f.batch,
    kinds,
    signal,
    onProgress: progress("scoring"),
  });
  if (f.out) await writeText(f.out, items.map((i) => JSON.stringify(i)).join("\n") + "\n");
  const title = `Preferences of ${f.model}`;
  if (page) await writeText(page, probeHtml(title, items, await probeRows(records, items, 3), originOf(s.device)));
  for (const line of preferenceLines(preferences(items))) say(line);
}
