// TensorBoard event files: TFRecord framing (length, masked CRC-32C of it, data, masked CRC-32C of that) around protobuf Event messages with scalars
// and PNG images. Source: tensorflow/core/lib/io/record_writer, util/event.proto, framework/summary.proto. Only bytes are made here.

/** One value under a tag. */
export type SummaryValue =
  | { readonly tag: string; readonly scalar: number }
  | { readonly tag: string; readonly png: Uint8Array; readonly width: number; readonly height: number };

const table = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? (c >>> 1) ^ 0x82f63b78 : c >>> 1;
  return c;
});

/** CRC-32C (Castagnoli). */
export function crc32c(bytes: Uint8Array): number {
  let c = 0xffffffff;
  for (const b of bytes) c = table[(c ^ b) & 0xff] ^ (c >>> 8);
  return (c ^ 0xffffffff) >>> 0;
}

const masked = (bytes: Uint8Array): number => {
  const c = crc32c(bytes);
  return (((c >>> 15) | (c << 17)) + 0xa282ead8) >>> 0;
};

/** A record of an event file. */
export function frame(data: Uint8Array): Uint8Array {
  const out = new Uint8Array(16 + data.length);
  const view = new DataView(out.buffer);
  view.setBigUint64(0, BigInt(data.length), true);
  view.setUint32(8, masked(out.subarray(0, 8)), true);
  out.set(data, 12);
  view.setUint32(12 + data.length, masked(data), true);
  return out;
}

/** The first record of a file. */
export function fileVersion(wallTime: number): Uint8Array {
  return frame(concat(double(1, wallTime), bytesField(3, new TextEncoder().encode("brain.Event:2"))));
}

/** A record with the values of one step. `wallTime` in seconds. */
export function event(wallTime: number, step: number, values: readonly SummaryValue[]): Uint8Array {
  const summary = values.map((v) => bytesField(1, concat(bytesField(1, new TextEncoder().encode(v.tag)), imageOrScalar(v))));
  return frame(concat(double(1, wallTime), varintField(2, step), bytesField(5, concat(...summary))));
}

function imageOrScalar(v: SummaryValue): Uint8Array {
  if ("scalar" in v) return float(2, v.scalar);
  return bytesField(4, concat(varintField(1, v.height), varintField(2, v.width), varintField(3, 3), bytesField(4, v.png)));
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((a, p) => a + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
}

function varint(value: number): number[] {
  const out: number[] = [];
  let v = value;
  for (; v > 127; v = Math.floor(v / 128)) out.push((v % 128) + 128);
  out.push(v);
  return out;
}

const varintField = (field: number, value: number) => Uint8Array.from([field * 8, ...varint(value)]);
const bytesField = (field: number, value: Uint8Array) => concat(Uint8Array.from([field * 8 + 2, ...varint(value.length)]), value);

function double(field: number, value: number): Uint8Array {
  const out = new Uint8Array(9);
  out[0] = field * 8 + 1;
  new DataView(out.buffer).setFloat64(1, value, true);
  return out;
}

function float(field: number, value: number): Uint8Array {
  const out = new Uint8Array(5);
  out[0] = field * 8 + 5;
  new DataView(out.buffer).setFloat32(1, value, true);
  return out;
}
