// The tabletop's data on disk: labelled triplets as PNG files with JSON lines, and unlabelled clips. Everything follows from world and seed.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Rng } from "../../engine/rng.ts";
import { writeFolderAtomic } from "../../weights/file_source.ts";
import type { Progress } from "../codes.ts";
import { encodePng } from "../pictures.ts";
import { type TripletRecord, writeRecords } from "../records.ts";
import { FAMILIES } from "./actions.ts";
import { otherAction, triplet } from "./samples.ts";
import type { Scene, Tabletop } from "./world.ts";

/** What a tabletop record remembers beyond its pictures. */
export interface TabletopMeta {
  readonly before: Scene;
  readonly after: Scene;
  /** A legal action that does not explain the target, for the probe. */
  readonly other?: string;
}

export interface TripletsOptions {
  readonly count: number;
  readonly seed: number;
  /** Names the random stream: sets of different names share no scene. */
  readonly name: string;
  readonly onProgress?: Progress;
  readonly signal?: AbortSignal;
}

/** Writes `<folder>/<name>.jsonl` and its pictures; families in equal shares. */
export async function writeTriplets(world: Tabletop, folder: string, options: TripletsOptions): Promise<TripletRecord[]> {
  const { count, seed, name } = options;
  const pictures = join(folder, name);
  const records: TripletRecord[] = [];
  await writeFolderAtomic(pictures, true, async (temporary) => {
    await mkdir(temporary, { recursive: true });
    for (let i = 0; i < count; i++) {
      options.signal?.throwIfAborted();
      const rng = new Rng(seed, `triplets ${name} ${i}`);
      const t = triplet(world, rng, FAMILIES[i % FAMILIES.length]);
      const id = `${name}-${String(i).padStart(5, "0")}`;
      await writeFile(join(temporary, `${id}-source.png`), encodePng(t.source));
      await writeFile(join(temporary, `${id}-target.png`), encodePng(t.target));
      const meta: TabletopMeta = { before: t.before, after: t.after, other: otherAction(world, t.before, t.after, rng)?.text };
      records.push({
        id,
        source: join(pictures, `${id}-source.png`),
        target: join(pictures, `${id}-target.png`),
        action: t.text,
        family: t.family,
        meta: { ...meta },
      });
      if (i % 50 === 49 || i + 1 === count) options.onProgress?.(i + 1, count);
    }
  });
  await writeRecords(join(folder, `${name}.jsonl`), records);
  return records;
}

/** The scenes of a tabletop record. */
export function metaOf(record: { readonly id: string; readonly meta?: unknown }): TabletopMeta {
  return record.meta as TabletopMeta;
}
