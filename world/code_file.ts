// The cache of picture codes on disk: one file that grows by whole records, each named by the hash of the picture's bytes, so that work is kept
// while it goes on and a torn end is cut off. Codes stay in memory, features (1 MiB a picture at 7B) are read when they are asked for.
//   head    "WLCODES1", 32 hex digits that name the picture tokenizer
//   record  u32 bytes of codes and features, 16 bytes hash, u16 rows, u16 columns, u32 values per feature, u32 codes, f32 features, u32 crc32
import { closeSync, existsSync, fstatSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { crc32 } from "node:zlib";
import { WorldlineError } from "../engine/errors.ts";
import type { Encoded } from "../tokenizer/image.ts";
import { reasonOf } from "../weights/file_source.ts";

const magic = "WLCODES1";
const headBytes = 40;
const recordHead = 28;
/** Bytes of features that stay in memory once read. */
const kept = 256 << 20;

interface Place {
  readonly at: number;
  readonly rows: number;
  readonly columns: number;
  readonly dim: number;
  readonly codes: Uint32Array;
}

export class CodeFile {
  readonly path: string;
  private readonly name: string;
  private fd = -1;
  private readonly places = new Map<string, Place>();
  private readonly features = new Map<string, Float32Array>();
  private held = 0;
  private end = headBytes;
  private started = false;

  private constructor(path: string, name: string) {
    this.path = path;
    this.name = name;
  }

  /**
   * Opens the file of the picture tokenizer `name` (32 hex digits); it is made with the first record. A file of another one, or of another kind, is
   * started anew.
   */
  static open(path: string, name: string, mode: "read" | "write" = "write"): CodeFile {
    const file = new CodeFile(path, name);
    try {
      if (mode === "read" || existsSync(path)) file.fd = openSync(path, mode === "read" ? "r" : "a+");
    } catch (error) {
      throw new WorldlineError(`${path}: ${reasonOf(error)}`);
    }
    const known = file.fd >= 0 && file.scan();
    if (!known && mode === "read") throw new WorldlineError(`${path} is no cache of this model's picture codes; delete it`);
    return file;
  }

  /** Makes the file, or starts it anew. */
  private start(): void {
    mkdirSync(dirname(this.path), { recursive: true });
    const made = this.fd < 0 && this.create();
    // Another run may have begun the file since it was opened: what it wrote is taken up.
    for (let looks = 0; !made && looks < 5; looks++) {
      if (looks > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
      if (this.scan()) return;
      if (fstatSync(this.fd).size >= headBytes) break;
    }
    ftruncateSync(this.fd, 0);
    writeSync(this.fd, Buffer.from(magic + this.name, "latin1"));
    this.started = true;
  }

  /** Opens the file for writing; whether it was made now. */
  private create(): boolean {
    try {
      this.fd = openSync(this.path, "ax+");
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      this.fd = openSync(this.path, "a+");
      return false;
    }
  }

  /** Finds the records; false where the file is another kind's. */
  private scan(): boolean {
    const size = fstatSync(this.fd).size;
    const head = Buffer.alloc(headBytes);
    if (size < headBytes || readSync(this.fd, head, 0, headBytes, 0) < headBytes || head.toString("latin1") !== magic + this.name)
      return false;
    this.started = true;
    this.records();
    return true;
  }

  /** Takes up the whole records from `end` on. */
  private records(): void {
    const { size } = fstatSync(this.fd);
    const record = Buffer.alloc(recordHead);
    while (this.end + recordHead + 4 <= size) {
      readSync(this.fd, record, 0, recordHead, this.end);
      const bytes = record.readUInt32LE(0);
      const [rows, columns, dim] = [record.readUInt16LE(20), record.readUInt16LE(22), record.readUInt32LE(24)];
      const next = this.end + recordHead + bytes + 4;
      if (bytes !== 4 * rows * columns * (1 + dim) || next > size) break;
      const codes = new Uint32Array(rows * columns);
      readSync(this.fd, new Uint8Array(codes.buffer), 0, codes.byteLength, this.end + recordHead);
      // The last record may have been under way when the machine stopped.
      if (next === size && !this.whole(this.end, bytes)) break;
      this.places.set(record.toString("hex", 4, 20), { at: this.end + recordHead + codes.byteLength, rows, columns, dim, codes });
      this.end = next;
    }
  }

  /** Takes up what another run that shares the file has added; cuts off what is left of a record, once nobody writes at it. */
  private dropTorn(): void {
    for (let looks = 0; looks < 5; looks++) {
      if (looks > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50);
      this.records();
      if (fstatSync(this.fd).size <= this.end) return;
    }
    ftruncateSync(this.fd, this.end);
  }

  private whole(at: number, bytes: number): boolean {
    const all = Buffer.alloc(recordHead + bytes + 4);
    readSync(this.fd, all, 0, all.length, at);
    return crc32(all.subarray(0, -4)) === all.readUInt32LE(all.length - 4);
  }

  /** Codes and features by the hash (32 hex digits) of a picture's bytes. */
  get(hash: string): Encoded | undefined {
    const place = this.places.get(hash);
    if (!place) return undefined;
    const read = () => this.read(hash, place);
    return {
      codes: place.codes,
      rows: place.rows,
      columns: place.columns,
      get features() {
        return read();
      },
    };
  }

  private read(hash: string, place: Place): Float32Array {
    const known = this.features.get(hash);
    if (known) return known;
    const values = new Float32Array(place.rows * place.columns * place.dim);
    readSync(this.fd, new Uint8Array(values.buffer), 0, values.byteLength, place.at);
    this.held += values.byteLength;
    this.features.set(hash, values);
    for (const [oldest, v] of this.features) {
      if (this.held <= kept) break;
      this.features.delete(oldest);
      this.held -= v.byteLength;
    }
    return values;
  }

  /** Appends records; each is one write. */
  add(pictures: readonly { readonly hash: string; readonly encoded: Encoded }[]): void {
    try {
      if (!this.started) this.start();
      this.dropTorn();
    } catch (error) {
      throw new WorldlineError(`${this.path}: not written, ${reasonOf(error)}`);
    }
    for (const { hash, encoded: e } of pictures) {
      if (this.places.has(hash)) continue;
      const dim = e.features.length / e.codes.length;
      const bytes = 4 * e.codes.length * (1 + dim);
      const all = Buffer.alloc(recordHead + bytes + 4);
      all.writeUInt32LE(bytes, 0);
      all.write(hash, 4, "hex");
      all.writeUInt16LE(e.rows, 20);
      all.writeUInt16LE(e.columns, 22);
      all.writeUInt32LE(dim, 24);
      const body = all.subarray(recordHead);
      body.set(new Uint8Array(Uint32Array.from(e.codes).buffer), 0);
      body.set(new Uint8Array(Float32Array.from(e.features).buffer), 4 * e.codes.length);
      all.writeUInt32LE(crc32(all.subarray(0, -4)), all.length - 4);
      try {
        for (let done = 0; done < all.length; ) done += writeSync(this.fd, all, done);
      } catch (error) {
        throw new WorldlineError(`${this.path}: not written, ${reasonOf(error)}`);
      }
      // Found where it came to lie: another run may have written before it.
      this.records();
    }
  }

  close(): void {
    if (this.fd >= 0) closeSync(this.fd);
  }
}
