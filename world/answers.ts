// What a model has answered before, by the content of the question: an append-only file of JSON lines, so that a run killed at any moment goes on
// without asking anything twice. A last line that was cut off is passed over.
import { createHash } from "node:crypto";
import { appendFile, mkdir, open, readdir, readFile, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { WorldlineError } from "../engine/errors.ts";

export class AnswerStore<T> {
  private readonly path: string | undefined;
  private readonly byKey = new Map<string, T>();
  /** How many answers were there when the store was opened. */
  readonly before: number;

  private constructor(path: string | undefined, entries: readonly (readonly [string, T])[]) {
    this.path = path;
    for (const [key, answer] of entries) this.byKey.set(key, answer);
    this.before = this.byKey.size;
  }

  /** Opens the file at `path`; without one answers are kept in memory only. */
  static async open<T>(path?: string): Promise<AnswerStore<T>> {
    if (!path) return new AnswerStore<T>(undefined, []);
    const text = await readFile(path, "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "";
      throw new WorldlineError(`${path} cannot be read: ${error.message.split(",")[0]}; check the path`);
    });
    if (text && !text.endsWith("\n")) await appendFile(path, "\n");
    return new AnswerStore<T>(path, text.split("\n").flatMap(entryOf<T>));
  }

  get size(): number {
    return this.byKey.size;
  }

  get(key: string): T | undefined {
    return this.byKey.get(key);
  }

  /** Keeps answers; they are on disk when this resolves. */
  async add(entries: readonly (readonly [key: string, answer: T])[]): Promise<void> {
    const fresh = entries.filter(([key]) => !this.byKey.has(key));
    for (const [key, answer] of fresh) this.byKey.set(key, answer);
    if (!this.path || fresh.length === 0) return;
    await mkdir(dirname(this.path), { recursive: true });
    await appendFile(this.path, fresh.map(([key, answer]) => `${JSON.stringify({ key, answer })}\n`).join(""));
  }
}

function entryOf<T>(line: string): [string, T][] {
  try {
    const value = JSON.parse(line) as { key?: unknown; answer?: unknown };
    return typeof value?.key === "string" && value.answer !== undefined ? [[value.key, value.answer as T]] : [];
  } catch {
    return [];
  }
}

/** A short name of any values, numbers' bytes included. */
export function contentKey(...parts: readonly (string | Uint32Array | Float32Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) {
    const bytes = typeof part === "string" ? Buffer.from(part) : new Uint8Array(part.buffer, part.byteOffset, part.byteLength);
    hash.update(`${bytes.length} `).update(bytes);
  }
  return hash.digest("hex").slice(0, 32);
}

const [piece, pieces] = [2 ** 16, 1024];

/** Names a model folder by its content: files up to 64 MiB whole, of larger ones the size and 1024 pieces of 64 KiB, evenly over all of it. */
export async function modelKey(folder: string): Promise<string> {
  const parts: string[] = [];
  const names = await readdir(folder).catch((cause: Error) => {
    throw new WorldlineError(`${folder} cannot be read: ${cause.message.split(",")[0]}; give a model's folder or a hub id (org/name)`);
  });
  for (const name of names.sort()) {
    const path = join(folder, name);
    const info = await stat(path);
    if (!info.isFile() || !/\.(json|safetensors|txt)$/.test(name)) continue;
    const file = await open(path);
    try {
      const hash = createHash("sha256");
      const large = info.size > piece * pieces;
      const bytes = Buffer.alloc(large ? piece : info.size);
      for (let i = 0; i < (large ? pieces : 1); i++) {
        await file.read(bytes, 0, bytes.length, large ? Math.floor((i * (info.size - piece)) / (pieces - 1)) : 0);
        hash.update(bytes);
      }
      parts.push(`${name} ${info.size} ${hash.digest("hex")}`);
    } finally {
      await file.close();
    }
  }
  return contentKey(...parts);
}
