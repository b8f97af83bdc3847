// A run to be killed: a tiny model with LoRA, dropout, accumulation and two batch shapes, saved after every step into the folder that is given. It says
// "resumed N" when it begins, "saved N" after each checkpoint, and "done" at the end, when result.bin holds adapter and moments.
//   node --import tsx test/train_child.ts <folder> <steps>
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Device } from "../engine/device.ts";
import { parameters, setTrainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { optimizerState } from "../engine/optim.ts";
import { Rng } from "../engine/rng.ts";
import { createAdapter, withAdapter } from "../models/lora.ts";
import { checkpointStore } from "../train/checkpoints.ts";
import type { Example } from "../train/data.ts";
import { defaultTraining, type Store, train } from "../train/loop.ts";
import { shuffled } from "../train/order.ts";
import { RunFolder } from "../train/run_folder.ts";
import { defaultLora } from "../weights/adapter.ts";
import { tinyConfig, tinyModel } from "./tiny_model.ts";

/** Examples of two lengths. */
function examplesOf(vocabSize: number): Example[] {
  const rng = new Rng(1, "examples");
  return Array.from({ length: 23 }, (_, i) => ({
    ids: Uint32Array.from({ length: i % 3 ? 8 : 20 }, (_, t) => (t ? 8 + rng.int(vocabSize - 8) : 0)),
    weights: Float32Array.from({ length: i % 3 ? 8 : 20 }, (_, t) => (t < 2 ? 0 : 1)),
  }));
}

/** Trains in `folder` up to `steps`; returns the bits of adapter and moments. */
export async function trainIn(
  device: Device,
  folder: string,
  steps: number,
  watch: (line: string) => void,
  saveEvery = 1,
): Promise<Buffer> {
  const config = tinyConfig();
  const { lm } = await tinyModel(device, config, 3);
  const adapter = await createAdapter(device, config, { ...defaultLora, rank: 4, dropout: 0.3 }, new Rng(5, "adapter"));
  const model = withAdapter(lm, adapter);
  setTrainable(model, /\.lora_[AB]\./);
  const trained = new Map([...parameters(model)].filter(([, t]) => t.trainable));
  const o = { ...defaultTraining, steps, batch: 2, accumulate: 3, learningRate: 1e-2, logEvery: 1, saveEvery, seed: 5 };
  const source = shuffled(examplesOf(config.vocabSize), 5, { batch: 2, shapes: 2 });
  const disk = checkpointStore(device, trained, folder, { run: { o }, seed: 5, maxSteps: steps, examples: 23, keep: 2 });
  const run = new RunFolder(folder);
  const store: Store = {
    async load() {
      const state = await disk.load();
      await run.rewind(state?.step ?? 0);
      watch(`resumed ${state?.step ?? 0}`);
      return state;
    },
    async save(state) {
      await run.flush();
      await disk.save(state);
      watch(`saved ${state.step}`);
    },
  };
  await train(device, model, source, o, { store, onLog: (r) => run.log(r) });
  await run.flush();
  const values = await device.read(...trained.values(), ...optimizerState(device, trained).values());
  return Buffer.concat(values.map((v) => Buffer.from(v.buffer, v.byteOffset, v.byteLength)));
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const [folder, steps] = [process.argv[2], Number(process.argv[3])];
  const bits = await trainIn(await openDevice(), folder, steps, (line) => void process.stdout.write(`${line}\n`));
  writeFileSync(join(folder, "result.bin"), bits);
  process.stdout.write("done\n");
  process.exit();
}
