// Batches made ahead of the device in a worker thread: wording, tokenising, recognition weights and padding happen there, from the cache of picture
// codes. The batches are those that the main thread would make, so a run's bits do not depend on the worker.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import { WorldlineError } from "../engine/errors.ts";
import type { Batch, Shape } from "../train/data.ts";
import type { Feed, FeedOptions, OrderOptions } from "../train/order.ts";
import type { ChameleonConfig } from "../weights/names.ts";
import type { ExampleOptions, Share } from "./examples.ts";

/** What the worker is started with. Pictures are named by their hash in the cache. */
export interface WorkerInput {
  readonly cache: { readonly path: string; readonly name: string };
  readonly config: ChameleonConfig;
  readonly names: Readonly<Record<string, number>>;
  /** Text of tokenizer.json. */
  readonly tokenizer: string;
  readonly shares: readonly Share[];
  readonly examples: ExampleOptions;
  readonly order: OrderOptions;
  readonly batches: FeedOptions;
}

export type WorkerOutput =
  | { readonly kind: "ready"; readonly shapes: readonly Shape[]; readonly count: number }
  | { readonly kind: "step"; readonly step: number; readonly batches: readonly Batch[] }
  | { readonly kind: "failed"; readonly message: string };

/** Steps that are asked for ahead. */
const ahead = 4;

/** A thread does not inherit the loader that lets a checkout run from its sources, so there it is registered first. */
function startWorker(input: WorkerInput): Worker {
  if (!import.meta.url.endsWith(".ts")) return new Worker(new URL("./batch_worker.js", import.meta.url), { workerData: input });
  const url = JSON.stringify(new URL("./batch_worker.ts", import.meta.url).href);
  const path = createRequire(import.meta.url)
    .resolve("tsx/esm/api")
    .replace(/\.cjs$/, ".mjs");
  const loader = JSON.stringify(pathToFileURL(path).href);
  return new Worker(`import(${loader}).then((tsx) => { tsx.register(); return import(${url}); })`, { eval: true, workerData: input });
}

/** Starts the worker; resolves when it knows the shapes. */
export async function workerFeed(input: WorkerInput): Promise<Feed> {
  const worker = startWorker(input);
  const waiting = new Map<number, { resolve: (b: readonly Batch[]) => void; reject: (e: Error) => void }>();
  const made = new Map<number, Promise<readonly Batch[]>>();
  let failure: Error | undefined;
  const ready = new Promise<{ shapes: readonly Shape[]; count: number }>((resolve, reject) => {
    const fail = (error: Error) => {
      failure = error;
      reject(error);
      for (const w of waiting.values()) w.reject(error);
    };
    worker.on("message", (m: WorkerOutput) => {
      if (m.kind === "ready") resolve(m);
      else if (m.kind === "failed") fail(new WorldlineError(m.message));
      else waiting.get(m.step)?.resolve(m.batches);
      if (m.kind === "step") waiting.delete(m.step);
    });
    worker.on("error", fail);
    worker.on("exit", (code) => {
      if (code !== 0)
        fail(new WorldlineError(`the thread that makes batches ended with code ${code}; run with --dataloader-num-workers 0`));
    });
  });
  const ask = (step: number) => {
    if (made.has(step)) return;
    const promise = new Promise<readonly Batch[]>((resolve, reject) => {
      if (failure) reject(failure);
      else waiting.set(step, { resolve, reject });
    });
    // It is awaited later, or never where the run ends first.
    promise.catch(() => undefined);
    made.set(step, promise);
    worker.postMessage(step);
  };
  try {
    const { shapes, count } = await ready;
    return {
      shapes,
      count,
      next(step) {
        for (let i = 0; i <= ahead; i++) ask(step + i);
        const batches = made.get(step)!;
        made.delete(step);
        return batches;
      },
      close: () => void worker.terminate(),
    };
  } catch (error) {
    await worker.terminate();
    throw error;
  }
}
