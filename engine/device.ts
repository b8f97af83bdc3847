// The one class that calls WebGPU: features and limits, buffers by kind, pipelines, uploads and readbacks. Every object is labelled.
/// <reference lib="dom" preserve="true" />
import {
  type Capabilities,
  type DType,
  dtypeBytes,
  type Grid,
  type Kernel,
  type MatrixUnit,
  type Numbers,
  storedBytes,
  type Variant,
} from "../kernels/kernel.ts";
import { bytesText, WorldlineError } from "./errors.ts";
import type { Host } from "./host.ts";
import type { Recorder } from "./recorder.ts";
import { assembleShader, shaderProblem } from "./shader.ts";
import { decode, encode, type RowRange, rowsOf, type Storage, Tensor, type TypedArray } from "./tensor.ts";
import type { Tuning } from "./tuning.ts";

export type MemoryKind = "weights" | "adapter" | "gradients" | "moments" | "masters" | "activations" | "inputs" | "cache" | "other";

export interface DeviceOptions {
  readonly host: Host;
  readonly gpu: GPU;
  readonly adapter: GPUAdapter;
  /** The debug ladder: 1 adapter and choices, 2 launches, 3 shader text, 4 stop at the first NaN. */
  readonly debug?: number;
  /** Forces variants: "rmsnorm:plain,matmul:tiled". */
  readonly force?: string;
  /** Features not to use although the adapter has them. */
  readonly without?: readonly string[];
  /** Measured choices of variants, made by `worldline bench tune`. */
  readonly tuning?: Tuning;
  /** Times every run of every plan; see recorder.ts. */
  readonly recorder?: Recorder;
  /** Most bytes of a matrix that one launch binds, where less than the adapter allows: for tests of row ranges. */
  readonly bindingBytes?: number;
}

/** A compiled kernel variant for given constants and element types. */
export interface Compiled {
  readonly key: string;
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** Bytes begin ... end of a buffer have a counterpart in another. */
interface Twin {
  readonly begin: number;
  readonly end: number;
  readonly buffer: GPUBuffer;
}

/** What a launch needs before compilation: chosen while recording, compiled with the plan. */
export interface Choice {
  readonly key: string;
  readonly kernel: Kernel;
  readonly variant: Variant;
  readonly consts: Numbers;
  readonly rebind: Numbers;
  readonly dtypes: Readonly<Record<string, DType>>;
  readonly grid: Grid;
}

const wanted = ["shader-f16", "subgroups", "timestamp-query", "chromium-experimental-subgroup-matrix"];
const align = (n: number, to: number) => Math.ceil(n / to) * to;

export class Device {
  readonly host: Host;
  readonly raw: GPUDevice;
  readonly adapter: GPUAdapter;
  readonly capabilities: Capabilities;
  readonly debug: number;
  /** Most bytes that one launch binds of a matrix; larger ones go in row ranges. */
  readonly bindingBytes: number;
  private readonly forced: Map<string, string>;
  private readonly tuning: Tuning | undefined;
  readonly recorder: Recorder | undefined;
  private readonly compiled = new Map<string, Promise<Compiled>>();
  private readonly texts = new Map<string, Promise<string>>();
  private readonly bytesOf = new Map<MemoryKind, number>();
  private nothing: Tensor | undefined;
  private readonly mirrors = new Map<string, WeakMap<GPUBuffer, Twin[]>>();
  private readonly arenas = new WeakMap<GPUBuffer, readonly Tensor[]>();
  /** Held for good: collecting Dawn's instance while a device of it lives ends the process. */
  readonly gpu: GPU;
  /** Why the device was lost, once it is. */
  lost: string | undefined;
  /** The label of the last submitted work, named when the device is lost. */
  lastWork = "nothing";

