// Row bands of pictures and matrices that are larger than one binding: views of the same bytes, each of which a launch can bind.
import { WorldlineError } from "../errors.ts";
import type { Tape } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/** Rows first ... first + count - 1. */
export interface Band {
  readonly first: number;
  readonly count: number;
}

/** Whether one of the tensors is too large to bind whole. */
export function banded(tape: Tape, ...tensors: (Tensor | undefined)[]): boolean {
  return tensors.some((t) => t !== undefined && t.bytes > tape.device.bindingBytes);
}

/**
 * `rows` rows cut into bands of which every tensor with `rowBytes` bytes a row (times `scale` where it has so many rows for each) fits a binding, with
 * `halo` rows more. Bands begin at multiples of `step` and where every tensor's bytes may be bound, `shift` rows after such a place.
 */
export function bands(
  tape: Tape,
  name: string,
  rows: number,
  rowBytes: readonly number[],
  { step = 1, halo = 0, shift = 0 }: { step?: number; halo?: number; shift?: number } = {},
): Band[] {
  const { device } = tape;
  const aligned = device.raw.limits.minStorageBufferOffsetAlignment;
  let unit = step;
  while (rowBytes.some((bytes) => (bytes * unit) % aligned !== 0)) unit += step;
  const most = Math.floor(device.bindingBytes / Math.max(...rowBytes)) - halo;
  const count = Math.floor(most / unit) * unit;
  if (count <= 0)
    throw new WorldlineError(
      `${name}: not even ${unit + halo} rows of ${Math.max(...rowBytes)} bytes fit a binding of ${device.bindingBytes}; use a narrower picture`,
    );
  const list: Band[] = [];
  for (let first = 0; first < rows; ) {
    const next = Math.min(rows, first === 0 ? count + shift : first + count);
    list.push({ first, count: next - first });
    first = next;
  }
  return list;
}

/** Refuses what bands cannot do. */
export function checkBanded(tape: Tape, name: string, x: Tensor, pictures: number): void {
  const hint = `${name}: ${x.name} (${x.shape.join(", ")}) is larger than one binding of ${tape.device.bindingBytes} bytes`;
  if (pictures > 1) throw new WorldlineError(`${hint}; run one picture at a time`);
  if (tape.training) throw new WorldlineError(`${hint}, which training cannot split; use smaller pictures`);
}
