// A tensor: shape, dtype, name and where its bytes are. Always contiguous and row-major. An activation belongs to a tape and gets its
// memory when the tape becomes a plan; a parameter or cache has memory from the start and belongs to no tape.
import { type DType, dtypeBytes } from "../kernels/kernel.ts";
import { WorldlineError } from "./errors.ts";
import type { Tape } from "./tape.ts";

/** A range of a GPU buffer. */
export interface Storage {
  readonly buffer: GPUBuffer;
  readonly offset: number;
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
  /** Whether an optimizer may change it; only for tensors with storage. */
  trainable = false;

  constructor(shape: readonly number[], dtype: DType, name: string, place: { storage?: Storage; tape?: Tape; root?: Tensor }) {
    for (const n of shape) {
      if (!Number.isInteger(n) || n < 1)
        throw new WorldlineError(`tensor ${name}: shape (${shape.join(", ")}) needs whole numbers of at least 1`);
    }
    this.shape = shape;
    this.dtype = dtype;
    this.name = name;
    this.storage = place.storage;
    this.owner = place.tape;
    this.root = place.root?.root ?? this;
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((a, b) => a * b, 1);
  }

  get bytes(): number {
    return this.size * dtypeBytes[this.dtype];
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
    const t = new Tensor(shape, this.dtype, this.name, { storage: this.storage, tape: this.owner, root: this });
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

/** Host numbers as the bytes of a dtype. f16 takes a Float32Array (rounded) or raw bits as Uint16Array. */
export function encode(data: TypedArray, dtype: DType): Float32Array | Uint32Array | Uint16Array {
  if (dtype === "u32") return data instanceof Uint32Array ? data : Uint32Array.from(data);
  if (dtype === "f32") return data instanceof Float32Array ? data : Float32Array.from(data);
  return data instanceof Uint16Array ? data : Uint16Array.from(data, toHalf);
}

/** Bytes of a dtype as host numbers; f16 is widened. */
export function decode(bytes: ArrayBuffer, dtype: DType, size: number): Float32Array | Uint32Array {
  if (dtype === "u32") return new Uint32Array(bytes, 0, size);
  if (dtype === "f32") return new Float32Array(bytes, 0, size);
  return Float32Array.from(new Uint16Array(bytes, 0, size), fromHalf);
}