  private constructor(raw: GPUDevice, options: DeviceOptions) {
    this.raw = raw;
    this.host = options.host;
    this.gpu = options.gpu;
    this.adapter = options.adapter;
    this.debug = options.debug ?? 0;
    this.bindingBytes = Math.min(options.bindingBytes ?? Number.POSITIVE_INFINITY, raw.limits.maxStorageBufferBindingSize);
    this.forced = new Map(
      (options.force ?? "")
        .split(",")
        .filter(Boolean)
        .map((pair) => pair.split(":") as [string, string]),
    );
    this.capabilities = capabilitiesOf(raw, options.adapter);
    this.tuning = options.tuning;
    this.recorder = options.recorder;
    raw.onuncapturederror = ({ error }) => {
      this.lost ??= `the GPU refused a command (last work: ${this.lastWork}): ${error.message.split("\n")[0]}; results from here on would be wrong`;
    };
    raw.lost.then((info) => {
      if (info.reason === "destroyed") return;
      this.lost = `the GPU device was lost while running ${this.lastWork}: ${info.message}; start again, with less memory if it happens twice`;
      this.host.log(this.lost);
    });
  }

  /** Opens a device with all limits the adapter has. */
  static async open(options: DeviceOptions): Promise<Device> {
    const { adapter, without = [] } = options;
    const features = wanted.filter((f) => adapter.features.has(f) && !without.includes(f)) as GPUFeatureName[];
    const limits: Record<string, number> = {};
    for (const name of raisedLimits) limits[name] = (adapter.limits as unknown as Record<string, number>)[name];
    const raw = await adapter.requestDevice({ requiredFeatures: features, requiredLimits: limits, label: "worldline" });
    const device = new Device(raw, options);
    if (device.debug >= 1) device.host.log(device.describe());
    return device;
  }

  /** Adapter, features and lanes in one line. */
  describe(): string {
    const { info } = this.adapter;
    const f = [...this.capabilities.features].join(" ") || "no optional features";
    return `${info.description || info.device || info.vendor} (${info.architecture || info.vendor}), ${f}, subgroups of ${this.capabilities.lanes || "no fixed size"}`;
  }

  /** Takes memory. Sizes are rounded up to 16 bytes so that vec4 views always fit. */
  allocate(bytes: number, kind: MemoryKind, label: string): GPUBuffer {
    this.alive();
    const size = Math.max(16, align(bytes, 16));
    if (size > this.raw.limits.maxBufferSize) {
      throw new WorldlineError(
        `${label} needs ${size} bytes in one buffer but this adapter allows ${this.raw.limits.maxBufferSize}; use a smaller batch or model`,
      );
    }
    const usage = GPU_BUFFER.STORAGE | GPU_BUFFER.COPY_SRC | GPU_BUFFER.COPY_DST;
    const buffer = this.raw.createBuffer({ size, usage, label });
    this.bytesOf.set(kind, (this.bytesOf.get(kind) ?? 0) + size);
    return buffer;
  }

  /**
   * Takes `bytes` of memory in `fn`; where there is not enough, throws one sentence: `what`, what there is, and `remedy`. A software adapter would
   * take what the machine does not have, so there the machine is asked first.
   */
  async guarded<T>(what: string, bytes: number, remedy: (free?: number) => string, fn: () => T): Promise<T> {
    const need = `${what}: ${bytesText(bytes)} are needed`;
    const free = this.capabilities.software ? this.host.freeMemory?.() : undefined;
    if (free !== undefined && bytes > free)
      throw new WorldlineError(`${need}, ${bytesText(free)} of this machine's memory are free; ${remedy(free)}`);
    this.raw.pushErrorScope("out-of-memory");
    let result: T;
    try {
      result = fn();
    } catch (cause) {
      await this.raw.popErrorScope();
      throw cause;
    }
    const problem = await this.raw.popErrorScope();
    if (problem) throw new WorldlineError(`${need}, more than this adapter has free (${problem.message.split("\n")[0]}); ${remedy()}`);
    return result;
  }

  /** Gives a buffer of `allocate` back. */
  release(buffer: GPUBuffer, kind: MemoryKind): void {
    this.bytesOf.set(kind, (this.bytesOf.get(kind) ?? 0) - buffer.size);
    buffer.destroy();
  }

  /** Bytes held now, by kind. */
  memory(): Partial<Record<MemoryKind, number>> {
    return Object.fromEntries(this.bytesOf) as Partial<Record<MemoryKind, number>>;
  }

