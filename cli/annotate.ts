// worldline annotate: a dynamics model says the action between the pictures of each pair.
import type { Command } from "commander";
import { checkWritable } from "../weights/file_source.ts";
import { AnswerStore, modelKey } from "../world/answers.ts";
import { type Answer, annotate, defaultAnnotate } from "../world/cdm.ts";
import { scoreHistogram } from "../world/filter.ts";
import { type PairRecord, readRecords, writeRecords, writeText } from "../world/records.ts";
import { annotateHtml } from "../world/stage_reports.ts";
import { encodeAll, open, reportPath, type StorageFlags, shownPairs, withCache, withStorage } from "./shared.ts";
import { count, interruption, number, progress, say } from "./terminal.ts";
import { originOf } from "./versions.ts";

interface Flags extends StorageFlags {
  cdm: string;
  pairs: string;
  out: string;
  cache?: string;
  temperature: number;
  seed: number;
  maxTokens: number;
  batch: number;
  answers?: string;
  report?: string;
}

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("annotate")
    .description("label picture pairs with the action a dynamics model reads off them")
    .requiredOption("--cdm <model>", "dynamics model: a folder or a hub id")
    .requiredOption("--pairs <file>", "pairs (JSON lines: id, source, target), as `worldline frames` writes them")
    .requiredOption("--out <file>", "where to write the annotated pairs")
    .option("--temperature <x>", "0 takes the likeliest words", number(0, 100), 0)
    .option("--seed <n>", "seed of the sampling", count(0, 2 ** 31), 0)
    .option("--max-tokens <n>", "longest action", count(1, 1024), defaultAnnotate.maxTokens)
    .option("--batch <n>", "pairs at a time", count(1, 4096), defaultAnnotate.batch)
    .option("--answers <file>", "where answers are kept as they come, for this and later runs (default: <out>.answers)")
    .option("--report <file>", "where the page with likelihoods and pictures goes (default: <out>.html)");
  withStorage(withCache(command)).action(async (f: Flags) => {
    const page = reportPath(f.out, f.report);
    for (const path of [f.out, page]) await checkWritable(path);
    const pairs = await readRecords<PairRecord>(f.pairs);
    const answers = await AnswerStore.open<Answer>(f.answers ?? `${f.out}.answers`);
    const s = await open(f.cdm, f.cache, f, false);
    const modelName = `${await modelKey(s.model.folder)} ${f.dtype ?? ""} ${f.groupSize ?? ""}`;
    const signal = interruption();
    await encodeAll(s, pairs, signal);
    const begin = performance.now();
    const batch = Math.min(f.batch, Math.max(1, pairs.length));
    const sampling = { temperature: f.temperature, seed: f.seed };
    const out = await annotate(s.device, s.model, s.codes, pairs, {
      sampling,
      maxTokens: f.maxTokens,
      answers,
      modelName,
      batch,
      signal,
      onProgress: progress("annotating"),
    });
    const fresh = answers.size - answers.before;
    await writeRecords(f.out, out);
    for (const r of out.slice(0, 5)) say(`${r.id}: ${r.action} (${r.mean_logprob.toFixed(2)})`);
    const seconds = (performance.now() - begin) / 1000;
    const [asked, tokens] = [fresh, out.reduce((sum, r) => sum + r.tokens, 0)];
    say(
      `${f.out}: ${out.length} pairs, ${asked} asked now at ${(asked / seconds).toFixed(1)} pairs a second (model's plans included), ${tokens} tokens in all`,
    );
    const numbers = {
      "dynamics model": f.cdm,
      pairs: `${out.length}, ${asked === out.length ? "all asked" : `${asked} of them asked`} in this run`,
      throughput: asked ? `${(asked / seconds).toFixed(2)} pairs a second with the model's plans, batches of ${batch}` : "-",
      tokens: `${tokens}, ${(tokens / Math.max(1, out.length)).toFixed(1)} an answer`,
      sampling: f.temperature ? `temperature ${f.temperature}` : "the likeliest words",
    };
    const origin = originOf(s.device, f.temperature ? f.seed : "none: greedy");
    await writeText(page, annotateHtml(out, scoreHistogram(out, []), numbers, await shownPairs(out, 12), origin));
  });
}
