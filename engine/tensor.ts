// A tensor: shape, dtype, name and where its bytes are. Always contiguous and row-major. An activation belongs to a tape and gets its
// memory when the tape becomes a plan; a parameter or cache has memory from the start and belongs to no tape.
import { type DType, storedBytes } from "../kernels/kernel.ts";
import { WorldlineError } from "./errors.ts";
import type { Tape } from "./tape.ts";

/** How a trained weight may be stored: bf16 and f16 are updated on f32 masters (engine/optim.ts). */
export const trainableTypes: ReadonlySet<DType> = new Set<DType>(["f32", "bf16", "f16"]);

/** A range of a GPU buffer. */
export interface Storage {
  readonly buffer: GPUBuffer;
  readonly offset: number;
}

/** Rows from `first` on of a matrix, as a tensor of their own that shares its bytes. */
export interface RowRange {
  readonly first: number;
  readonly tensor: Tensor;
}

/** What int8 and int4 values need to become numbers: a scale for every 2^group neighbours of a row, (rows, groups). */
export interface Quantized {
  readonly scales: Tensor;
  readonly group: number;
}

export type TypedArray = Float32Array | Uint32Array | Uint16Array;

export class Tensor {
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly name: string;
  /** Absent for activations until their tape is planned. */
  readonly storage: Storage | undefined;
  private readonly owner: Tape | undefined;
  /** The tensor whose bytes these are (a reshape), or this one. */
  readonly root: Tensor;
  /** Where an activation's bytes begin in those of its root. */
  readonly begin: number;
  /** Scales of int8 and int4. */
  readonly quantized: Quantized | undefined;
  /** Whether an optimizer may change it; only for tensors with storage. */
  trainable = false;

  constructor(
    shape: readonly number[],
    dtype: DType,
    name: string,
    place: { storage?: Storage; tape?: Tape; root?: Tensor; begin?: number; quantized?: Quantized },
  ) {
    for (const n of shape) {
      if (!Number.isInteger(n) || n < 1)
        throw new WorldlineError(`tensor ${name}: shape (${shape.join(", ")}) needs whole numbers of at least 1`);
    }
    this.shape = shape;
    this.dtype = dtype;
    this.name = name;
    this.storage = place.storage;
    this.owner = place.tape;
    this.quantized = place.quantized;
    this.root = place.root?.root ?? this;
    this.begin = place.begin ?? 0;
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((a, b) => a * b, 1);
  }

  /** Bytes of the values, without scales. */
  get bytes(): number {
    return storedBytes(this.shape, this.dtype);
  }

  /** The tape that records this activation. */
  get tape(): Tape {
    if (!this.owner) throw new WorldlineError(`tensor ${this.name} is a stored tensor and belongs to no tape; pass an activation first`);
    return this.owner;
  }

  get isActivation(): boolean {
    return this.owner !== undefined;
  }

  /** The same bytes under another shape of equal size. */
  reshape(...shape: number[]): Tensor {
    if (shape.reduce((a, b) => a * b, 1) !== this.size) {
      throw new WorldlineError(
        `reshape: ${this.name} (${this.shape.join(", ")}) has ${this.size} values, (${shape.join(", ")}) needs another number`,
      );
    }
    const { dtype, name, storage, owner, begin, quantized } = this;
    const t = new Tensor(shape, dtype, name, { storage, tape: owner, root: this, begin, quantized });
    t.trainable = this.trainable;
    return t;
  }

  /** Rows first ... first + count - 1 of a matrix. To be bound they must begin at a multiple of the adapter's offset alignment, 256 bytes or less. */
  rows(first: number, count: number): Tensor {
    const { dtype, name, storage, owner, quantized } = this;
    const from = (this.bytes / this.shape[0]) * first;
    const at = storage && { buffer: storage.buffer, offset: storage.offset + from };
    const t = new Tensor([count, ...this.shape.slice(1)], dtype, name, {
      storage: at,
      tape: owner,
      root: this,
      begin: this.begin + from,
      ...(quantized ? { quantized: { scales: quantized.scales.rows(first, count), group: quantized.group } } : {}),
    });
    t.trainable = this.trainable;
    return t;
  }
}

