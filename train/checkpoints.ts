// Training state on disk: checkpoint-<step>/ holds model.safetensors, optimizer.safetensors and trainer_state.json, written beside and renamed
// when complete. The newest whole one is resumed; a torn one is passed over with a word.
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { optimizerState } from "../engine/optim.ts";
import type { Tensor } from "../engine/tensor.ts";
import { fileSource, writeFileAtomic, writeFolderAtomic } from "../weights/file_source.ts";
import { fromFloat32, openSafetensors, saveSafetensors, toFloat32 } from "../weights/safetensors.ts";
import type { EvalRecord, LogEntry, RunState, Store } from "./loop.ts";

/** trainer_state.json: the fields that transformers writes, and what this run needs beside them under `worldline`. */
interface State<R = unknown, Extra = unknown> {
  readonly best_metric: number | null;
  readonly best_model_checkpoint: string | null;
  readonly epoch: number;
  readonly global_step: number;
  readonly max_steps: number;
  readonly num_train_epochs: number;
  readonly log_history: R[];
  readonly worldline: {
    readonly run: Readonly<Record<string, unknown>>;
    /** Random numbers are counted, not drawn from a state: seed and step name them all. */
    readonly random: { readonly seed: number; readonly step: number };
    readonly data: { readonly epoch: number; readonly example: number };
    readonly skipped_steps: number;
    readonly window: RunState["window"];
    readonly extra?: Extra;
  };
}

export interface StoreOptions {
  /** What decides the run's numbers, by name: state of a run where one of them differs is refused, and the difference is named. */
  readonly run: Readonly<Record<string, unknown>>;
  /** Checkpoints that stay. Default 1. */
  readonly keep?: number;
  readonly seed?: number;
  readonly maxSteps?: number;
  /** Examples in an epoch. */
  readonly examples?: number;
  /** Name of the file of weights: "model.safetensors", or an adapter's. */
  readonly weightsFile?: string;
  /** Names of the tensors in that file, where they differ. */
  readonly nameOf?: (name: string) => string;
  /** Further files of every checkpoint, by name. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A store in `folder` for the given parameters (those that are trained, at least) and their moments. */
export function checkpointStore<R = LogEntry, Extra = unknown>(
  device: Device,
  weights: ReadonlyMap<string, Tensor>,
  folder: string,
  o: StoreOptions,
): Store<R, Extra> {
  const named = new Map([...weights].map(([name, t]) => [o.nameOf?.(name) ?? name, t]));
  const files = (): Record<string, ReadonlyMap<string, Tensor>> => ({
    [o.weightsFile ?? "model.safetensors"]: named,
    "optimizer.safetensors": optimizerState(device, weights),
  });
  const run = JSON.parse(JSON.stringify(o.run)) as Record<string, unknown>;
  return {
    async load() {
      await clearTorn(folder);
      for (const name of (await checkpoints(folder)).reverse()) {
        const state = await readState<R, Extra>(join(folder, name));
        if (state) refuseOther(join(folder, name), state.worldline.run, run);
        const writes = state && (await readOne(join(folder, name), files()));
        if (!writes) {
          device.host.log(`${join(folder, name)} is not whole and is passed over`);
          continue;
        }
        for (const [t, data] of writes) device.write(t, data);
        const { skipped_steps: skipped, window, extra } = state.worldline;
        return { step: state.global_step, epoch: state.epoch, log: state.log_history, skipped, window, extra };
      }
      return undefined;
    },
    async save(state) {
      const names = [...(await checkpoints(folder)), `checkpoint-${state.step}`];
      const file = stateFile(state, run, o, names);
      const text = JSON.stringify(file, null, 1);
      await writeFolderAtomic(join(folder, `checkpoint-${state.step}`), true, async (temporary) => {
        for (const [name, tensors] of Object.entries(files())) await saveTensors(device, join(temporary, name), tensors);
        for (const [name, text] of Object.entries(o.files ?? {})) await writeText(join(temporary, name), text);
        await writeText(join(temporary, "trainer_state.json"), text);
      });
      // Later ones were passed over when this run began: they do not count as newer.
      const own = (await checkpoints(folder)).filter((name) => stepOf(name) <= state.step);
      const old = own.slice(0, -(o.keep ?? 1)).filter((name) => name !== file.best_model_checkpoint);
      for (const name of old) await rm(join(folder, name), { recursive: true, force: true });
    },
  };
}

const writeText = (path: string, text: string) => writeFileAtomic(path, [new TextEncoder().encode(text)]);

/** What trainer_state.json holds; `names` are the checkpoints that are there, of which the best may be one. */
export function stateFile<R, Extra>(
  s: RunState<R, Extra>,
  run: StoreOptions["run"],
  o: StoreOptions,
  names: readonly string[],
): State<R, Extra> {
  const isEvaluation = (r: unknown): r is EvalRecord => Number.isFinite((r as EvalRecord).eval_loss);
  const evaluations = (s.log as readonly unknown[]).filter(isEvaluation);
  const best = evaluations.reduce<EvalRecord | undefined>((a, r) => (a && a.eval_loss <= r.eval_loss ? a : r), undefined);
  const count = o.examples ?? 1;
  const epoch = s.epoch ?? 0;
  const seen = Math.round(epoch * count);
  return {
    best_metric: best?.eval_loss ?? null,
    best_model_checkpoint: names.find((name) => name === `checkpoint-${best?.step}`) ?? null,
    epoch,
    global_step: s.step,
    max_steps: o.maxSteps ?? s.step,
    num_train_epochs: s.step ? Math.ceil(((o.maxSteps ?? s.step) * epoch) / s.step) : 0,
    log_history: [...s.log],
    worldline: {
      run,
      random: { seed: o.seed ?? 0, step: s.step },
      data: { epoch: Math.floor(seen / count), example: seen % count },
      skipped_steps: s.skipped ?? 0,
      window: s.window,
      extra: s.extra,
    },
  };
}

/** Throws where a checkpoint was made with other data or options; names up to four of them. */
function refuseOther(where: string, found: unknown, wanted: unknown): void {
  const [before, now] = [leaves(found), leaves(wanted)];
  const names = [...new Set([...before.keys(), ...now.keys()])].filter((n) => before.get(n) !== now.get(n));
  if (names.length === 0) return;
  const list = names.slice(0, 4).map((n) => `${n} was ${before.get(n) ?? "not set"} and is now ${now.get(n) ?? "not set"}`);
  if (names.length > 4) list.push(`and ${names.length - 4} more`);
  throw new WorldlineError(
    `${where} belongs to a run with other data or options: ${list.join(", ")}; choose another --out or delete the folder to start anew`,
  );
}

/** The values of nested objects and lists by dotted path, as JSON. */
function leaves(value: unknown, path = "", out = new Map<string, string>()): Map<string, string> {
  if (typeof value !== "object" || value === null) return out.set(path, JSON.stringify(value) ?? "not set");
  for (const [key, v] of Object.entries(value)) leaves(v, path ? `${path}.${key}` : key, out);
  return out;
}

/** The state of a run that is finished (trainer_state.json beside the model); undefined where it is not. Throws where it is another run's. */
export async function finishedState<R>(folder: string, o: StoreOptions): Promise<{ step: number; log: readonly R[] } | undefined> {
  const text = await readFile(join(folder, "trainer_state.json"), "utf8").catch(() => undefined);
  if (text === undefined) return undefined;
  const state = JSON.parse(text) as State<R>;
  refuseOther(folder, state.worldline?.run, JSON.parse(JSON.stringify(o.run)));
  return { step: state.global_step, log: state.log_history };
}

/** Removes the checkpoints of a finished run. */
export async function clearCheckpoints(folder: string): Promise<void> {
  for (const name of await checkpoints(folder)) await rm(join(folder, name), { recursive: true, force: true });
}

/** Removes what a save that was killed left beside the checkpoints. */
async function clearTorn(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [] as string[]))
    if (/^\.checkpoint-\d+\..*\.tmp$/.test(name)) await rm(join(folder, name), { recursive: true, force: true });
}

