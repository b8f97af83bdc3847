// Reference answers of one folder, and what a comparison with them gives. Every tensor that is asked for is noted, so that the command can name
// the answers which nothing was compared with.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../../engine/device.ts";
import { WorldlineError } from "../../engine/errors.ts";
import { fileSource } from "../../weights/file_source.ts";
import { openSafetensors, toFloat32, toIntegers } from "../../weights/safetensors.ts";

/** One comparison: within its limit, or not. */
export interface Row {
  readonly quantity: string;
  readonly error: number;
  /** Infinity for what MANIFEST.md gives for information only. */
  readonly limit: number;
}

/** What every subject gets: a model folder and the answers in its expected/. */
export interface Case {
  readonly device: Device;
  readonly folder: string;
  readonly answers: Answers;
}

/** Compares one part of a folder; gives nothing where the folder has no answers for it. */
export type Subject = (given: Case) => Promise<Row[]>;

export interface Golden {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** The tensors of one file by name; asking for one notes it as compared. */
export class AnswerFile {
  readonly name: string;
  private readonly tensors: ReadonlyMap<string, Golden>;
  readonly asked = new Set<string>();

  constructor(name: string, tensors: ReadonlyMap<string, Golden>) {
    this.name = name;
    this.tensors = tensors;
  }

  get names(): string[] {
    return [...this.tensors.keys()];
  }

  has(name: string): boolean {
    return this.tensors.has(name);
  }

  get(name: string): Golden {
    const t = this.tensors.get(name);
    if (!t) throw new WorldlineError(`${this.name} has no tensor ${name}; MANIFEST.md says what a folder of answers holds`);
    this.asked.add(name);
    return t;
  }
}

/** The answers of one folder. */
export class Answers {
  readonly folder: string;
  private readonly opened = new Map<string, Promise<AnswerFile>>();

  constructor(folder: string) {
    this.folder = folder;
  }

  has(file: string): Promise<boolean> {
    return isFile(join(this.folder, file));
  }

  async json<T>(file: string): Promise<T> {
    return JSON.parse(await readFile(join(this.folder, file), "utf8")) as T;
  }

  /** A safetensors file with every tensor as numbers. */
  file(name: string): Promise<AnswerFile> {
    let opened = this.opened.get(name);
    if (!opened) this.opened.set(name, (opened = readAnswers(join(this.folder, name), name)));
    return opened;
  }

  /** Tensors of the folder's safetensors files that nothing asked for. */
  async unasked(): Promise<string[]> {
    const files = (await readdir(this.folder).catch(() => [])).filter((name) => name.endsWith(".safetensors")).sort();
    const out: string[] = [];
    for (const name of files) {
      const opened = this.opened.get(name);
      if (!opened) out.push(name);
      else for (const tensor of (await opened).names) if (!(await opened).asked.has(tensor)) out.push(`${name}: ${tensor}`);
    }
    return out;
  }
}

async function readAnswers(path: string, name: string): Promise<AnswerFile> {
  const file = await openSafetensors(await fileSource(path), name);
  const tensors = new Map<string, Golden>();
  for (const [tensor, { dtype, shape }] of file.tensors) {
    const bytes = await file.read(tensor);
    const values = dtype === "F64" ? f64(bytes) : /^F|^BF/.test(dtype) ? toFloat32(bytes, dtype) : toIntegers(bytes, dtype);
    tensors.set(tensor, { shape, data: Float64Array.from(values as ArrayLike<number>) });
  }
  await file.close();
  return new AnswerFile(name, tensors);
}

function f64(bytes: Uint8Array): Float64Array {
  return new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength) as ArrayBuffer);
}

export function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    (s) => s.isFile(),
    () => false,
  );
}

/** The largest absolute difference; infinite where the numbers of values differ or one is NaN. */
export function largest(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const d = Math.abs(got[i] - want[i]);
    if (!(d <= worst)) worst = Number.isNaN(d) ? Number.POSITIVE_INFINITY : d;
  }
  return worst;
}

/** How many values differ; infinite where their numbers do. */
export function unequal(got: ArrayLike<unknown>, want: ArrayLike<unknown>): number {
  if (got.length !== want.length) return Number.POSITIVE_INFINITY;
  let count = 0;
  for (let i = 0; i < want.length; i++) if (got[i] !== want[i]) count++;
  return count;
}

/** Euclidean length. */
export const norm = (a: ArrayLike<number>): number => Math.sqrt(Array.from(a).reduce((s, v) => s + v * v, 0));
