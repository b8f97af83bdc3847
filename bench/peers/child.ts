// One engine in a process of its own: `child.ts <engine> <peers' folder>`. It is told a case, checks its result, then takes a turn for every
// word "run" and answers with the milliseconds of one computation. navigator.gpu is put in place here, where it can disturb nobody else.
import { openGPU } from "../../engine/host_node.ts";
import { processorTime } from "../machine.ts";
import { median } from "../statistics.ts";
import { dataOf, errorOf, expected, peerCases } from "./cases.ts";
import type { Engine, OpenEngine, Ready } from "./engine.ts";
import * as gpujs from "./gpujs.ts";
import * as jax from "./jax.ts";
import * as onnx from "./onnx.ts";
import * as tfjs from "./tfjs.ts";
import * as worldline from "./worldline.ts";

export const engines: Readonly<Record<string, OpenEngine>> = {
  worldline: worldline.open,
  "tensorflow.js": tfjs.open,
  "onnxruntime-web": onnx.openWeb,
  "onnxruntime-node": onnx.openNode,
  "jax-js": jax.open,
  "gpu.js": gpujs.open,
  "jax-js wasm": jax.openWasm,
};

export type Word = { readonly prepare: string } | "run" | "end";
export type Answer =
  | { readonly opened: string; readonly note?: string }
  | {
      readonly prepared: true;
      readonly error: number;
      readonly first: number;
      readonly way: string;
      readonly tried: readonly string[];
      readonly losses?: readonly number[];
    }
  | { readonly ms: number; readonly cpu: number }
  | { readonly failed: string };

const answer = (a: Answer) => void process.send?.(a);

/** Node has no navigator.gpu, by which browser libraries find WebGPU. */
async function shim(): Promise<void> {
  const { gpu } = await openGPU();
  const place = (globalThis as { navigator?: object }).navigator ?? {};
  Object.defineProperty(place, "gpu", { value: gpu, configurable: true });
  if (!("userAgent" in place)) Object.defineProperty(place, "userAgent", { value: "Node.js", configurable: true });
  Object.defineProperty(globalThis, "navigator", { value: place, configurable: true, writable: true });
}

async function prepare(engine: Engine, name: string): Promise<[Ready, Answer]> {
  const c = peerCases.find((p) => p.name === name)!;
  const data = dataOf(c);
  const want = expected(c, data);
  const tried: string[] = [];
  for (const way of engine.ways?.(c) ?? [""]) {
    const begin = performance.now();
    const ready = await engine.prepare(c, data, way);
    if (!ready) throw new Error("it does not offer this");
    await ready.run();
    const first = performance.now() - begin;
    const got = await ready.result();
    const error = errorOf(got, want);
    if (error <= (c.halfSums ?? c.tolerance)) {
      const how = error <= c.tolerance ? way : [way, "an error as of sums in f16"].filter(Boolean).join(", ");
      return [ready, { prepared: true, error, first, way: how, tried, ...(c.work.op === "training" ? { losses: Array.from(got) } : {}) }];
    }
    tried.push(`${way || "its result"} is wrong: error ${error.toExponential(1)}`);
  }
  throw new Error(tried.join("; "));
}

const WARM_MS = 50;
const COUNTED_MS = 150;

/**
 * Computations for 50 ms that are not counted, then those of 150 ms, one at least of each, every one waited for: the others' turns were a pause, after
 * which the driver's threads wake late and the caches are cold for some ten short computations of any engine.
 */
async function turn(ready: Ready): Promise<Answer> {
  const arrived = performance.now();
  do await ready.run();
  while (performance.now() - arrived < WARM_MS);
  const times: number[] = [];
  const [begin, spent] = [performance.now(), processorTime()];
  do {
    const start = performance.now();
    await ready.run();
    times.push(performance.now() - start);
  } while (performance.now() - begin < COUNTED_MS);
  return { ms: median(times), cpu: (processorTime() - spent) / 1000 / times.length };
}

async function main(name: string, folder: string): Promise<void> {
  if (name !== "worldline" && name !== "onnxruntime-node") await shim();
  const engine = await engines[name](folder);
  answer({ opened: engine.version, note: engine.note });
  let ready: Ready | undefined;
  const hear = async (word: Word): Promise<void> => {
    if (word === "end") process.exit();
    if (word === "run") return answer(await turn(ready!));
    const [next, said] = await prepare(engine, word.prepare);
    ready = next;
    answer(said);
  };
  process.on("message", (word: Word) => void hear(word).catch((cause: Error) => answer({ failed: cause.message.split("\n")[0] })));
}

if (process.send) main(process.argv[2], process.argv[3]).catch((cause: Error) => answer({ failed: cause.message.split("\n")[0] }));
