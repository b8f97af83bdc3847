// Stages of a run folder: each is done once, timed, and passed over on the next run with the same settings; an interrupted run goes on.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { writeText } from "./records.ts";

interface Ledger {
  readonly settings: string;
  readonly seconds: Record<string, number>;
}

export class Stages {
  readonly folder: string;
  private readonly ledger: Ledger;
  private readonly say: (text: string) => void;
  private readonly now: () => number;

  private constructor(folder: string, ledger: Ledger, say: (text: string) => void, now: () => number) {
    this.folder = folder;
    this.ledger = ledger;
    this.say = say;
    this.now = now;
  }

  /** Opens a run folder. A folder made with other settings is refused. */
  static async open(folder: string, settings: unknown, hooks: { say: (text: string) => void; now: () => number }): Promise<Stages> {
    const wanted = JSON.stringify(settings);
    const path = join(folder, "stages.json");
    let ledger: Ledger = { settings: wanted, seconds: {} };
    if (existsSync(path)) {
      const found = JSON.parse(await readFile(path, "utf8").catch(() => "{}")) as Partial<Ledger>;
      if (found.settings !== wanted)
        throw new WorldlineError(`${folder} holds a run with other settings; give another --out, or --fresh to start anew`);
      ledger = { settings: wanted, seconds: found.seconds ?? {} };
    } else await writeText(path, JSON.stringify(ledger, null, 1));
    return new Stages(folder, ledger, hooks.say, hooks.now);
  }

  /** Runs `work` unless the stage is done. Work that returns false was interrupted and is not marked. */
  async run(name: string, title: string, work: () => Promise<unknown>): Promise<void> {
    if (this.ledger.seconds[name] !== undefined) return;
    this.say(`* ${title}`);
    const begin = this.now();
    await work();
    this.ledger.seconds[name] = (this.now() - begin) / 1000;
    await writeText(join(this.folder, "stages.json"), JSON.stringify(this.ledger, null, 1));
  }

  /** Seconds of every stage done. */
  get seconds(): Record<string, number> {
    return { ...this.ledger.seconds };
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  /** Writes a stage's result; read it back with `load`. */
  save(name: string, value: unknown): Promise<void> {
    return writeText(this.path(name), JSON.stringify(value));
  }

  async load<T>(name: string): Promise<T> {
    return JSON.parse(await readFile(this.path(name), "utf8")) as T;
  }
}
