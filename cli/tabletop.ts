// worldline tabletop: writes data of the embedded world: labelled triplets, and unlabelled clips.
import { join } from "node:path";
import { type Command, Option } from "commander";
import { writeClips } from "../world/tabletop/clip_files.ts";
import { writeTriplets } from "../world/tabletop/dataset.ts";
import { defaultWorld, fullWorld } from "../world/tabletop/world.ts";
import { count, interruption, progress, say } from "./terminal.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("tabletop")
    .description("write data of the embedded world")
    .requiredOption("--out <folder>", "where to write")
    .addOption(
      new Option("--world <name>", "default: 3 x 3 cells; full: 4 x 4, more kinds, clutter, camera shift")
        .choices(["default", "full"])
        .default("default"),
    )
    .option("--triplets <n>", "labelled triplets", count(0, 1e6), 100)
    .option("--clips <n>", "unlabelled clips", count(0, 1e5), 0)
    .option("--seed <n>", "seed", count(0, 2 ** 31), 0)
    .action(async (f: { out: string; world: "default" | "full"; triplets: number; clips: number; seed: number }) => {
      const world = f.world === "full" ? fullWorld : defaultWorld;
      const signal = interruption();
      if (f.triplets) {
        await writeTriplets(world, f.out, { name: "triplets", count: f.triplets, seed: f.seed, signal, onProgress: progress("triplets") });
        say(`${join(f.out, "triplets.jsonl")}: ${f.triplets} triplets`);
      }
      if (f.clips) {
        const { stored } = await writeClips(world, join(f.out, "clips"), {
          count: f.clips,
          seed: f.seed,
          signal,
          onProgress: progress("clips"),
        });
        say(`${join(f.out, "clips")}: ${f.clips} clips as ${stored}`);
      }
    });
}
