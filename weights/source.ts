// Where bytes come from: a byte-range source (one file) and a folder of such files. Everything that parses weights takes these, so the
// same code reads a disk (file_source.ts), memory, a Blob, or a server that answers range requests.

import { WorldlineError } from "../engine/errors.ts";

/**
 * A readable thing of known size. `read` gives exactly the bytes [begin, end). Where `into` is given and long enough they may lie at its start,
 * so that a large file can be read through one buffer.
 */
export interface ByteSource {
  readonly size: number;
  read(begin: number, end: number, into?: Uint8Array): Promise<Uint8Array>;
  close?(): Promise<void> | void;
}

/** A named folder of sources; `open` gives null where there is no such file. */
export interface SourceFolder {
  readonly name: string;
  open(file: string): Promise<ByteSource | null>;
}

/** A source over bytes or a Blob that are already there. Reads of a Uint8Array are copies. */
export function memorySource(data: Uint8Array | Blob): ByteSource {
  if (data instanceof Uint8Array) {
    return { size: data.byteLength, read: async (begin, end) => data.slice(...checkedRange(begin, end, data.byteLength)) };
  }
  return {
    size: data.size,
    read: async (begin, end) => new Uint8Array(await data.slice(...checkedRange(begin, end, data.size)).arrayBuffer()),
  };
}

/** A folder held in memory: file name -> bytes. */
export function memoryFolder(name: string, files: Record<string, Uint8Array>): SourceFolder {
  return { name, open: async (file) => (Object.hasOwn(files, file) ? memorySource(files[file]) : null) };
}

/** Reads a whole source as UTF-8 text. Throws a WorldlineError where it is not UTF-8 or larger than 512 MB. */
export async function readText(source: ByteSource, name: string): Promise<string> {
  if (source.size > 512e6)
    throw new WorldlineError(`${name}: the file has ${source.size} bytes, text files of up to 512 MB are read; is it the right file?`);
  const bytes = await source.read(0, source.size);
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new WorldlineError(`${name}: the file is not UTF-8 text; is it the right file?`);
  }
}

/** Reads a source as one JSON object. Throws a WorldlineError where it is none. */
export async function readJsonObject(source: ByteSource, name: string): Promise<Record<string, unknown>> {
  return parseJsonObject(await readText(source, name), name);
}

/** Parses text that must hold one JSON object. */
export function parseJsonObject(text: string, name: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    const reason = error instanceof Error ? firstLine(error.message) : "";
    throw new WorldlineError(`${name}: the file is not valid JSON (${reason}); was it cut off while copying?`);
  }
  if (!isObject(value))
    throw new WorldlineError(`${name}: the file holds no JSON object, which is what belongs there; is it the right file?`);
  return value;
}

/** True for plain JSON objects, not for arrays and null. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A value for an error message: JSON, at most 80 characters. */
export function quote(value: unknown): string {
  let text: string;
  try {
    text = JSON.stringify(value) ?? String(value);
  } catch {
    text = "a value too deep to show";
  }
  return text.length > 80 ? `${text.slice(0, 77)}...` : text;
}

function checkedRange(begin: number, end: number, size: number): [number, number] {
  if (Number.isSafeInteger(begin) && Number.isSafeInteger(end) && begin >= 0 && begin <= end && end <= size) return [begin, end];
  throw new WorldlineError(`bytes ${begin} to ${end} were asked of a source of ${size} bytes; ask for a range inside it`);
}

function firstLine(text: string): string {
  const line = text.replace(/\s+/g, " ").trim();
  return line.length > 100 ? `${line.slice(0, 97)}...` : line;
}