/** Splits a shape into rows and the last dimension. */
export function rowsOf(t: Tensor): [rows: number, columns: number] {
  const columns = t.shape[t.shape.length - 1];
  return [t.size / columns, columns];
}

const scratchF32 = new Float32Array(1);
const scratchU32 = new Uint32Array(scratchF32.buffer);

/** Rounds to the nearest half-precision number and returns its 16 bits. */
export function toHalf(value: number): number {
  scratchF32[0] = value;
  const x = scratchU32[0];
  const sign = (x >>> 16) & 0x8000;
  const e = (x >>> 23) & 0xff;
  const m = x & 0x7fffff;
  if (e === 255) return sign | 0x7c00 | (m ? 0x200 : 0);
  const exponent = e - 112;
  if (exponent >= 31) return sign | 0x7c00;
  if (exponent <= 0) {
    if (exponent < -10) return sign;
    const full = m | 0x800000;
    const shift = 14 - exponent;
    const half = full >>> shift;
    const rest = full & ((1 << shift) - 1);
    const tie = 1 << (shift - 1);
    return sign | (half + (rest > tie || (rest === tie && half & 1) ? 1 : 0));
  }
  const half = (exponent << 10) | (m >>> 13);
  const rest = m & 0x1fff;
  return sign | (half + (rest > 0x1000 || (rest === 0x1000 && half & 1) ? 1 : 0));
}

/** The number that 16 half-precision bits stand for. */
export function fromHalf(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const e = (bits >>> 10) & 31;
  const m = bits & 0x3ff;
  if (e === 0) return sign * m * 2 ** -24;
  if (e === 31) return m ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + m / 1024) * 2 ** (e - 15);
}

/** Rounds to the nearest bfloat16 (ties to even, NaN kept) and returns its 16 bits. */
export function toBfloat(value: number): number {
  scratchF32[0] = value;
  const x = scratchU32[0];
  if ((x & 0x7fffffff) > 0x7f800000) return (x >>> 16) | 0x40;
  return ((x + 0x7fff + ((x >>> 16) & 1)) >>> 16) & 0xffff;
}

/** The number that 16 bfloat16 bits stand for. */
export function fromBfloat(bits: number): number {
  scratchU32[0] = bits << 16;
  return scratchF32[0];
}

/** Host numbers as the bytes of a dtype. f16 and bf16 take a Float32Array (rounded) or raw bits as Uint16Array. */
export function encode(data: TypedArray, dtype: DType): Float32Array | Uint32Array | Uint16Array {
  if (dtype === "u32") return data instanceof Uint32Array ? data : Uint32Array.from(data);
  if (dtype === "f32") return data instanceof Float32Array ? data : Float32Array.from(data);
  if (dtype === "int8" || dtype === "int4")
    throw new WorldlineError(`numbers cannot be written as ${dtype} without their scales; quantise them and upload both`);
  return data instanceof Uint16Array ? data : Uint16Array.from(data, dtype === "f16" ? toHalf : toBfloat);
}

/** Bytes of a dtype as host numbers; f16 and bf16 are widened. */
export function decode(bytes: ArrayBuffer, dtype: DType, size: number): Float32Array | Uint32Array {
  if (dtype === "u32") return new Uint32Array(bytes, 0, size);
  if (dtype === "f32") return new Float32Array(bytes, 0, size);
  if (dtype === "int8" || dtype === "int4")
    throw new WorldlineError(`${dtype} values are not numbers without their scales; read them from the checkpoint instead`);
  return Float32Array.from(new Uint16Array(bytes, 0, size), dtype === "f16" ? fromHalf : fromBfloat);
}
