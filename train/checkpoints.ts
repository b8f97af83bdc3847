// Training state on disk: checkpoint-<step>/ holds model.safetensors, optimizer.safetensors and trainer_state.json, written beside and renamed
// when complete. The newest whole one is resumed; a torn one is passed over with a word.
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { parameters } from "../engine/module.ts";
import { optimizerState } from "../engine/optim.ts";
import type { Tensor } from "../engine/tensor.ts";
import { fileSource, writeFileAtomic, writeFolderAtomic } from "../weights/file_source.ts";
import { fromFloat32, openSafetensors, saveSafetensors, toFloat32 } from "../weights/safetensors.ts";
import type { Store, TrainRecord } from "./loop.ts";

interface State<R, Extra> {
  readonly global_step: number;
  readonly fingerprint: string;
  readonly log_history: R[];
  readonly extra?: Extra;
}

/** A store in `folder` for the parameters of `module`. `fingerprint` names data and options: state of another run is refused. */
export function checkpointStore<R = TrainRecord, Extra = unknown>(
  device: Device,
  module: object,
  folder: string,
  fingerprint: string,
  keep = 1,
): Store<R, Extra> {
  const weights = parameters(module);
  const files = (): Record<string, Map<string, Tensor>> => ({
    "model.safetensors": weights,
    "optimizer.safetensors": optimizerState(device, weights),
  });
  return {
    async load() {
      for (const name of (await checkpoints(folder)).reverse()) {
        const whole = await readOne<R, Extra>(join(folder, name), files());
        if (!whole) {
          device.host.log(`${join(folder, name)} is not whole and is passed over`);
          continue;
        }
        const { state, writes } = whole;
        if (state.fingerprint !== fingerprint) {
          throw new WorldlineError(
            `${join(folder, name)} belongs to a run with other data or options; choose another --out or delete the folder to start anew`,
          );
        }
        for (const [t, data] of writes) device.write(t, data);
        return { step: state.global_step, log: state.log_history, extra: state.extra };
      }
      return { step: 0, log: [] };
    },
    async save(step, log, extra) {
      const state: State<R, Extra> = { global_step: step, fingerprint, log_history: [...log], extra };
      await writeFolderAtomic(join(folder, `checkpoint-${step}`), true, async (temporary) => {
        for (const [name, tensors] of Object.entries(files())) await saveTensors(device, join(temporary, name), tensors);
        await writeFileAtomic(join(temporary, "trainer_state.json"), [new TextEncoder().encode(JSON.stringify(state, null, 1))]);
      });
      const old = (await checkpoints(folder)).slice(0, -keep);
      for (const name of old) await rm(join(folder, name), { recursive: true, force: true });
    },
  };
}

/** Removes the checkpoints of a finished run. */
export async function clearCheckpoints(folder: string): Promise<void> {
  for (const name of await checkpoints(folder)) await rm(join(folder, name), { recursive: true, force: true });
}

async function checkpoints(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => [] as string[]);
  const step = (n: string) => Number(n.slice("checkpoint-".length));
  return names.filter((n) => /^checkpoint-\d+$/.test(n)).sort((a, b) => step(a) - step(b));
}

async function saveTensors(device: Device, path: string, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
  const values = (await device.read(...tensors.values())) as Float32Array[];
  await saveSafetensors(
    path,
    [...tensors].map(([name, t], i) => ({ name, dtype: "F32" as const, shape: t.shape, data: fromFloat32(values[i], "F32") })),
  );
}

/** Reads one checkpoint: its state and what belongs in each tensor; undefined if anything in it is missing or torn. */
async function readOne<R, Extra>(
  folder: string,
  files: Record<string, Map<string, Tensor>>,
): Promise<{ state: State<R, Extra>; writes: [Tensor, Float32Array][] } | undefined> {
  const writes: [Tensor, Float32Array][] = [];
  try {
    const state = JSON.parse(await readFile(join(folder, "trainer_state.json"), "utf8")) as State<R, Extra>;
    for (const [name, tensors] of Object.entries(files)) {
      await stat(join(folder, name));
      const file = await openSafetensors(await fileSource(join(folder, name)), name);
      try {
        for (const [key, t] of tensors) {
          const data = toFloat32(await file.read(key), "F32");
          if (data.length !== t.size) return undefined;
          writes.push([t, data]);
        }
      } finally {
        await file.close();
      }
    }
    return { state, writes };
  } catch {
    return undefined;
  }
}
