// worldline filter: keeps the annotated pairs a dynamics model is surest of.
import type { Command } from "commander";
import { filterRecords } from "../world/filter.ts";
import { type AnnotatedRecord, readRecords, writeRecords } from "../world/records.ts";
import { number, say } from "./terminal.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("filter")
    .description("keep the likeliest annotations")
    .requiredOption("--in <file>", "annotated pairs")
    .requiredOption("--out <file>", "where to write the kept ones, best first")
    .option("--keep <share>", "share of all pairs to keep", number(0, 1), 0.4)
    .option("--threshold <nats>", "least mean log-probability", number(-1e9, 0))
    .option("--by-class", "take turns over the records' family (the paper's Algorithm 1)", false)
    .action(async (f: { in: string; out: string; keep: number; threshold?: number; byClass: boolean }) => {
      const records = await readRecords<AnnotatedRecord>(f.in, ["action", "mean_logprob"]);
      const kept = filterRecords(records, { keep: f.keep, threshold: f.threshold, classOf: f.byClass ? (r) => r.family ?? "" : undefined });
      await writeRecords(f.out, kept);
      const mean = (list: readonly AnnotatedRecord[]) =>
        (list.reduce((a, r) => a + r.mean_logprob, 0) / Math.max(1, list.length)).toFixed(3);
      say(`${f.out}: ${kept.length} of ${records.length} kept, mean log-probability ${mean(records)} before and ${mean(kept)} after`);
    });
}
