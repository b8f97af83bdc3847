// What a kernel is: typed data beside its shader. A description names the buffers and numbers of one WGSL file, how many workgroups
// it needs, and which faster variants may stand in for it; it has no behaviour. Bindings are numbered reads, then writes, then Params.

/** bf16: two to a u32. int8 and int4: four and eight to a u32, rows begin on a word, one scale per group of a row (weights/quantize.ts). */
export type DType = "f32" | "f16" | "bf16" | "int8" | "int4" | "u32";
export type ScalarType = "u32" | "i32" | "f32";
export type Grid = readonly [x: number, y?: number, z?: number];
export type Numbers = Record<string, number>;

/** Bytes of one element, without the scales of int8 and int4. */
export const dtypeBytes: Record<DType, number> = { f32: 4, f16: 2, bf16: 2, int8: 1, int4: 0.5, u32: 4 };

/** Types in which a matrix can be stored; kernels/lib has access to each in stored_<dtype>.wgsl. */
export const storedTypes = ["f32", "f16", "bf16", "int8", "int4"] as const;

/** Bytes of a row-major tensor without its scales: rows of int8 and int4 are filled up to whole words. */
export function storedBytes(shape: readonly number[], dtype: DType): number {
  const columns = shape[shape.length - 1];
  const rows = shape.slice(0, -1).reduce((a, b) => a * b, 1);
  const bytes = columns * dtypeBytes[dtype];
  return rows * (dtype === "int8" || dtype === "int4" ? Math.ceil(bytes / 4) * 4 : bytes);
}

export interface MatrixUnit {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly type: string;
  readonly sums: string;
}

/** The largest matrix unit for f16 with sums in f32: what kernels/lib/matrix_units.wgsl is for. */
export const unitOf = ({ matrices }: Capabilities): MatrixUnit | undefined =>
  matrices.filter((m) => m.type === "f16" && m.sums === "f32").sort((a, b) => b.M * b.N * b.K - a.M * a.N * a.K)[0];

/** What a variant may ask of the adapter. `lanes` is the subgroup size where it is fixed, else 0. */
export interface Capabilities {
  readonly features: ReadonlySet<string>;
  readonly lanes: number;
  readonly maxInvocations: number;
  readonly maxStorage: number;
  /** Products that a subgroup's matrix units offer: (M, K) by (K, N) of a type, added up in another; none without them. */
  readonly matrices: readonly MatrixUnit[];
  /** true where the adapter runs on the CPU. */
  readonly software: boolean;
}

/**
 * Element type of one binding. A string is fixed; with `alias` the shader's alias of that name is rebound to the bound tensor's type; with
 * `stored` the binding is read through the functions of kernels/lib/stored_<dtype>.wgsl, which a variant names in its `lib`.
 */
export type ElementType =
  | DType
  | { readonly alias: string; readonly dtypes: readonly DType[] }
  | { readonly stored: true; readonly dtypes: readonly DType[] };

/** One shader that computes the kernel. */
export interface Variant<P extends string = string> {
  readonly name: string;
  readonly source: URL;
  /** Helper files of kernels/lib, without ".wgsl"; "{b}" in a name stands for the dtype bound to b. */
  readonly lib?: readonly string[];
  /** Features the adapter must have: "subgroups", "shader-f16". */
  readonly needs?: readonly string[];
  /** Bindings whose dtype must be f32 for this variant although the kernel allows others. */
  readonly dtypes?: Readonly<Record<string, readonly DType[]>>;
  /** No adapter that has what it needs has run it yet: it is taken only where it is forced, or `worldline bench tune` found it right and faster. */
  readonly onTrial?: boolean;
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
  /** Parameters that change from run to run and choose nothing: no part of a class of shapes (engine/tuning.ts). */
  readonly running: readonly string[];
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
  readonly running?: readonly NoInfer<P>[];
  readonly types?: Readonly<Partial<Record<R | W, ElementType>>>;
  readonly variants?: readonly Variant<P>[];
}

/** Describes a kernel: the plain shader at the top level, faster ones in `variants`, tried in order before it. */
export function kernel<R extends string, W extends string, P extends string>(spec: KernelSpec<R, W, P>): Kernel<R, W, P> {
  const { name, reads, writes, params, running = [], types, variants = [], ...plain } = spec;
  return {
    name,
    reads,
    writes,
    params,
    running,
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
  /** Numbers that one sum of a case adds. Rounding in f32 grows with the root of it, and so does the f32 limit from 256 on. */
  readonly terms?: (c: Numbers) => number;
  /** Matrices that may be stored as int8 or int4: by binding, that of its scales and the columns of a row. The case's `group` is log2 of a group. */
  readonly quantized?: Readonly<Record<string, { readonly scales: string; readonly columns: (c: Numbers) => number }>>;
  /** Element types to run besides all-f32, by binding. */
  readonly dtypes?: readonly Readonly<Record<string, DType>>[];
  readonly flops?: (c: Numbers) => number;
  /** As if all were f32; or, where a launch does not touch every binding whole, with the bytes of an element of a binding. */
  readonly bytes?: (c: Numbers, size: (binding: string) => number) => number;
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
