// worldline study: makes the page of a human study over systems' pictures, and scores what people exported.

import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { type Picture, resizePicture } from "../tokenizer/pixels.ts";
import { checkWritable } from "../weights/file_source.ts";
import { parseJsonObject } from "../weights/source.ts";
import { contentKey } from "../world/answers.ts";
import { folderSystem, type Sample } from "../world/bench.ts";
import { aligned, meanText } from "../world/bench_results.ts";
import { readPicture } from "../world/pictures.ts";
import { writeText } from "../world/records.ts";
import { pngDataUrl } from "../world/sheets.ts";
import { makeStudy, parseAnswers, type StudyKey, type StudyScores, scoreStudy } from "../world/study.ts";
import { studyPage } from "../world/study_page.ts";
import { named, recordsOf } from "./eval.ts";
import { count, progress, say } from "./terminal.ts";

interface Flags {
  data?: string;
  system: string[];
  out: string;
  perSubset: number;
  seed: number;
  score?: string;
  samples?: string;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("study")
    .argument("[answers...]", "with --score: the files that people exported")
    .description("make a blind best-worst study of systems as one HTML page, or score its answers")
    .option("--data <path>", "the folder of AURORA-Bench, or records (JSON lines)")
    .option(
      "--system <name=folder>",
      "a system's pictures, <id>.png each; two or more",
      (v: string, before: string[]) => [...before, v],
      [],
    )
    .option("--per-subset <n>", "records of each part", count(1, 1e6), 5)
    .option("--seed <n>", "seed of the draw and the orders", count(0, 2 ** 31), 0)
    .option("--score <key>", "score answers with this key file (the page's name with .key.json)")
    .option("--samples <file>", "with --score: samples.jsonl of `worldline eval --judge`, for agreement with the judge")
    .requiredOption("--out <file>", "the page (HTML), or with --score the scores (JSON)")
    .action((answers: string[], f: Flags) => (f.score ? score(f, answers) : make(f, answers)));
}

async function make(f: Flags, answers: readonly string[]): Promise<void> {
  if (answers.length) throw new WorldlineError("study: answers are scored with --score and the key file");
  if (!f.data) throw new WorldlineError("study needs --data and two or more --system, or --score with the key file");
  const keyFile = `${f.out.replace(/\.html?$/i, "")}.key.json`;
  for (const path of [f.out, keyFile]) await checkWritable(path);
  const systems = f.system.map((text) => named(text, "--system")).map(([name, folder]) => folderSystem(name, folder));
  const records = await recordsOf(f.data);
  const key = makeStudy(records, systems, f.perSubset, f.seed);
  const shown = [];
  const tell = progress("pictures");
  for (const [i, item] of key.items.entries()) {
    const record = records.find((r) => r.id === item.id)!;
    const paths = item.order.map((name) => systems.find((s) => s.name === name)!.pictureOf(record)!);
    const size = await readPicture(record.source);
    const url = async (path: string) => pngDataUrl(shrunk(await readPicture(path), size));
    shown.push({ id: item.id, action: record.action, source: await url(record.source), results: await Promise.all(paths.map(url)) });
    tell(i + 1, key.items.length);
  }
  // Named by its pictures too: answers to a page of other drawings are not taken for answers to this one.
  const study = contentKey(key.study, JSON.stringify(shown)).slice(0, 12);
  await writeText(f.out, studyPage(study, shown));
  await writeText(keyFile, `${JSON.stringify({ ...key, study }, null, 1)}\n`);
  say(`${f.out}: ${key.items.length} items of ${key.systems.length} systems; keep ${keyFile} to yourself, it tells which is which`);
}

/** Every picture of an item at one size, so that size does not give a system away; no side over 384 pixels. */
function shrunk(picture: Picture, like: Picture): Picture {
  const scale = Math.min(1, 384 / Math.max(like.width, like.height));
  return resizePicture(picture, Math.max(1, Math.round(like.width * scale)), Math.max(1, Math.round(like.height * scale)));
}

async function score(f: Flags, files: readonly string[]): Promise<void> {
  if (files.length === 0) throw new WorldlineError("study --score needs the files that people exported");
  await checkWritable(f.out);
  const text = (path: string) =>
    readFile(path, "utf8").catch((cause: Error) => {
      throw new WorldlineError(`${path} cannot be read: ${cause.message.split(",")[0]}; check the path`);
    });
  const key = parseJsonObject(await text(f.score!), f.score!) as unknown as StudyKey;
  if (!Array.isArray(key.items) || !Array.isArray(key.systems)) throw new WorldlineError(`${f.score} is no key file of a study`);
  const people = await Promise.all(files.map(async (path) => parseAnswers(await text(path), path, key)));
  const samples = f.samples
    ? (await text(f.samples))
        .split("\n")
        .filter(Boolean)
        .map((line) => JSON.parse(line) as Sample)
    : undefined;
  const result = scoreStudy(key, people, samples);
  await writeText(f.out, `${JSON.stringify(result, null, 1)}\n`);
  for (const line of scoreLines(result)) say(line);
}

function scoreLines({ raters, annotations, scores, comparisons, judge }: StudyScores): string[] {
  const parts = Object.keys(Object.values(scores)[0]);
  const rows = Object.entries(scores).map(([system, values]) => [system, ...parts.map((part) => meanText("study", values[part]))]);
  const tests = comparisons.filter((c) => c.subset === "all").map((c) => [`${c.first} - ${c.second}`, String(c.n), c.p.toFixed(4)]);
  return [
    `${annotations} choices of ${raters} people; best +1, worst -1`,
    ...aligned(["system", ...parts], rows),
    ...aligned(["Wilcoxon, all parts", "pairs that differ", "p"], tests),
    ...(judge
      ? [
          `judge: Spearman ${judge.rho.toFixed(2)} (p = ${judge.p.toFixed(4)}, n = ${judge.n}); the same best system in ${judge.sameBest} of ${judge.items} items (paper: 0.28, 57%)`,
        ]
      : []),
  ];
}
