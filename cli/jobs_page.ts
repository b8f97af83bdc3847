// The page of a folder of jobs once its shards are joined: what was done and with which options, pictures of it, or an evaluation's tables.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { Sample } from "../world/bench.ts";
import { benchHtml } from "../world/bench_report.ts";
import { summarise } from "../world/bench_results.ts";
import type { Joined, Manifest } from "../world/job_manifest.ts";
import type { Shot, ShotRow } from "../world/page.ts";
import { readPicture } from "../world/pictures.ts";
import type { Prediction } from "../world/predictions.ts";
import type { AnnotatedRecord, TripletRecord } from "../world/records.ts";
import { jobsHtml } from "../world/stage_reports.ts";
import { originOf } from "./versions.ts";

const SHOWN = 12;

/** The page. Pictures that are no longer there are left out. */
export async function jobsPage(out: string, manifest: Manifest, joined: Joined): Promise<string> {
  const { work, shards } = manifest;
  const lines = (await readFile(joined.path, "utf8")).split("\n").filter(Boolean);
  const origin = { ...originOf(undefined, "seed" in work ? work.seed : undefined), device: "each worker's own" };
  const inputs = shards.flatMap((s) => s.inputs as readonly unknown[]);
  if (work.stage === "eval") {
    const results = summarise(
      lines.map((line) => JSON.parse(line) as Sample),
      ["copy", ...Object.keys(work.systems)],
      inputs.length,
    );
    return benchHtml(`Evaluation on ${work.data}`, results, [], origin);
  }
  const chosen = evenly(lines, SHOWN).map((line) => JSON.parse(line) as object);
  const rows =
    work.stage === "edit" ? await drawings(out, inputs as readonly TripletRecord[], chosen as Prediction[]) : await pairs(out, chosen);
  const numbers = {
    stage: work.stage,
    shards: `${shards.length}`,
    inputs: `${inputs.length}`,
    "lines of the joined file": `${lines.length}`,
  };
  const options = Object.fromEntries(
    Object.entries(work).flatMap(([name, value]) => (name === "stage" || value === undefined ? [] : [[name, shown(value)]])),
  );
  return jobsHtml(numbers, options, joined.failed, rows, origin);
}

const shown = (value: unknown): string => (Array.isArray(value) ? value.join(", ") : String(value));

function evenly<T>(list: readonly T[], most: number): T[] {
  const n = Math.min(most, list.length);
  return Array.from({ length: n }, (_, i) => list[Math.floor((i * list.length) / n)]);
}

async function shot(name: string, path: string, note?: string): Promise<Shot[]> {
  return existsSync(path) ? [{ name, picture: await readPicture(path), note }] : [];
}

async function pairs(out: string, records: readonly object[]): Promise<ShotRow[]> {
  const rows: ShotRow[] = [];
  for (const r of records as readonly (Pick<AnnotatedRecord, "id" | "source" | "target"> & Partial<AnnotatedRecord>)[]) {
    const list = [...(await shot("before", resolve(out, r.source))), ...(await shot("after", resolve(out, r.target)))];
    const score = r.mean_logprob === undefined ? undefined : `mean log p ${r.mean_logprob.toFixed(2)}`;
    rows.push({ heading: r.action ?? r.id, list, note: score });
  }
  return rows;
}

async function drawings(out: string, inputs: readonly TripletRecord[], drawn: readonly Prediction[]): Promise<ShotRow[]> {
  const sources = new Map(inputs.map((r) => [r.id, r.source]));
  const rows: ShotRow[] = [];
  for (const { id, action, candidates, scores, best } of drawn) {
    const note = scores.length ? `candidate ${best + 1} of ${candidates.length}, log p ${scores[best].toFixed(2)}` : undefined;
    rows.push({
      heading: action,
      list: [...(await shot("source", sources.get(id)!, id)), ...(await shot("drawn", join(out, "pictures", `${id}.png`), note))],
    });
  }
  return rows;
}
