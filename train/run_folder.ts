// What a run leaves for people beside its checkpoints: log.jsonl (one line per log entry), TensorBoard events, and picture grids. Lines after the step that
// a run goes on from are dropped, so that no step is logged twice.
import { appendFile, mkdir, readFile, truncate } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { reasonOf, writeFileAtomic } from "../weights/file_source.ts";
import type { LogEntry } from "./loop.ts";
import { event, fileVersion, type SummaryValue } from "./tensorboard.ts";

export class RunFolder {
  readonly folder: string;
  private readonly events: string;
  private started = false;
  private writing: Promise<unknown> = Promise.resolve();
  private failure: Error | undefined;

  constructor(folder: string) {
    this.folder = folder;
    this.events = `events.out.tfevents.${Math.floor(Date.now() / 1000)}.${hostname()}.${process.pid}.0`;
  }

  /** Drops what was logged after `step`, which is done again. */
  async rewind(step: number): Promise<void> {
    const path = join(this.folder, "log.jsonl");
    const text = await readFile(path, "utf8").catch(() => "");
    let kept = 0;
    for (const line of text.split("\n")) {
      if (line === "" || !(stepOf(line) <= step)) break;
      kept += Buffer.byteLength(line) + 1;
    }
    if (kept < Buffer.byteLength(text)) await truncate(path, kept);
  }

  /** Notes an entry of the log; `flush` reports what could not be written. */
  log(entry: LogEntry): void {
    this.append("log.jsonl", () => `${JSON.stringify(entry)}\n`);
    const group = "loss" in entry ? "train" : "eval";
    const values = Object.entries(entry).filter(([name, v]) => name !== "step" && typeof v === "number" && Number.isFinite(v));
    this.summarize(
      entry.step,
      values.map(([name, scalar]) => ({ tag: `${group}/${name.replace(/^eval_/, "")}`, scalar: scalar as number })),
    );
  }

  /** Writes a picture grid to eval/<name>-<step>.png and into the events. */
  async picture(name: string, step: number, png: Uint8Array, size: { width: number; height: number }): Promise<string> {
    const path = join(this.folder, "eval", `${name}-${`${step}`.padStart(6, "0")}.png`);
    await writeFileAtomic(path, [png]);
    this.summarize(step, [{ tag: `eval/${name}`, png, ...size }]);
    return path;
  }

  private summarize(step: number, values: readonly SummaryValue[]): void {
    this.append(this.events, () => {
      const now = Date.now() / 1000;
      const body = event(now, step, values);
      if (this.started) return body;
      this.started = true;
      return Buffer.concat([fileVersion(now), body]);
    });
  }

  private append(name: string, make: () => string | Uint8Array): void {
    const path = join(this.folder, name);
    const data = make();
    this.writing = this.writing
      .then(() => mkdir(this.folder, { recursive: true }))
      .then(() => appendFile(path, data))
      .catch((error: unknown) => {
        this.failure ??= new WorldlineError(`${path}: not written, ${reasonOf(error)}`);
      });
  }

  /** Waits for what is under way; throws what could not be written. */
  async flush(): Promise<void> {
    await this.writing;
    if (this.failure) throw this.failure;
  }
}

function stepOf(line: string): number {
  try {
    return Number((JSON.parse(line) as { step?: unknown }).step ?? Number.NaN);
  } catch {
    return Number.NaN;
  }
}