  /** A stored tensor, zero or filled with `data`. */
  tensor(shape: readonly number[], options: { dtype?: DType; name?: string; kind?: MemoryKind; data?: TypedArray } = {}): Tensor {
    const { dtype = "f32", name = "tensor", kind = "other", data } = options;
    const buffer = this.allocate(storedBytes(shape, dtype), kind, name);
    const t = new Tensor(shape, dtype, name, { storage: { buffer, offset: 0 } });
    if (data) this.write(t, data);
    return t;
  }

  /**
   * A frozen matrix (rows, columns) in any stored type, to be filled with `upload`. int8 and int4 get a second tensor with one f32 scale for
   * every `groupSize` (a power of two) values of a row.
   */
  matrix(shape: readonly [number, number], options: { dtype: DType; name: string; groupSize?: number }): Tensor {
    const { dtype, name, groupSize = 0 } = options;
    const buffer = this.allocate(storedBytes(shape, dtype), "weights", name);
    if (dtype !== "int8" && dtype !== "int4") return new Tensor(shape, dtype, name, { storage: { buffer, offset: 0 } });
    if (!(groupSize >= 8) || 2 ** Math.round(Math.log2(groupSize)) !== groupSize)
      throw new WorldlineError(`${name}: the group size is ${groupSize}; a power of two from 8 up is needed`);
    const scales = this.tensor([shape[0], Math.ceil(shape[1] / groupSize)], { name: `${name} scales`, kind: "weights" });
    return new Tensor(shape, dtype, name, { storage: { buffer, offset: 0 }, quantized: { scales, group: Math.log2(groupSize) } });
  }

  /** The rows of a matrix as ranges that one launch can bind; the matrix itself where it fits. */
  rowRanges(t: Tensor): readonly RowRange[] {
    const scales = t.quantized?.scales;
    const most = this.bindingBytes;
    if (!t.storage || (t.bytes <= most && (scales?.bytes ?? 0) <= most)) return [{ first: 0, tensor: t }];
    const [rows, columns] = rowsOf(t);
    const rowBytes = [t.bytes / rows, ...(scales ? [scales.bytes / rows] : [])];
    const aligned = this.raw.limits.minStorageBufferOffsetAlignment;
    let unit = 4;
    while (rowBytes.some((b) => (b * unit) % aligned !== 0)) unit *= 2;
    const count = Math.floor(most / Math.max(...rowBytes) / unit) * unit;
    if (count === 0)
      throw new WorldlineError(`${t.name} (${t.shape.join(", ")}): not even ${unit} of its rows fit a binding of ${most} bytes`);
    return Array.from({ length: Math.ceil(rows / count) }, (_, i) => {
      const first = i * count;
      return { first, tensor: t.reshape(rows, columns).rows(first, Math.min(count, rows - first)) };
    });
  }

  /** A tensor to bind where a launch reads nothing. */
  get unread(): Tensor {
    return (this.nothing ??= this.tensor([4], { name: "unread" }));
  }

  /** Copies bytes as they are stored into a stored tensor, from byte `at` (a multiple of four) on. */
  upload(t: Tensor, at: number, bytes: Uint8Array): void {
    this.alive();
    if (at % 4 !== 0 || at + bytes.byteLength > align(t.bytes, 4))
      throw new WorldlineError(`upload: bytes ${at} to ${at + bytes.byteLength} do not fit ${t.name}, which has ${t.bytes}`);
    const { buffer, offset } = stored(t);
    writeBytes(this.raw.queue, buffer, offset + at, bytes);
  }

  /** Several stored f32 tensors side by side in one buffer, so that one launch can walk over all of them. */
  arena(specs: readonly { readonly name: string; readonly shape: readonly number[] }[], kind: MemoryKind, label: string): Tensor[] {
    const offsets: number[] = [];
    let end = 0;
    for (const s of specs) {
      offsets.push(end);
      end += align(s.shape.reduce((a, b) => a * b, 1) * 4, 256);
    }
    const buffer = this.allocate(end, kind, label);
    const tensors = specs.map((s, i) => new Tensor(s.shape, "f32", s.name, { storage: { buffer, offset: offsets[i] } }));
    this.arenas.set(buffer, tensors);
    return tensors;
  }

