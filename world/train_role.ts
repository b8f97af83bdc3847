// Fine-tunes a base for one role and writes the model folder: cdm (action from two pictures), cft (next picture, labelled triplets alone) and
// cwm (labelled and synthetic triplets, recognition weights). State is kept in the folder while it trains, so a rerun goes on.
import { createHash } from "node:crypto";
import type { Device } from "../engine/device.ts";
import { parameters } from "../engine/module.ts";
import { checkpointStore } from "../train/checkpoints.ts";
import type { Example } from "../train/data.ts";
import { type TrainOptions, type TrainRecord, train } from "../train/loop.ts";
import { shuffled } from "../train/order.ts";
import { cdmExamples } from "./cdm.ts";
import type { CodeStore, Progress } from "./codes.ts";
import { cwmExamples } from "./cwm.ts";
import { loadModel, type Model, saveModel } from "./model.ts";
import type { RecognitionOptions } from "./recognition.ts";
import type { TripletRecord } from "./records.ts";

export type Role = "cdm" | "cft" | "cwm";

export interface RoleOptions {
  readonly role: Role;
  /** Folder of the model to start from. */
  readonly base: string;
  readonly out: string;
  readonly labels: readonly TripletRecord[];
  /** Triplets whose actions a CDM wrote. */
  readonly synthetic?: readonly TripletRecord[];
  /** How often each labelled triplet counts in an epoch beside the synthetic ones. */
  readonly labelRepeats?: number;
  /** Recognition weights on the target's codes; none: plain loss. */
  readonly recognition?: RecognitionOptions;
  readonly training: TrainOptions;
  readonly onLog?: (r: TrainRecord) => void;
  readonly onEncode?: Progress;
  readonly signal?: AbortSignal;
}

export interface RoleResult {
  readonly log: readonly TrainRecord[];
  readonly examples: number;
  readonly steps: number;
  readonly seconds: number;
  readonly tokensPerSecond: number;
  readonly gflopPerSecond: number;
  readonly hostShare: number;
}

/** Trains and saves; `out` holds the finished model only when it is complete. Returns undefined if the signal stopped it (state is kept). */
export async function trainRole(
  device: Device,
  codes: (model: Model) => Promise<CodeStore>,
  o: RoleOptions,
): Promise<RoleResult | undefined> {
  const model = await loadModel(device, o.base);
  const store = await codes(model);
  const synthetic = o.synthetic ?? [];
  await store.add(
    [...o.labels, ...synthetic].flatMap((r) => [r.source, r.target]),
    { onProgress: o.onEncode, signal: o.signal },
  );
  const make = (records: readonly TripletRecord[]): Example[] =>
    o.role === "cdm" ? cdmExamples(model, store, records) : cwmExamples(model, store, records, o.recognition);
  const labelled = make(o.labels);
  const repeats = synthetic.length ? (o.labelRepeats ?? 1) : 1;
  const examples = [...Array.from({ length: repeats }, () => labelled).flat(), ...make(synthetic)];
  const { logEvery: _, saveEvery: __, evalEvery: ___, ...decisive } = o.training;
  const state = checkpointStore(device, parameters(model.lm), o.out, {
    run: { role: o.role, ...decisive, recognition: o.recognition ?? null, data: digestOf(examples) },
    seed: o.training.seed,
    maxSteps: o.training.steps,
    examples: examples.length,
  });
  const result = await train(device, model.lm, shuffled(examples, o.training.seed), o.training, {
    onLog: o.onLog,
    signal: o.signal,
    store: state,
  });
  if (!result.finished) return undefined;
  const log = result.log.map((r) => JSON.stringify(r)).join("\n") + "\n";
  await saveModel(device, { ...model, files: { ...model.files, "train_log.jsonl": log } }, o.out);
  return {
    log: result.log,
    examples: examples.length,
    steps: result.steps,
    seconds: result.seconds,
    tokensPerSecond: result.tokens / result.seconds,
    gflopPerSecond: result.flops / result.seconds / 1e9,
    hostShare: result.hostSeconds / result.seconds,
  };
}

/** Names the data, so that state of another run is never resumed by mistake. */
function digestOf(examples: readonly Example[]): string {
  const hash = createHash("sha256");
  for (const e of examples) {
    hash.update(new Uint8Array(e.ids.buffer, e.ids.byteOffset, e.ids.byteLength));
    hash.update(new Uint8Array(e.weights.buffer, e.weights.byteOffset, e.weights.byteLength));
  }
  return hash.digest("hex").slice(0, 32);
}
