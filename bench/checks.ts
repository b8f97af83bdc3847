// Runs the cases of a check: outputs are filled with NaN, guard words stand behind each buffer, inputs must stay untouched, two runs must
// give the same bits, and the result must agree with the f64 reference within the check's tolerance. Runs in a browser too.
import { type Choice, type Device, fits, GPU_BUFFER, writeBytes } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { decode, encode, type TypedArray } from "../engine/tensor.ts";
import { type Check, type DType, dtypeBytes, type Numbers, type Results, type Values, type Variant } from "../kernels/kernel.ts";
import { dequantizeRows, quantizeRows, rowBytes, rowGroups, type Scheme } from "../weights/quantize.ts";

const GUARD = 16;
// Behind an input stands NaN, so that reading too far spoils the result; behind an output another word, because a NaN read there and
// multiplied is written as the same NaN.
const guardWord = { read: 0x7fc0dead, write: 0x5eedcafe };

/** A case as people type it: "rows=3,C=100". */
export function caseName(c: Numbers): string {
  return Object.entries(c)
    .map(([k, v]) => `${k}=${v}`)
    .join(",");
}

/** Variants that the device and the numbers allow; the plain one always. */
export function variantsFor(device: Device, check: Check, c: Numbers, dtypes: Record<string, DType>): Variant[] {
  return check.kernel.variants.filter((v) => fits(device.capabilities, v, { ...c }, dtypes));
}

/** Element types to run a check with: all f32, and what it lists, as far as the adapter allows. */
export function typings(device: Device, check: Check): Record<string, DType>[] {
  const base: Record<string, DType> = {};
  for (const [name, type] of Object.entries(check.kernel.types)) base[name] = typeof type === "string" ? type : type.dtypes[0];
  const half = device.capabilities.features.has("shader-f16");
  return [base, ...(check.dtypes ?? []).map((d) => ({ ...base, ...d }))].filter((d) => half || !Object.values(d).includes("f16"));
}

/** A case with its data made: shared by all variants and copies of it. */
export interface CaseData {
  readonly check: Check;
  readonly c: Numbers;
  readonly dtypes: Record<string, DType>;
  readonly inputs: Values;
  readonly params: Numbers;
  /** What each buffer holds before a launch: given values or NaN, then guard words. */
  readonly contents: ReadonlyMap<string, Uint8Array>;
  /** The f64 reference, computed when first asked for. */
  readonly want: () => Results;
}

/** Makes the data of one case from a seed. */
export function caseData(check: Check, c: Numbers, dtypes: Record<string, DType>, seed = 1): CaseData {
  const { kernel } = check;
  const { inputs, held } = storedInputs(check, c, dtypes, check.inputs(c, new Rng(seed, caseName(c))));
  const params: Numbers = {};
  for (const name of Object.keys(kernel.params)) {
    const value = c[name] ?? (inputs[name] as number);
    if (typeof value !== "number") throw new WorldlineError(`${kernel.name}: the check gives no number for parameter "${name}"`);
    params[name] = value;
  }
  const sizes = check.outputs(c);
  const contents = new Map<string, Uint8Array>();
  for (const name of [...kernel.reads, ...kernel.writes]) {
    if (!held[name] && sizes[name] === undefined) throw new WorldlineError(`${kernel.name}: the check gives nothing for "${name}"`);
    const isWrite = (kernel.writes as readonly string[]).includes(name);
    contents.set(name, withGuard(held[name] ?? nan(sizes[name], dtypes[name] ?? "f32"), isWrite));
  }
  let want: Results | undefined;
  return { check, c, dtypes, inputs, params, contents, want: () => (want ??= check.reference(c, inputs)) };
}

/** A case and variant ready to dispatch. */
export interface Prepared {
  readonly choice: Choice;
  readonly data: CaseData;
  readonly buffers: ReadonlyMap<string, GPUBuffer>;
  readonly dispatch: (pass: GPUComputePassEncoder) => void;
  readonly reset: () => void;
  readonly destroy: () => void;
}