  /**
   * An f32 tensor of t's shape made once per `role` ("gradients", "moment 1") and zero at first: a parameter's gradient and moments. Trainable
   * neighbours of an arena get neighbouring ranges of one buffer, so that a range of parameters has one range of gradients; frozen ones take nothing.
   */
  mirror(t: Tensor, role: string, kind: MemoryKind): Tensor {
    const { buffer, offset } = stored(t);
    let map = this.mirrors.get(role);
    if (!map) this.mirrors.set(role, (map = new WeakMap()));
    let twins = map.get(buffer);
    if (!twins) map.set(buffer, (twins = []));
    const end = offset + t.bytes;
    const grown = 4 / dtypeBytes[t.dtype];
    let twin = twins.find((w) => w.begin <= offset && end <= w.end);
    if (!twin) {
      const range = this.trainedAround(t, twins);
      const bytes = (range.end - range.begin) * grown;
      twins.push((twin = { ...range, buffer: this.allocate(bytes, kind, `${role} of ${buffer.label}`) }));
    }
    const at = { buffer: twin.buffer, offset: (offset - twin.begin) * grown };
    return new Tensor(t.shape, "f32", `${role} of ${t.name}`, { storage: at });
  }

  /** The bytes of t and of its trainable neighbours that have no twin yet. */
  private trainedAround(t: Tensor, twins: readonly Twin[]): { begin: number; end: number } {
    const { buffer, offset } = stored(t);
    const all = this.arenas.get(buffer) ?? [];
    const at = all.findIndex((a) => stored(a).offset === offset);
    if (at < 0) return { begin: offset, end: offset + t.bytes };
    const offsetOf = (i: number) => (i < all.length ? stored(all[i]).offset : buffer.size);
    const free = (i: number) => all[i]?.trainable && !twins.some((w) => w.begin <= offsetOf(i) && offsetOf(i) < w.end);
    let [first, last] = [at, at];
    while (free(first - 1)) first--;
    while (free(last + 1)) last++;
    return { begin: offsetOf(first), end: offsetOf(last + 1) };
  }

  /** Copies host numbers into a stored tensor. */
  write(t: Tensor, data: TypedArray): void {
    this.alive();
    if (data.length !== t.size)
      throw new WorldlineError(`write: ${t.name} (${t.shape.join(", ")}) holds ${t.size} values but ${data.length} were given`);
    const { buffer, offset } = stored(t);
    writeBytes(this.raw.queue, buffer, offset, encode(data, t.dtype));
  }

  /** Copies stored tensors to the host; waits for the work before it. */
  async read(...tensors: Tensor[]): Promise<(Float32Array | Uint32Array)[]> {
    return this.readRanges(tensors.map((t) => ({ ...stored(t), dtype: t.dtype, size: t.size })));
  }

  /** Reads ranges of buffers; see `read`. What is more than one buffer should hold comes in several round trips. */
  async readRanges(ranges: readonly (Storage & { dtype: DType; size: number })[]): Promise<(Float32Array | Uint32Array)[]> {
    const most = Math.min(2 ** 28, this.raw.limits.maxBufferSize);
    const bytes = ranges.map((r) => align(storedBytes([r.size], r.dtype), 8));
    const out: (Float32Array | Uint32Array)[] = [];
    for (let first = 0, end = 0; first < ranges.length; first = end) {
      let total = bytes[end++];
      while (end < ranges.length && total + bytes[end] <= most) total += bytes[end++];
      out.push(...(await this.readTogether(ranges.slice(first, end))));
    }
    return out;
  }

  /** One round trip, through one buffer. */
  private async readTogether(ranges: readonly (Storage & { dtype: DType; size: number })[]): Promise<(Float32Array | Uint32Array)[]> {
    this.alive();
    const lengths = ranges.map((r) => align(storedBytes([r.size], r.dtype), 4));
    const total = lengths.reduce((a, b) => a + align(b, 8), 0);
    const staging = this.raw.createBuffer({ size: total, usage: GPU_BUFFER.MAP_READ | GPU_BUFFER.COPY_DST, label: "readback" });
    const encoder = this.raw.createCommandEncoder({ label: "readback" });
    let at = 0;
    ranges.forEach((r, i) => {
      encoder.copyBufferToBuffer(r.buffer, r.offset, staging, at, lengths[i]);
      at += align(lengths[i], 8);
    });
    this.raw.queue.submit([encoder.finish()]);
    try {
      await staging.mapAsync(GPU_MAP_READ);
    } catch (cause) {
      throw new WorldlineError(this.lost ?? `reading results failed: ${(cause as Error).message}`);
    }
    const all = staging.getMappedRange();
    at = 0;
    const out = ranges.map((r, i) => {
      const copy = all.slice(at, at + lengths[i]);
      at += align(lengths[i], 8);
      return decode(copy, r.dtype, r.size);
    });
    staging.destroy();
    return out;
  }

