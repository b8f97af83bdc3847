// Measured choices of kernel variants. `worldline bench tune` times the variants of a kernel on this adapter and keeps the winner of each
// class of shapes in the user's cache; Device.choose asks here before it takes the first variant that fits. A choice holds for one adapter
// and driver, one description of the kernel and one text of its shaders: when any of these changes, it is forgotten.
import type { DType, Kernel, Numbers, Variant } from "../kernels/kernel.ts";
import type { Host } from "./host.ts";

/** One candidate that was tried for a class, and how it went. */
export interface Trial {
  readonly variant: string;
  readonly consts: Numbers;
  /** Median microseconds; absent where it was refused. */
  readonly median?: number;
  /** Relative half width of the median's 95% interval. */
  readonly spread?: number;
  /** Why it was not timed: its result is wrong, or it does not compile. */
  readonly refused?: string;
}

/** What was chosen for a class of shapes, and from what. */
export interface Tuned {
  readonly variant: string;
  /** Constants that replace the variant's own. */
  readonly consts: Numbers;
  /** The shape that was timed. */
  readonly shape: string;
  readonly trials: readonly Trial[];
}

/** The stored choices of one kernel. */
export interface TunedKernel {
  /** Hash of the description: names, conditions, constants and grids. */
  readonly description: string;
  /** Hash of each shader text by URL, relative to kernels/ where it lies there. */
  readonly sources: Readonly<Record<string, string>>;
  readonly classes: Record<string, Tuned>;
}

/** The content of a cache file. */
export interface TuningFile {
  readonly format: 1;
  readonly adapter: string;
  readonly kernels: Record<string, TunedKernel>;
}

const kernelsRoot = new URL("../kernels/", import.meta.url);

/** FNV-1a in 64 bits (two halves of 32), as 16 hexadecimal digits. */
export function hashText(text: string): string {
  let low = 0x811c9dc5;
  let high = 0xcbf29ce4;
  for (let i = 0; i < text.length; i++) {
    low = Math.imul(low ^ text.charCodeAt(i), 0x01000193);
    high = Math.imul(high ^ text.charCodeAt(i) ^ (low >>> 15), 0x01000193);
  }
  return [high, low].map((half) => (half >>> 0).toString(16).padStart(8, "0")).join("");
}

/**
 * The class of shapes that a call belongs to: element types, small whole numbers as they are, larger ones by the nearest power of two and
 * whether they divide by four. Scales, rates and other f32 parameters do not count, nor do numbers of a run, such as a step.
 */
export function shapeClass(kernel: Kernel, params: Numbers, dtypes: Readonly<Record<string, DType>>): string {
  const sizes = Object.entries(kernel.params)
    .filter(([name, type]) => type !== "f32" && !kernel.running.includes(name))
    .map(([name]) => {
      const v = params[name];
      return v <= 4 ? `${name}=${v}` : `${name}~${2 ** Math.round(Math.log2(v))}${v % 4 ? "!" : ""}`;
    });
  const types = Object.entries(dtypes)
    .filter(([name, type]) => typeof kernel.types[name] === "object" && type !== "f32")
    .map(([name, type]) => `${name}:${type}`);
  return [...sizes, ...types].join(",");
}

/** Hash of everything in a kernel's description that is not shader text. */
export function descriptionHash(kernel: Kernel): string {
  const { name, reads, writes, params, types, variants } = kernel;
  const parts = variants.map((v) => [
    v.name,
    v.source.protocol === "data:" ? v.source.href : relativeName(v.source),
    v.lib,
    v.needs,
    v.dtypes,
    [v.when, v.consts, v.rebind, v.grid, v.tries].map((f) => (typeof f === "function" ? `${f}` : f)),
  ]);
  return hashText(JSON.stringify([name, reads, writes, params, types, parts]));
}