/** Makes buffers and pipeline of one case and variant; `consts` stand in for the variant's own. */
export async function prepare(device: Device, data: CaseData, variant: Variant, consts: Numbers = {}): Promise<Prepared> {
  const { check, dtypes, params, contents } = data;
  const { kernel } = check;
  const choice = device.chosen(kernel, variant, params, dtypes, consts);
  const compiled = await device.compile(choice);
  const buffers = new Map<string, GPUBuffer>();
  for (const [name, bytes] of contents) {
    const usage = GPU_BUFFER.STORAGE | GPU_BUFFER.COPY_SRC | GPU_BUFFER.COPY_DST;
    buffers.set(name, device.raw.createBuffer({ size: bytes.length, usage, label: name }));
  }
  const reset = () => {
    for (const [name, bytes] of contents) device.raw.queue.writeBuffer(buffers.get(name)!, 0, bytes as Uint8Array<ArrayBuffer>);
  };
  reset();
  const entries: GPUBindGroupEntry[] = [...buffers.values()].map((buffer, binding) => ({ binding, resource: { buffer } }));
  const names = Object.keys(kernel.params);
  const uniform = device.raw.createBuffer({
    size: Math.max(16, Math.ceil(names.length / 4) * 16),
    usage: GPU_BUFFER.UNIFORM | GPU_BUFFER.COPY_DST,
  });
  if (names.length) {
    writeBytes(device.raw.queue, uniform, 0, packed(kernel.params, params));
    entries.push({ binding: entries.length, resource: { buffer: uniform } });
  }
  const group = device.raw.createBindGroup({ layout: compiled.layout, entries });
  const [x, y = 1, z = 1] = choice.grid;
  return {
    choice,
    data,
    buffers,
    reset,
    dispatch: (pass) => {
      pass.setPipeline(compiled.pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(x, y, z);
    },
    destroy: () => {
      for (const b of [...buffers.values(), uniform]) b.destroy();
    },
  };
}

/** Runs one case of a variant twice and compares. Returns the error, or throws one line that says what is wrong. */
export async function runCase(
  device: Device,
  check: Check,
  c: Numbers,
  dtypes: Record<string, DType>,
  variant: Variant,
  consts: Numbers = {},
): Promise<number> {
  const p = await prepare(device, caseData(check, c, dtypes), variant, consts);
  try {
    return await verify(device, p);
  } finally {
    p.destroy();
  }
}

/** Runs a prepared case twice and compares; see `runCase`. */
export async function verify(device: Device, p: Prepared): Promise<number> {
  const first = await runOnce(device, p);
  const second = await runOnce(device, p);
  for (const [name, bytes] of first) {
    if (!equalBytes(bytes, second.get(name)!)) throw new WorldlineError(`"${name}" differs between two runs`);
  }
  return compare(p.data, first);
}

async function runOnce(device: Device, p: Prepared): Promise<Map<string, ArrayBuffer>> {
  p.reset();
  const encoder = device.raw.createCommandEncoder();
  const pass = encoder.beginComputePass();
  p.dispatch(pass);
  pass.end();
  device.raw.queue.submit([encoder.finish()]);
  const names = [...p.buffers.keys()];
  const words = await device.readRanges(
    names.map((n) => ({ buffer: p.buffers.get(n)!, offset: 0, dtype: "u32", size: p.buffers.get(n)!.size / 4 })),
  );
  return new Map(names.map((n, i) => [n, words[i].buffer as ArrayBuffer]));
}

function compare(data: CaseData, got: Map<string, ArrayBuffer>): number {
  const { check, c, dtypes, contents } = data;
  const { kernel } = check;
  const sizes = check.outputs(c);
  for (const name of [...kernel.reads, ...kernel.writes]) {
    const isWrite = (kernel.writes as readonly string[]).includes(name);
    const from = isWrite ? (sizes[name] * dtypeBytes[dtypes[name] ?? "f32"] + 3) & ~3 : 0;
    if (!equalBytes(contents.get(name)!.slice(from).buffer, got.get(name)!.slice(from))) {
      throw new WorldlineError(isWrite ? `something was written behind the end of "${name}"` : `the input "${name}" was changed`);
    }
  }
  const want = data.want();
  let worst = 0;
  for (const name of kernel.writes) {
    if (!want[name]) throw new WorldlineError(`the check's reference gives no "${name}"`);
    const type = dtypes[name] ?? "f32";
    const values = decode(got.get(name)!, type, sizes[name]);
    worst = Math.max(worst, errorOf(name, values, want[name]));
  }
  const half = Object.values(dtypes).includes("f16");
  const f32 = check.tolerance.f32 * Math.sqrt(Math.max(1, (check.terms?.(c) ?? 1) / 256));
  const limit = half ? (check.tolerance.f16 ?? f32) : f32;
  if (!(worst <= limit)) throw new WorldlineError(`error ${worst.toExponential(2)} is over the limit ${limit.toPrecision(2)}`);
  return worst;
}

function errorOf(name: string, got: ArrayLike<number>, want: Float64Array | Uint32Array): number {
  if (got.length !== want.length) throw new WorldlineError(`"${name}": the reference has ${want.length} values, the output ${got.length}`);
  if (want instanceof Uint32Array) {
    const i = want.findIndex((v, j) => v !== got[j]);
    if (i >= 0) throw new WorldlineError(`"${name}"[${i}] is ${got[i]} but must be ${want[i]}`);
    return 0;
  }
  const rms = Math.sqrt(want.reduce((a, v) => a + v * v, 0) / want.length);
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    if (got[i] === want[i]) continue;
    if (!Number.isFinite(got[i])) throw new WorldlineError(`"${name}"[${i}] is ${got[i]} but must be ${want[i]}`);
    worst = Math.max(worst, Math.abs(got[i] - want[i]) / (Math.abs(want[i]) + rms || 1));
  }
  return worst;
}

