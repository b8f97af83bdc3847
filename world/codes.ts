// Picture codes and features by path, computed once: kept in a cache file (world/code_file.ts) by the hash of the picture's bytes.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import type { Encoded } from "../tokenizer/image.ts";
import { CodeFile } from "./code_file.ts";
import type { Model } from "./model.ts";
import { decodePicture } from "./pictures.ts";

/** How far a piece of work is, and a word on how it goes. */
export type Progress = (done: number, total: number, note?: string) => void;

/** Codes and features of pictures by path. */
export interface Codes {
  get(path: string): Encoded;
}

export class CodeStore implements Codes {
  private readonly model: Model;
  private readonly memory = new Map<string, Encoded>();
  private readonly hashes = new Map<string, string>();
  private readonly file: CodeFile | undefined;
  /** Names the picture tokenizer. */
  readonly name: string;

  private readonly features: boolean;

  private constructor(model: Model, name: string, file: CodeFile | undefined, features: boolean) {
    this.features = features;
    this.model = model;
    this.name = name;
    this.file = file;
  }

  /**
   * Opens the cache at `path` (none: memory only, without features where these are not wanted: a MiB a picture at Chameleon's size); a cache of another
   * picture tokenizer is started anew.
   */
  static async open(device: Device, model: Model, path?: string, features = true): Promise<CodeStore> {
    const { encoder, quantize } = model.vqgan;
    const parts = await device.read(quantize.embedding.weight, encoder.conv_in.weight, encoder.conv_out.weight);
    const hash = createHash("sha256").update(JSON.stringify(model.pixels));
    for (const p of parts) hash.update(new Uint8Array(p.buffer, p.byteOffset, p.byteLength));
    const name = hash.digest("hex").slice(0, 32);
    return new CodeStore(model, name, path === undefined ? undefined : CodeFile.open(path, name), features);
  }

  /** The cache file, where there is one. */
  get path(): string | undefined {
    return this.file?.path;
  }

  /** Makes sure every picture is encoded; reads, hashes and encodes those that are new, and keeps them as it goes. */
  async add(paths: Iterable<string>, options: { onProgress?: Progress; signal?: AbortSignal } = {}): Promise<void> {
    const missing = [...new Set(paths)].filter((p) => !this.hashes.has(p));
    const chunk = 8 * this.model.pictures.batch;
    for (let i = 0; i < missing.length; i += chunk) {
      options.signal?.throwIfAborted();
      const part = missing.slice(i, i + chunk);
      const files = await Promise.all(part.map(async (p) => ({ p, bytes: await readBytes(p) })));
      const unknown = new Map<string, { p: string; bytes: Uint8Array }>();
      for (const { p, bytes } of files) {
        const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 32);
        this.hashes.set(p, hash);
        if (!this.find(hash)) unknown.set(hash, { p, bytes });
      }
      await this.encode(unknown).catch((cause: unknown) => {
        for (const p of part) this.hashes.delete(p);
        throw cause;
      });
      options.onProgress?.(Math.min(missing.length, i + chunk), missing.length);
    }
  }

  private async encode(unknown: ReadonlyMap<string, { p: string; bytes: Uint8Array }>): Promise<void> {
    if (unknown.size === 0) return;
    const pictures = await Promise.all([...unknown.values()].map((u) => decodePicture(u.bytes, u.p)));
    const encoded = await this.model.pictures.encode(pictures);
    const fresh = [...unknown.keys()].map((hash, i) => ({ hash, encoded: encoded[i] }));
    if (this.file) this.file.add(fresh);
    else for (const f of fresh) this.memory.set(f.hash, this.features ? f.encoded : { ...f.encoded, features: new Float32Array(0) });
  }

  private find(hash: string): Encoded | undefined {
    return this.file ? this.file.get(hash) : this.memory.get(hash);
  }

  /** The hash of a picture that was added, by which the cache file knows it. */
  hash(path: string): string {
    const hash = this.hashes.get(path);
    if (!hash) throw new WorldlineError(`${path} was not added to the code store; call add first`);
    return hash;
  }

  /** Codes and features of a picture that was added. */
  get(path: string): Encoded {
    return this.find(this.hash(path))!;
  }
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new WorldlineError(`${path} cannot be read: ${(cause as Error).message.split(",")[0]}; check the path in the records`);
  }
}