  /** Waits until everything submitted is done. */
  async finish(): Promise<void> {
    await this.raw.queue.onSubmittedWorkDone();
    this.alive();
  }

  /** Picks the variant for given numbers and element types: the forced one, else the tuned one, else the first that fits. */
  choose(kernel: Kernel, params: Numbers, dtypes: Record<string, DType>): Choice {
    if (!this.forced.has(kernel.name)) {
      const tuned = this.tuning?.find(kernel, params, dtypes);
      if (tuned && fits(this.capabilities, tuned.variant, params, dtypes))
        return this.chosen(kernel, tuned.variant, params, dtypes, tuned.consts);
    }
    return this.chosen(kernel, this.variantFor(kernel, params, dtypes), params, dtypes);
  }

  /** A choice of a given variant; `replaced` stands in for constants that the variant has. */
  chosen(kernel: Kernel, variant: Variant, params: Numbers, dtypes: Record<string, DType>, replaced: Numbers = {}): Choice {
    const own = typeof variant.consts === "function" ? variant.consts(params, this.capabilities) : (variant.consts ?? {});
    const consts = { ...own, ...replaced };
    const rebind = variant.rebind?.(params, this.capabilities) ?? {};
    const types = Object.entries(dtypes).filter(([name]) => typeof kernel.types[name] === "object");
    const parts = [...Object.entries(consts), ...Object.entries(rebind), ...types].map(([k, v]) => `${k}=${v}`);
    const key = `${kernel.name}:${variant.name}${parts.length ? `{${parts.join(",")}}` : ""}`;
    return { key, kernel, variant, consts, rebind, dtypes, grid: variant.grid(params, consts) };
  }

  private variantFor(kernel: Kernel, params: Numbers, dtypes: Record<string, DType>): Variant {
    const fitting = (v: Variant) => fits(this.capabilities, v, params, dtypes);
    const name = this.forced.get(kernel.name);
    if (name === undefined) return kernel.variants.find((v) => !v.onTrial && fitting(v)) ?? kernel.variants[kernel.variants.length - 1];
    const forced = kernel.variants.find((v) => v.name === name);
    if (!forced) {
      const names = kernel.variants.map((v) => v.name).join(", ");
      throw new WorldlineError(`KERNEL=${kernel.name}:${name}: there is no such variant; choose one of ${names}`);
    }
    return fitting(forced) ? forced : kernel.variants[kernel.variants.length - 1];
  }

  /** Compiles a choice once; later calls share the result. */
  compile(choice: Choice): Promise<Compiled> {
    let p = this.compiled.get(choice.key);
    if (!p) this.compiled.set(choice.key, (p = this.build(choice)));
    return p;
  }

  /** The WGSL of a choice exactly as compiled. */
  async shaderText(choice: Choice): Promise<string> {
    const { variant } = choice;
    const main = await this.text(variant.source);
    const names = (variant.lib ?? []).map((name) => name.replace(/\{(\w+)\}/, (_, binding: string) => choice.dtypes[binding]));
    const libs = await Promise.all(names.map((name) => this.text(new URL(`../kernels/lib/${name}.wgsl`, import.meta.url))));
    return assembleShader(choice, main, libs);
  }

  private text(url: URL): Promise<string> {
    let p = this.texts.get(url.href);
    if (!p) this.texts.set(url.href, (p = this.host.readText(url)));
    return p;
  }

