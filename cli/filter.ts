// worldline filter: keeps the annotated pairs a dynamics model is surest of.
import { type Command, Option } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { checkWritable } from "../weights/file_source.ts";
import { type FilterOptions, filterRecords, histogramLines, scoreHistogram } from "../world/filter.ts";
import { type AnnotatedRecord, readRecords, writeRecords, writeText } from "../world/records.ts";
import { filterHtml } from "../world/stage_reports.ts";
import { reportPath, shownPairs } from "./shared.ts";
import { count, number, say } from "./terminal.ts";
import { originOf } from "./versions.ts";

interface Flags {
  in: string;
  out: string;
  keep?: number;
  topK?: number;
  threshold?: number;
  by: "mean" | "sum";
  byClass?: string | true;
  report?: string;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("filter")
    .description("keep the likeliest annotations: a share or a number of them, a threshold, or both; by class as the paper's Algorithm 1")
    .requiredOption("--in <file>", "annotated pairs")
    .requiredOption("--out <file>", "where to write the kept ones, best first")
    .option("--keep <share>", "share of all pairs to keep (default: 0.4 unless --top-k or --threshold is given)", number(0, 1))
    .option("--top-k <n>", "number of pairs to keep", count(0, 1e9))
    .option("--threshold <nats>", "least score", number(-1e9, 0))
    .addOption(new Option("--by <score>", "mean or summed log-probability of the action").choices(["mean", "sum"]).default("mean"))
    .option("--by-class [field]", "take turns over classes, the records' field of this name (default: family)")
    .option("--report <file>", "where the page with the histogram goes (default: <out>.html)")
    .action(run);
}

async function run(f: Flags): Promise<void> {
  const page = reportPath(f.out, f.report);
  for (const path of [f.out, page]) await checkWritable(path);
  const records = await readRecords<AnnotatedRecord>(f.in, ["action", f.by === "sum" ? "logprob" : "mean_logprob"]);
  const keep = f.keep ?? (f.topK === undefined && f.threshold === undefined ? 0.4 : undefined);
  const options: FilterOptions = { keep, top: f.topK, threshold: f.threshold, by: f.by, classOf: classReader(f.byClass, f.in) };
  const kept = filterRecords(records, options);
  await writeRecords(f.out, kept);
  say(`score, pairs, kept (${f.by} log-probability)`);
  const scores = scoreHistogram(records, kept, f.by);
  for (const line of histogramLines(scores)) say(line);
  const mean = (list: readonly AnnotatedRecord[]) => (list.reduce((a, r) => a + r.mean_logprob, 0) / Math.max(1, list.length)).toFixed(3);
  say(`${f.out}: ${kept.length} of ${records.length} kept, mean log-probability ${mean(records)} before and ${mean(kept)} after`);
  const classes = options.classOf ? classCounts(records, kept, options.classOf) : [];
  if (classes.length) {
    const numbers = classes.map(([, , n]) => n);
    say(`${classes.length} classes; kept of each: ${Math.min(...numbers)} to ${Math.max(...numbers)}`);
  }
  const numbers = {
    pairs: `${records.length}, ${kept.length} kept`,
    "mean log-probability": `${mean(records)} before, ${mean(kept)} after`,
    "what was asked": `${f.topK === undefined ? (keep === undefined ? "no number" : `share ${keep}`) : `${f.topK} pairs`}, ${f.threshold === undefined ? "no threshold" : `at least ${f.threshold}`}, ${options.classOf ? "classes in turn" : "no classes"}`,
  };
  const inside = new Set(kept);
  const left = records.filter((r) => !inside.has(r));
  const shown = await pairsOf(kept, left).catch((error: unknown) => {
    if (!(error instanceof WorldlineError)) throw error;
    say(`note: the page has no pictures: ${error.message}`);
    return { kept: [], left: [] };
  });
  await writeText(page, filterHtml(scores, f.by === "sum" ? "Summed" : "Mean", numbers, classes, shown, originOf()));
}

const pairsOf = async (kept: readonly AnnotatedRecord[], left: readonly AnnotatedRecord[]) => ({
  kept: await shownPairs(kept, 6),
  left: await shownPairs(left, 6),
});

function classReader(flag: Flags["byClass"], file: string): FilterOptions["classOf"] {
  if (flag === undefined) return undefined;
  const field = flag === true ? "family" : flag;
  return (record) => {
    const value = (record as unknown as Record<string, unknown>)[field];
    if (typeof value !== "string" && typeof value !== "number")
      throw new WorldlineError(
        `${file}: ${record.id} has no "${field}" to tell its class; name the field with --by-class, or leave it out`,
      );
    return String(value);
  };
}

/** Class, pairs and kept pairs. */
function classCounts(
  records: readonly AnnotatedRecord[],
  kept: readonly AnnotatedRecord[],
  classOf: (r: AnnotatedRecord) => string,
): [string, number, number][] {
  const counts = new Map<string, [number, number]>();
  for (const r of records) counts.set(classOf(r), [(counts.get(classOf(r))?.[0] ?? 0) + 1, 0]);
  for (const r of kept) counts.get(classOf(r))![1]++;
  return [...counts].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, [n, of]]) => [name, n, of]);
}
