// worldline pretrain: makes a tabletop base from a seed: trains the picture tokenizer, then the transformer on captioned pictures and
// unlabelled neighbouring frames, and writes a model folder.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { openDevice } from "../engine/node.ts";
import { makeBase, vqReader } from "../world/tabletop/make_base.ts";
import { presets } from "../world/tabletop/presets.ts";
import { count, duration, Interrupted, interruption, progress, say } from "./terminal.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("pretrain")
    .description("make a tabletop base (picture tokenizer and transformer) from a seed")
    .requiredOption("--out <folder>", "where to write the model folder")
    .addOption(new Option("--preset <name>", "world and sizes").choices(Object.keys(presets)).default("default"))
    .option("--seed <n>", "seed of weights and data", count(0, 2 ** 31), 1)
    .option("--vq <folder>", "take the picture tokenizer from this model folder instead of training one")
    .option("--vq-further", "train that picture tokenizer further", false)
    .option("--vq-only", "stop after the picture tokenizer", false)
    .action(async (o: { out: string; preset: keyof typeof presets; seed: number; vq?: string; vqOnly: boolean; vqFurther: boolean }) => {
      const begin = performance.now();
      const device = await openDevice();
      const { world, base } = presets[o.preset];
      const done = await makeBase(device, {
        world,
        settings: base,
        seed: o.seed,
        out: o.out,
        vq: o.vq ? await vqReader(o.vq) : undefined,
        vqOnly: o.vqOnly,
        vqFurther: o.vqFurther,
        say,
        progress,
        signal: interruption(),
      });
      if (!done) throw new Interrupted();
      const hash = createHash("sha256")
        .update(await readFile(join(o.out, "model.safetensors")))
        .digest("hex");
      say(`${o.out}/model.safetensors: sha256 ${hash}, seed ${o.seed}, ${duration((performance.now() - begin) / 1000)}`);
    });
}
