// worldline probe: how often a model finds the real trajectory likelier than a manipulated one.
import { type Command, Option } from "commander";
import { type Direction, type ProbeItem, probe } from "../world/probe.ts";
import { readRecords, type TripletRecord, writeText } from "../world/records.ts";
import { rate } from "../world/report.ts";
import { encodeAll, open, type StorageFlags, withCache, withStorage } from "./shared.ts";
import { interruption, progress, say } from "./terminal.ts";

/** Adds the command. */
export function register(program: Command): void {
  const command = program
    .command("probe")
    .description("the trajectory preference probe; 50% is chance")
    .requiredOption("--model <model>", "model to probe: a folder or a hub id")
    .requiredOption("--data <file>", "triplets")
    .addOption(new Option("--direction <name>", "what is scored").choices(["image", "action", "both"]).default("both"))
    .option("--out <file>", "write every comparison as JSON lines");
  withStorage(withCache(command)).action(
    async (f: StorageFlags & { model: string; data: string; direction: string; out?: string; cache?: string }) => {
      const records = await readRecords<TripletRecord>(f.data, ["action"]);
      const s = await open(f.model, f.cache, f);
      const signal = interruption();
      await encodeAll(s, records, signal);
      const directions: Direction[] = f.direction === "both" ? ["image", "action"] : [f.direction as Direction];
      const items = await probe(s.device, s.model, s.codes, records, directions, { batch: 64, signal, onProgress: progress("scoring") });
      if (f.out) await writeText(f.out, items.map((i) => JSON.stringify(i)).join("\n") + "\n");
      for (const [kind, r] of preferences(items)) {
        say(
          `${kind.padEnd(22)} real preferred ${(100 * r.value).toFixed(1)}% (${(100 * r.low).toFixed(1)} to ${(100 * r.high).toFixed(1)}, n = ${r.n})`,
        );
      }
    },
  );
}

/** Share of comparisons in which the real trajectory wins, by kind. */
function preferences(items: readonly ProbeItem[]): [string, ReturnType<typeof rate>][] {
  const kinds = [...new Set(items.map((i) => i.kind))];
  return kinds.map((kind) => {
    const list = items.filter((i) => i.kind === kind);
    return [kind, rate(list.filter((i) => i.real > i.manipulated).length, list.length)];
  });
}