/** Names of the checkpoints in a folder, oldest first. */
export async function checkpoints(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => [] as string[]);
  return names.filter((n) => /^checkpoint-\d+$/.test(n)).sort((a, b) => stepOf(a) - stepOf(b));
}

const stepOf = (name: string) => Number(name.slice("checkpoint-".length));

/** Largest share of a file that is held on the host at a time, in bytes. */
const largestRead = 1 << 26;

/** Writes tensors as f32, in groups that are read from the device in one round trip each. */
async function saveTensors(device: Device, path: string, tensors: ReadonlyMap<string, Tensor>): Promise<void> {
  const groups: Tensor[][] = [];
  let bytes = Number.POSITIVE_INFINITY;
  for (const t of tensors.values()) {
    if (bytes + t.bytes > largestRead) [bytes] = [0, groups.push([])];
    groups[groups.length - 1].push(t);
    bytes += t.bytes;
  }
  const held = new Map<Tensor, Float32Array>();
  const read = async (t: Tensor): Promise<Uint8Array> => {
    if (!held.has(t)) {
      held.clear();
      const group = groups.find((g) => g.includes(t))!;
      const values = (await device.read(...group)) as Float32Array[];
      group.forEach((member, i) => {
        held.set(member, values[i]);
      });
    }
    return fromFloat32(held.get(t)!, "F32");
  };
  await saveSafetensors(
    path,
    [...tensors].map(([name, t]) => ({ name, dtype: "F32" as const, shape: t.shape, data: () => read(t) })),
  );
}

/** The state of one checkpoint; undefined if it is missing or torn. */
async function readState<R, Extra>(folder: string): Promise<State<R, Extra> | undefined> {
  try {
    const state = JSON.parse(await readFile(join(folder, "trainer_state.json"), "utf8")) as State<R, Extra>;
    return Number.isInteger(state.global_step) && Array.isArray(state.log_history) && state.worldline?.run ? state : undefined;
  } catch {
    return undefined;
  }
}

/** What belongs in each tensor; undefined if anything in the checkpoint is missing or torn. */
async function readOne(folder: string, files: Record<string, ReadonlyMap<string, Tensor>>): Promise<[Tensor, Float32Array][] | undefined> {
  const writes: [Tensor, Float32Array][] = [];
  try {
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
    return writes;
  } catch {
    return undefined;
  }
}
