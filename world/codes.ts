// Picture codes and features by path, computed once: kept in a cache file by the hash of the picture's bytes and of the picture tokenizer.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import type { Encoded } from "../tokenizer/image.ts";
import { fileSource } from "../weights/file_source.ts";
import { fromFloat32, openSafetensors, saveSafetensors, toFloat32 } from "../weights/safetensors.ts";
import type { Model } from "./model.ts";
import { decodePicture } from "./pictures.ts";

/** How far a piece of work is, and a word on how it goes. */
export type Progress = (done: number, total: number, note?: string) => void;

export class CodeStore {
  private readonly model: Model;
  private readonly path: string | undefined;
  private readonly byHash = new Map<string, Encoded>();
  private readonly byPath = new Map<string, Encoded>();
  private fingerprint = "";

  private constructor(model: Model, path: string | undefined) {
    this.model = model;
    this.path = path;
  }

  /** Opens the cache at `path` (none: memory only); a cache of another picture tokenizer is started anew. */
  static async open(device: Device, model: Model, path?: string): Promise<CodeStore> {
    const store = new CodeStore(model, path);
    const { encoder, quantize } = model.vqgan;
    const parts = await device.read(quantize.embedding.weight, encoder.conv_in.weight, encoder.conv_out.weight);
    const hash = createHash("sha256");
    for (const p of parts) hash.update(new Uint8Array(p.buffer, p.byteOffset, p.byteLength));
    store.fingerprint = hash.digest("hex").slice(0, 32);
    if (path) await store.load(path).catch(() => undefined);
    return store;
  }

  /** Makes sure every picture is encoded; reads, hashes and encodes those that are new, then writes the cache. */
  async add(paths: Iterable<string>, options: { onProgress?: Progress; signal?: AbortSignal } = {}): Promise<void> {
    const missing = [...new Set(paths)].filter((p) => !this.byPath.has(p));
    const chunk = 8 * this.model.pictures.batch;
    let fresh = 0;
    for (let i = 0; i < missing.length; i += chunk) {
      options.signal?.throwIfAborted();
      const part = missing.slice(i, i + chunk);
      const files = await Promise.all(part.map(async (p) => ({ p, bytes: await readBytes(p) })));
      const unknown: { p: string; hash: string; bytes: Uint8Array }[] = [];
      for (const { p, bytes } of files) {
        const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 32);
        const known = this.byHash.get(hash);
        if (known) this.byPath.set(p, known);
        else unknown.push({ p, hash, bytes });
      }
      const pictures = await Promise.all(unknown.map((u) => decodePicture(u.bytes, u.p)));
      const encoded = pictures.length ? await this.model.pictures.encode(pictures) : [];
      unknown.forEach((u, n) => {
        this.byHash.set(u.hash, encoded[n]);
        this.byPath.set(u.p, encoded[n]);
      });
      fresh += unknown.length;
      options.onProgress?.(Math.min(missing.length, i + chunk), missing.length);
    }
    if (this.path && fresh) await this.save(this.path);
  }

  /** Codes and features of a picture that was added. */
  get(path: string): Encoded {
    const e = this.byPath.get(path);
    if (!e) throw new WorldlineError(`${path} was not added to the code store; call add first`);
    return e;
  }

  private async load(path: string): Promise<void> {
    const file = await openSafetensors(await fileSource(path), path);
    try {
      if (file.metadata.picture_tokenizer !== this.fingerprint) return;
      const [rows, columns] = [Number(file.metadata.rows), Number(file.metadata.columns)];
      const hashes = await file.read("hashes");
      const codes = await file.read("codes");
      const features = toFloat32(await file.read("features"), "F32");
      const all = new Uint32Array(codes.buffer.slice(codes.byteOffset, codes.byteOffset + codes.byteLength));
      const count = hashes.length / 16;
      const cells = rows * columns;
      const size = features.length / count;
      for (let i = 0; i < count; i++) {
        const hash = Buffer.from(hashes.subarray(i * 16, (i + 1) * 16)).toString("hex");
        this.byHash.set(hash, {
          codes: all.slice(i * cells, (i + 1) * cells),
          features: features.slice(i * size, (i + 1) * size),
          rows,
          columns,
        });
      }
    } finally {
      await file.close();
    }
  }

  private async save(path: string): Promise<void> {
    const first = this.byHash.values().next().value;
    if (!first) return;
    const { rows, columns } = first;
    const same = [...this.byHash].filter(([, e]) => e.rows === rows && e.columns === columns);
    const n = same.length;
    const hashes = new Uint8Array(Buffer.concat(same.map(([h]) => Buffer.from(h, "hex"))));
    const codes = new Uint32Array(n * rows * columns);
    const features = new Float32Array(n * first.features.length);
    same.forEach(([, e], i) => {
      codes.set(e.codes, i * rows * columns);
      features.set(e.features, i * first.features.length);
    });
    await saveSafetensors(
      path,
      [
        {
          name: "features",
          dtype: "F32",
          shape: [n, rows * columns, first.features.length / (rows * columns)],
          data: fromFloat32(features, "F32"),
        },
        { name: "codes", dtype: "U32", shape: [n, rows * columns], data: new Uint8Array(codes.buffer) },
        { name: "hashes", dtype: "U8", shape: [n, 16], data: hashes },
      ],
      { picture_tokenizer: this.fingerprint, rows: `${rows}`, columns: `${columns}` },
    );
  }
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new WorldlineError(`${path} cannot be read: ${(cause as Error).message.split(",")[0]}; check the path in the records`);
  }
}
