// What a kernel is: typed data beside its shader. A description names the buffers and numbers of one WGSL file, how many workgroups
// it needs, and which faster variants may stand in for it; it has no behaviour. Bindings are numbered reads, then writes, then Params.

export type DType = "f32" | "f16" | "u32";
export type ScalarType = "u32" | "i32" | "f32";
export type Grid = readonly [x: number, y?: number, z?: number];
export type Numbers = Record<string, number>;

/** Bytes of one element. */
export const dtypeBytes: Record<DType, number> = { f32: 4, f16: 2, u32: 4 };

/** What a variant may ask of the adapter. `lanes` is the subgroup size where it is fixed, else 0. */
export interface Capabilities {
  readonly features: ReadonlySet<string>;
  readonly lanes: number;
  readonly maxInvocations: number;
  readonly maxStorage: number;
  /** true where the adapter runs on the CPU. */
  readonly software: boolean;
}

/** Element type of one binding. A string is fixed; otherwise the shader's `alias` of that name is rebound to the bound tensor's type. */
export type ElementType = DType | { readonly alias: string; readonly dtypes: readonly DType[] };

/** One shader that computes the kernel. */
export interface Variant<P extends string = string> {
  readonly name: string;
  readonly source: URL;
  /** Helper files of kernels/lib, without ".wgsl". */
  readonly lib?: readonly string[];
  /** Features the adapter must have: "subgroups", "shader-f16". */
  readonly needs?: readonly string[];
  /** Bindings whose dtype must be f32 for this variant although the kernel allows others. */
  readonly dtypes?: Readonly<Record<string, readonly DType[]>>;
  /** Shapes and adapters it is meant for; always, when absent. */
  readonly when?: (p: Record<P, number>, device: Capabilities) => boolean;
  /** Values of the shader's `override` constants. */
  readonly consts?: Numbers | ((p: Record<P, number>, device: Capabilities) => Numbers);
  /** Values that `worldline bench tune` may try for some of these constants, besides the ones given. */
  readonly tries?: Readonly<Record<string, readonly number[]>>;
  /** Top-level `const` lines to rebind (lengths of private arrays), by name. */
  readonly rebind?: (p: Record<P, number>, device: Capabilities) => Numbers;
  readonly grid: (p: Record<P, number>, consts: Numbers) => Grid;
}

export interface Kernel<R extends string = string, W extends string = string, P extends string = string> {
  readonly name: string;
  readonly reads: readonly R[];
  readonly writes: readonly W[];
  /** 4-byte scalars, packed in order. */
  readonly params: Readonly<Record<P, ScalarType>>;
  /** Element types that are not f32. */
  readonly types: Readonly<Record<string, ElementType>>;
  /** In order of preference; the last one is the plain statement and fits everywhere. */
  readonly variants: readonly Variant<P>[];
}

interface KernelSpec<R extends string, W extends string, P extends string> extends Omit<Variant<P>, "name" | "when" | "dtypes"> {
  readonly name: string;
  readonly reads: readonly R[];
  readonly writes: readonly W[];
  readonly params: Readonly<Record<P, ScalarType>>;
  readonly types?: Readonly<Partial<Record<R | W, ElementType>>>;
  readonly variants?: readonly Variant<P>[];
}

/** Describes a kernel: the plain shader at the top level, faster ones in `variants`, tried in order before it. */
export function kernel<R extends string, W extends string, P extends string>(spec: KernelSpec<R, W, P>): Kernel<R, W, P> {
  const { name, reads, writes, params, types, variants = [], ...plain } = spec;
  return {
    name,
    reads,
    writes,
    params,
    types: (types ?? {}) as Record<string, ElementType>,
    variants: [...variants, { ...plain, name: "plain" }],
  };
}

/** Workgroups for n items, folded into two dimensions past the limit of 65,535; lib/grid.wgsl undoes the fold. */
export function grid2d(groups: number): Grid {
  if (groups <= 65535) return [groups];
  const y = Math.ceil(groups / 65535);
  return [Math.ceil(groups / y), y];
}

/** Data of a check: arrays by binding, numbers by parameter. */
export type Values = Record<string, Float32Array | Uint32Array | number>;
export type Results = Record<string, Float64Array | Uint32Array>;

/** What right means for a kernel: used by test/kernels.test.ts and bench/ alone. */
export interface Check {
  readonly kernel: Kernel;
  /** Sizes; parameters of the same name take these values.. */
  readonly cases: readonly Numbers[];
  /** Sizes worth timing. */
  readonly bench?: readonly Numbers[];
  /** Contents of every read, of those writes that are added to, and of parameters that are not in the case. */
  readonly inputs: (c: Numbers, rng: CheckRng) => Values;
  /** Elements of each write. */
  readonly outputs: (c: Numbers) => Numbers;
  /** Plain f64 loops: what the writes must hold. */
  readonly reference: (c: Numbers, inputs: Values) => Results;
  /** Largest |got - want| / (|want| + rms(want)) by the widest-rounding dtype bound; integer outputs must be equal. */
  readonly tolerance: { readonly f32: number; readonly f16?: number };
  /** Element types to run besides all-f32, by binding. */
  readonly dtypes?: readonly Readonly<Record<string, DType>>[];
  readonly flops?: (c: Numbers) => number;
  readonly bytes?: (c: Numbers) => number;
}

/** The random source that checks get; engine/rng.ts provides it. */
export interface CheckRng {
  normals(n: number, deviation?: number): Float32Array;
  uniform(low?: number, high?: number): number;
  int(n: number): number;
}

/** Marks an object as a check, for its type. */
export function check(c: Check): Check {
  return c;
}
