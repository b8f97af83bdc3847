// ONNX models through ONNX Runtime: onnxruntime-node where it is installed (native speed), else onnxruntime-web (WebAssembly); both are optional. A model
// is a file of a folder in the layout of the Hugging Face hub; what it takes and gives is checked by name and shape.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import type { InferenceSession, Tensor } from "onnxruntime-web";
import { WorldlineError } from "../../engine/errors.ts";
import { parseJsonObject } from "../../weights/source.ts";

/** Something that a metric needs is not there at all, so that the metric is left out; anything wrong with what is there is another error. */
export class AbsentError extends WorldlineError {}

/** Values with their shape. Whole numbers are token ids and masks. */
export type OnnxInput =
  | { readonly shape: readonly number[]; readonly floats: Float32Array }
  | { readonly shape: readonly number[]; readonly ints: ArrayLike<number> };

/** An output: values row by row. */
export interface OnnxOutput {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A model that is ready to run. */
export interface OnnxModel {
  /** The file, to open messages with. */
  readonly where: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Runs once and gives one output. Calls wait for each other. Throws a sentence where the model refuses the values or the output has another rank. */
  run(feeds: Readonly<Record<string, OnnxInput>>, output: string, rank: number): Promise<OnnxOutput>;
  /** A digest of the file, for the names of results. */
  digest(): Promise<string>;
}

interface Runtime {
  readonly name: "onnxruntime-node" | "onnxruntime-web";
  readonly ort: typeof import("onnxruntime-web");
}

let runtime: Promise<Runtime> | undefined;

/** The runtime, and which it is. Throws an AbsentError where neither package is installed. */
export function onnxRuntime(): Promise<Runtime> {
  runtime ??= loadRuntime();
  return runtime;
}

async function loadRuntime(): Promise<Runtime> {
  const native = await import("onnxruntime-node").catch(() => null);
  if (native) return { name: "onnxruntime-node", ort: native };
  const web = await import("onnxruntime-web").catch(() => null);
  if (!web)
    throw new AbsentError("ONNX models need ONNX Runtime: npm install onnxruntime-node (fast) or onnxruntime-web (runs everywhere)");
  web.env.wasm.numThreads = Math.min(8, availableParallelism());
  web.env.logLevel = "error";
  return { name: "onnxruntime-web", ort: web };
}

/** Opens `file` of a model folder. Throws a sentence where the runtime cannot read it. */
export async function openOnnx(folder: string, file: string): Promise<OnnxModel> {
  const { ort, name } = await onnxRuntime();
  const where = join(folder, file);
  const beside = `${where}_data`;
  const external = name === "onnxruntime-web" && (await stat(beside).catch(() => null)) !== null;
  const options: InferenceSession.SessionOptions = {
    executionProviders: [name === "onnxruntime-web" ? "wasm" : "cpu"],
    logSeverityLevel: 3,
    ...(external && { externalData: [{ path: basename(beside), data: await readFile(beside) }] }),
  };
  let session: InferenceSession;
  try {
    session =
      name === "onnxruntime-web"
        ? await ort.InferenceSession.create(await readFile(where), options)
        : await ort.InferenceSession.create(where, options);
  } catch (error) {
    throw new WorldlineError(`${where}: ONNX Runtime cannot read it (${short(error)}); is the file whole, and an ONNX model?`);
  }
  let before: Promise<unknown> = Promise.resolve();
  return {
    where,
    inputs: session.inputNames,
    outputs: session.outputNames,
    run: (feeds, output, rank) => {
      const now = before.then(() => runOnce(ort, session, where, feeds, output, rank));
      before = now.catch(() => undefined);
      return now;
    },
    digest: () => digestOf(where),
  };
}

async function runOnce(
  ort: Runtime["ort"],
  session: InferenceSession,
  where: string,
  feeds: Readonly<Record<string, OnnxInput>>,
  output: string,
  rank: number,
): Promise<OnnxOutput> {
  const tensors: Record<string, Tensor> = {};
  for (const meta of session.inputMetadata) {
    const given = feeds[meta.name];
    if (!given) throw new WorldlineError(`${where}: the model wants ${meta.name}, which is not known here; export it without`);
    const type = meta.isTensor ? meta.type : "no tensor";
    const fits = "floats" in given ? type === "float32" : type === "int64" || type === "int32";
    if (!fits)
      throw new WorldlineError(
        `${where}: ${meta.name} is ${type}, ${"floats" in given ? "float32" : "int64"} is needed; take the export in full precision`,
      );
    const shape = [...given.shape];
    if ("floats" in given) tensors[meta.name] = new ort.Tensor("float32", given.floats, shape);
    else if (type === "int32") tensors[meta.name] = new ort.Tensor("int32", Int32Array.from(given.ints), shape);
    else tensors[meta.name] = new ort.Tensor("int64", BigInt64Array.from(Array.from(given.ints, BigInt)), shape);
  }
  let result: Tensor;
  try {
    result = (await session.run(tensors, [output]))[output];
  } catch (error) {
    const shapes = Object.entries(feeds).map(([name, { shape }]) => `${name} (${shape.join(", ")})`);
    throw new WorldlineError(`${where}: the model does not take ${shapes.join(", ")}: ${short(error)}; do its config files belong to it?`);
  }
  if (result.type !== "float32" || result.dims.length !== rank)
    throw new WorldlineError(
      `${where}: ${output} is ${result.type} of shape (${result.dims.join(", ")}); float32 with ${rank} dimensions is needed, is this the right model?`,
    );
  return { shape: result.dims, data: result.data as Float32Array };
}

/** The first of `names` among the model's outputs. Throws a sentence that lists what there is. */
export function outputOf(model: OnnxModel, names: readonly string[], what: string): string {
  const found = names.find((name) => model.outputs.includes(name));
  if (found !== undefined) return found;
  throw new WorldlineError(
    `${model.where}: no output is called ${names.join(" or ")}, there are ${model.outputs.join(", ")}; ${what} is needed`,
  );
}

/** A JSON file of a model folder; undefined where `optional` and not there. */
export async function folderJson(folder: string, file: string): Promise<Record<string, unknown>>;
export async function folderJson(folder: string, file: string, optional: true): Promise<Record<string, unknown> | undefined>;
export async function folderJson(folder: string, file: string, optional = false): Promise<Record<string, unknown> | undefined> {
  const path = join(folder, file);
  const text = await readFile(path, "utf8").catch(() => undefined);
  if (text !== undefined) return parseJsonObject(text, path);
  if (optional) return undefined;
  throw new WorldlineError(`${path} cannot be read; a folder in the hub's layout is needed, with ${file} beside the ONNX files`);
}

/** Rows of `size` values scaled to length 1, in place. Throws where a value is no finite number. */
export function unitRows(data: Float32Array, size: number, where: string): Float32Array {
  for (let row = 0; row < data.length; row += size) {
    let sum = 0;
    for (let i = row; i < row + size; i++) sum += data[i] * data[i];
    if (!Number.isFinite(sum))
      throw new WorldlineError(`${where}: the model gives values that are no numbers; take the export in full precision`);
    const scale = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let i = row; i < row + size; i++) data[i] *= scale;
  }
  return data;
}

/** Cosine of two vectors, -1 ... 1; 0 where one of them is zero. */
export function cosine(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length || a.length === 0)
    throw new WorldlineError(`cosine: vectors of ${a.length} and ${b.length} values were given; both need the same size, 1 or more`);
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa > 0 && bb > 0 ? Math.max(-1, Math.min(1, ab / Math.sqrt(aa * bb))) : 0;
}

async function digestOf(path: string): Promise<string> {
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
  return hash.digest("hex").slice(0, 16);
}

const short = (error: unknown) =>
  String(error instanceof Error ? error.message : error)
    .replace(/\s+/g, " ")
    .slice(0, 160);