  private async build(choice: Choice): Promise<Compiled> {
    this.alive();
    const code = await this.shaderText(choice);
    if (this.debug >= 3) this.host.log(`--- ${choice.key}\n${code}`);
    const { raw } = this;
    const { kernel } = choice;
    raw.pushErrorScope("validation");
    const module = raw.createShaderModule({ code, label: choice.key });
    const entry = (binding: number, type: GPUBufferBindingType): GPUBindGroupLayoutEntry => ({ binding, visibility: 4, buffer: { type } });
    const entries = [
      ...kernel.reads.map((_, i) => entry(i, "read-only-storage")),
      ...kernel.writes.map((_, i) => entry(kernel.reads.length + i, "storage")),
      ...(Object.keys(kernel.params).length ? [entry(kernel.reads.length + kernel.writes.length, "uniform")] : []),
    ];
    const layout = raw.createBindGroupLayout({ entries, label: choice.key });
    const pipelineLayout = raw.createPipelineLayout({ bindGroupLayouts: [layout], label: choice.key });
    const compute = { module, entryPoint: "main", constants: choice.consts };
    const scope = raw.popErrorScope();
    try {
      const pipeline = await raw.createComputePipelineAsync({ layout: pipelineLayout, compute, label: choice.key });
      await scope;
      return { key: choice.key, pipeline, layout };
    } catch (cause) {
      const problem = shaderProblem(
        choice,
        code,
        (await module.getCompilationInfo()).messages,
        (await scope)?.message ?? (cause as Error).message,
      );
      throw new WorldlineError(problem);
    }
  }

  private alive(): void {
    if (this.lost) throw new WorldlineError(this.lost);
  }

  /** Gives the device back. */
  destroy(): void {
    this.raw.destroy();
  }
}

const raisedLimits = [
  "maxStorageBufferBindingSize",
  "maxBufferSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
];

/** GPUBufferUsage and GPUMapMode as numbers: Node has no such globals. */
export const GPU_BUFFER = { MAP_READ: 1, COPY_SRC: 4, COPY_DST: 8, UNIFORM: 64, STORAGE: 128, QUERY_RESOLVE: 512 } as const;
export const GPU_MAP_READ = 1;

/** The storage of a tensor that has one. */
export function stored(t: Tensor): Storage {
  if (!t.storage) throw new WorldlineError(`${t.name} is an activation and has no memory of its own; read it through its plan`);
  return t.storage;
}

/** queue.writeBuffer with the length padded to 4 bytes. */
export function writeBytes(queue: GPUQueue, buffer: GPUBuffer, offset: number, data: TypedArray | Uint8Array): void {
  if (data.byteLength % 4 === 0) queue.writeBuffer(buffer, offset, data.buffer as ArrayBuffer, data.byteOffset, data.byteLength);
  else {
    const padded = new Uint8Array(align(data.byteLength, 4));
    padded.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    queue.writeBuffer(buffer, offset, padded);
  }
}

/** Whether an adapter, numbers and element types allow a variant. */
export function fits(device: Capabilities, v: Variant, params: Numbers, dtypes: Record<string, DType>): boolean {
  return (
    (v.needs ?? []).every((f) => device.features.has(f)) &&
    Object.entries(v.dtypes ?? {}).every(([name, allowed]) => allowed.includes(dtypes[name] ?? "f32")) &&
    (v.when?.(params, device) ?? true)
  );
}

/** The list that Dawn's experimental feature brings; @webgpu/types does not know it. */
function matricesOf(info: GPUAdapterInfo): MatrixUnit[] {
  type Config = { M: number; N: number; K: number; componentType: string; resultComponentType: string };
  const configs = (info as { subgroupMatrixConfigs?: readonly Config[] }).subgroupMatrixConfigs ?? [];
  return configs.map(({ M, N, K, componentType, resultComponentType }) => ({ M, N, K, type: componentType, sums: resultComponentType }));
}

function capabilitiesOf(raw: GPUDevice, adapter: GPUAdapter): Capabilities {
  const info = adapter.info;
  const name = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`.toLowerCase();
  const fixed = raw.features.has("subgroups") && info.subgroupMinSize === info.subgroupMaxSize;
  return {
    features: raw.features as ReadonlySet<string>,
    lanes: fixed ? info.subgroupMinSize : 0,
    maxInvocations: raw.limits.maxComputeInvocationsPerWorkgroup,
    maxStorage: raw.limits.maxComputeWorkgroupStorageSize,
    matrices: raw.features.has("chromium-experimental-subgroup-matrix") ? matricesOf(info) : [],
    software: info.isFallbackAdapter || /llvmpipe|lavapipe|swiftshader|cpu/.test(name),
  };
}
