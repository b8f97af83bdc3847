// The worker's half of world/batch_feed.ts: makes the batches of a run from the code cache, one step after another, ahead of the device.
import { parentPort, workerData } from "node:worker_threads";
import { parseTokenizer } from "../tokenizer/text.ts";
import { vocabOf } from "../tokenizer/vocab.ts";
import { batchesOf, shuffled } from "../train/order.ts";
import type { WorkerInput, WorkerOutput } from "./batch_feed.ts";
import { CodeFile } from "./code_file.ts";
import { tripletSet } from "./examples.ts";

const input = workerData as WorkerInput;
const port = parentPort!;
const say = (message: WorkerOutput, transfer: ArrayBuffer[] = []) => port.postMessage(message, transfer);

try {
  const file = CodeFile.open(input.cache.path, input.cache.name, "read");
  const codes = { get: (hash: string) => file.get(hash)! };
  const coder = { vocab: vocabOf(input.config, input.names), tokenizer: parseTokenizer(input.tokenizer) };
  const set = tripletSet(coder, codes, input.shares, input.examples);
  const source = shuffled(set, input.examples.seed, input.order);
  say({ kind: "ready", shapes: source.shapes, count: source.count });
  port.on("message", (step: number) => {
    try {
      const batches = batchesOf(source, step, input.batches);
      const arrays = batches.flatMap((b) => [b.ids, b.rows, b.targets, b.weights].map((a) => a.buffer as ArrayBuffer));
      say({ kind: "step", step, batches }, arrays);
    } catch (error) {
      say({ kind: "failed", message: (error as Error).message });
    }
  });
} catch (error) {
  say({ kind: "failed", message: (error as Error).message });
}
