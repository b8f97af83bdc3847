// worldline pretrain: makes a tabletop base from a seed: trains the picture tokenizer, then the transformer on captioned pictures and
// unlabelled neighbouring frames, and writes a model folder.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { openDevice } from "../engine/node.ts";
import { checkWritable } from "../weights/file_source.ts";
import { makeBase, vqReader } from "../world/tabletop/make_base.ts";
import { type PresetName, presets } from "../world/tabletop/presets.ts";
import { count, duration, Interrupted, interruption, progress, say } from "./terminal.ts";

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("pretrain")
    .description("make a tabletop base (picture tokenizer and transformer) from a seed")
    .option("--out <folder>", "where to write the model folder (default: runs/base_<preset>)")
    .addOption(new Option("--preset <name>", "world and sizes").choices(Object.keys(presets)).default("default"))
    .option("--seed <n>", "seed of weights and data", count(0, 2 ** 31), 1)
    .option("--vq <folder>", "take the picture tokenizer from this model folder instead of training one")
    .option("--vq-further", "train that picture tokenizer further", false)
    .option("--vq-only", "stop after the picture tokenizer", false)
    .action(pretrain);
}

interface Flags {
  out?: string;
  preset: PresetName;
  seed: number;
  vq?: string;
  vqOnly: boolean;
  vqFurther: boolean;
}

async function pretrain(o: Flags): Promise<void> {
  const begin = performance.now();
  const { world, base } = presets[o.preset];
  const out = o.out ?? join("runs", `base_${o.preset}`);
  await checkWritable(join(out, "model.safetensors"));
  const vq = o.vq === undefined ? undefined : await vqReader(o.vq);
  const signal = interruption();
  const device = await openDevice();
  say(device.describe());
  const done = await makeBase(device, {
    world,
    settings: base,
    seed: o.seed,
    out,
    vq,
    vqOnly: o.vqOnly,
    vqFurther: o.vqFurther,
    say,
    progress,
    signal,
  });
  if (!done) throw new Interrupted();
  const hash = createHash("sha256")
    .update(await readFile(join(out, "model.safetensors")))
    .digest("hex");
  say(`${out}/model.safetensors: sha256 ${hash}, seed ${o.seed}, ${duration((performance.now() - begin) / 1000)}`);
}