/**
 * Inputs as they are held, and as the reference sees them: rounded to the type they are held in, so that only arithmetic is judged. A
 * quantised matrix brings its scales with it.
 */
function storedInputs(check: Check, c: Numbers, dtypes: Record<string, DType>, values: Values) {
  const inputs: Values = { ...values };
  const held: Record<string, TypedArray | Uint8Array> = {};
  for (const [name, v] of Object.entries(values)) {
    if (typeof v === "number") continue;
    const type = dtypes[name] ?? "f32";
    if (type === "int8" || type === "int4") {
      const q = check.quantized?.[name];
      if (!q) throw new WorldlineError(`${check.kernel.name}: the check does not say how "${name}" is quantised`);
      const columns = q.columns(c);
      const rows = v.length / columns;
      const scheme: Scheme = { bits: type === "int8" ? 8 : 4, groupSize: 2 ** c.group };
      const bits = new Uint8Array(rows * rowBytes(columns, scheme.bits));
      const scales = new Float32Array(rows * rowGroups(columns, scheme.groupSize));
      quantizeRows(v as Float32Array, columns, scheme, { bits, scales });
      inputs[name] = dequantizeRows(bits, scales, columns, scheme);
      held[name] = bits;
      held[q.scales] = scales;
    } else {
      const encoded = encode(v, type);
      held[name] ??= encoded;
      if (encoded instanceof Uint16Array) inputs[name] = decode(encoded.slice().buffer, type, v.length);
    }
  }
  return { inputs, held };
}

/** Contents of a buffer: the data, filled up to 16 bytes, guard words behind it. */
function withGuard(data: TypedArray | Uint8Array, isWrite: boolean): Uint8Array {
  const length = Math.ceil(data.byteLength / 16) * 16;
  const bytes = new Uint8Array(new Uint32Array(length / 4 + GUARD).fill(isWrite ? guardWord.write : guardWord.read).buffer);
  bytes.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  return bytes;
}

function nan(size: number, type: DType): TypedArray {
  if (type === "f32") return new Float32Array(size).fill(Number.NaN);
  return type === "f16" ? new Uint16Array(size).fill(0x7e01) : new Uint32Array(size).fill(0xdeadbeef);
}

function packed(types: Readonly<Record<string, string>>, params: Numbers): Uint32Array {
  const view = new DataView(new ArrayBuffer(Object.keys(types).length * 4));
  Object.entries(types).forEach(([name, type], i) => {
    if (type === "f32") view.setFloat32(i * 4, params[name], true);
    else view.setInt32(i * 4, params[name] | 0, true);
  });
  return new Uint32Array(view.buffer);
}

function equalBytes(a: ArrayBufferLike, b: ArrayBufferLike): boolean {
  if (a.byteLength !== b.byteLength) return false;
  const x = new Uint32Array(a as ArrayBuffer);
  const y = new Uint32Array(b as ArrayBuffer);
  for (let i = 0; i < x.length; i++) if (x[i] !== y[i]) return false;
  return true;
}