/** The helper files that a name stands for: one, or one for each type that the binding in braces may have. */
function helpers(kernel: Kernel, variant: Variant, lib: string): string[] {
  const binding = /\{(\w+)\}/.exec(lib)?.[1];
  if (!binding) return [lib];
  const type = kernel.types[binding];
  const dtypes = variant.dtypes?.[binding] ?? (typeof type === "object" ? type.dtypes : []);
  return dtypes.map((dtype) => lib.replace(`{${binding}}`, dtype));
}

/** The shader files of a kernel with their helpers. */
function shaderFiles(kernel: Kernel): URL[] {
  const urls = kernel.variants.flatMap((v) => [
    v.source,
    ...(v.lib ?? []).flatMap((lib) => helpers(kernel, v, lib)).map((name) => new URL(`lib/${name}.wgsl`, kernelsRoot)),
  ]);
  return [...new Map(urls.filter((u) => u.protocol !== "data:").map((u) => [u.href, u])).values()];
}

const relativeName = (url: URL) => (url.href.startsWith(kernelsRoot.href) ? url.href.slice(kernelsRoot.href.length) : url.href);

/** Hash of each shader text of a kernel. */
export async function sourceHashes(host: Host, kernel: Kernel): Promise<Record<string, string>> {
  const pairs = shaderFiles(kernel).map(async (url) => [relativeName(url), hashText(await host.readText(url))] as const);
  return Object.fromEntries(await Promise.all(pairs));
}

/** The cache file of an adapter, its driver and the features in use. */
export function tuningFileName(info: GPUAdapterInfo, without: readonly string[] = []): string {
  const { vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize } = info;
  const key = [vendor, architecture, device, description, subgroupMinSize, subgroupMaxSize, [...without].sort()].join("|");
  return `tuning/${hashText(key)}.json`;
}

export class Tuning {
  readonly file: TuningFile;
  private readonly known = new WeakMap<Kernel, TunedKernel | null>();

  constructor(file: TuningFile) {
    this.file = file;
  }

  /** Reads an adapter's choices and drops those whose shaders have changed; undefined where there are none. */
  static async load(host: Host, name: string): Promise<Tuning | undefined> {
    const text = await host.cache?.read(name);
    if (text === undefined) return undefined;
    const file = parse(text);
    if (!file) return undefined;
    const texts = new Map<string, Promise<string>>();
    const now = (source: string) => {
      const url = new URL(source, kernelsRoot);
      let p = texts.get(url.href);
      if (!p) texts.set(url.href, (p = host.readText(url).then(hashText, () => "gone")));
      return p;
    };
    const kernels: Record<string, TunedKernel> = {};
    for (const [kernelName, k] of Object.entries(file.kernels)) {
      const fresh = await Promise.all(Object.entries(k.sources).map(async ([source, hash]) => (await now(source)) === hash));
      if (fresh.every(Boolean)) kernels[kernelName] = k;
    }
    return new Tuning({ ...file, kernels });
  }

  /** The tuned variant and constants for a call, if its class was tuned. */
  find(kernel: Kernel, params: Numbers, dtypes: Readonly<Record<string, DType>>): { variant: Variant; consts: Numbers } | undefined {
    let k = this.known.get(kernel);
    if (k === undefined) {
      const stored = this.file.kernels[kernel.name];
      k = stored && stored.description === descriptionHash(kernel) ? stored : null;
      this.known.set(kernel, k);
    }
    const tuned = k?.classes[shapeClass(kernel, params, dtypes)];
    const variant = tuned && kernel.variants.find((v) => v.name === tuned.variant);
    return variant && { variant, consts: tuned.consts };
  }
}

/** A cache file, or undefined where it is damaged or of another format: it is only a cache. */
function parse(text: string): TuningFile | undefined {
  try {
    const file = JSON.parse(text) as TuningFile;
    return file.format === 1 && typeof file.kernels === "object" ? file : undefined;
  } catch {
    return undefined;
  }
}
