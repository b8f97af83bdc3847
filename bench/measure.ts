// Times the variants of a case against each other: they take turns launch by launch, so that drift of the machine hits all alike, until each
// median is known well enough or time is up. `cold` rotates over copies of the buffers until more bytes than the last-level cache holds lie
// between two uses of one. Every row carries its error against f64; a variant whose numbers are wrong is shown with the reason, not timed.
import type { Device } from "../engine/device.ts";
import type { Check, DType, Numbers, Variant } from "../kernels/kernel.ts";
import { dtypeBytes } from "../kernels/kernel.ts";
import type { Ceilings } from "./ceilings.ts";
import { type CaseData, caseData, caseName, type Prepared, prepare, typings, variantsFor, verify } from "./checks.ts";
import { type Summary, summarize } from "./statistics.ts";
import type { Launchable, Timer } from "./timer.ts";

export type Cache = "warm" | "cold";

export interface Options {
  readonly cache: Cache;
  /** Bytes that a cold run moves between two uses of a buffer. */
  readonly cacheBytes: number;
  /** Seconds of timing per variant at most. */
  readonly seconds: number;
  /** Stops when every median's 95% interval is within this share of it. */
  readonly spread: number;
  readonly seed: number;
}

export const defaults: Options = { cache: "cold", cacheBytes: 64 << 20, seconds: 0.4, spread: 0.02, seed: 1 };

/** One line of a table: a variant at a case. Times in microseconds. */
export interface Row extends Partial<Summary> {
  readonly kernel: string;
  readonly variant: string;
  readonly case: string;
  /** Element types that are not f32, as "b=f16". */
  readonly types: string;
  readonly cache: Cache;
  /** Constants that stood in for the variant's own; only while tuning. */
  readonly consts?: Numbers;
  /** Whether the engine takes this variant here. */
  readonly chosen: boolean;
  /** Worst error against f64, or what is wrong. */
  readonly error: number | string;
  /** Microseconds from asking for the pipeline to the first result: compilation, on a cold cache of the driver. */
  readonly first?: number;
  readonly flops?: number;
  readonly bytes?: number;
  readonly gflops?: number;
  readonly gbs?: number;
  /** Share of the nearer ceiling, and which one it is. */
  readonly share?: number;
  readonly bound?: "memory" | "arithmetic" | "launch";
  /** The samples in the order they were taken, thinned to 64. */
  readonly times?: readonly number[];
}

/** A variant and constants to be timed. */
export interface Candidate {
  readonly variant: Variant;
  readonly consts: Numbers;
}

interface Ready extends Candidate {
  readonly copies: Prepared[];
  /** Launches so far: each takes the next copy, those of a batch too. */
  turn: number;
  readonly first: number;
  readonly error: number | string;
  readonly times: number[];
}

/** Measures every case of a check that is worth timing, in each of its element types. */
export async function* measureCheck(
  device: Device,
  timer: Timer,
  check: Check,
  ceilings: Ceilings | undefined,
  options: Options,
  wanted: { readonly variant?: string; readonly case?: string } = {},
): AsyncGenerator<Row[]> {
  for (const c of check.bench ?? []) {
    if (wanted.case && caseName(c) !== wanted.case) continue;
    for (const dtypes of typings(device, check)) {
      const variants = variantsFor(device, check, c, dtypes).filter((v) => !wanted.variant || v.name === wanted.variant);
      const candidates = variants.map((variant) => ({ variant, consts: {} }));
      if (candidates.length) yield await measureCase(device, timer, check, c, dtypes, candidates, ceilings, options);
    }
  }
}

/** Measures candidates for one case against each other. */
export async function measureCase(
  device: Device,
  timer: Timer,
  check: Check,
  c: Numbers,
  dtypes: Record<string, DType>,
  candidates: readonly Candidate[],
  ceilings: Ceilings | undefined,
  options: Options,
): Promise<Row[]> {
  const data = caseData(check, c, dtypes, options.seed);
  const ready: Ready[] = [];
  try {
    for (const candidate of candidates) ready.push(await makeReady(device, data, candidate, options));
    await race(
      timer,
      ready.filter((r) => typeof r.error === "number"),
      options,
    );
    const choice = device.choose(check.kernel, data.params, dtypes);
    return ready.map((r) => rowOf(r, data, choice.variant === r.variant, ceilings, options));
  } finally {
    for (const r of ready) for (const p of r.copies) p.destroy();
  }
}

/** Compiles and checks a candidate and makes its copies. */
async function makeReady(device: Device, data: CaseData, candidate: Candidate, options: Options): Promise<Ready> {
  const copies: Prepared[] = [];
  let error: number | string;
  let first = 0;
  try {
    const begin = device.host.now();
    copies.push(await prepare(device, data, candidate.variant, candidate.consts));
    const encoder = device.raw.createCommandEncoder();
    const pass = encoder.beginComputePass();
    copies[0].dispatch(pass);
    pass.end();
    device.raw.queue.submit([encoder.finish()]);
    await device.finish();
    first = (device.host.now() - begin) * 1000;
    error = await verify(device, copies[0]);
    const bytes = [...data.contents.values()].reduce((a, b) => a + b.length, 0);
    const most = Math.min(64, Math.ceil((1 << 30) / bytes));
    const count = options.cache === "warm" ? 1 : Math.max(1, Math.min(most, 1 + Math.ceil(options.cacheBytes / bytes)));
    while (copies.length < count) copies.push(await prepare(device, data, candidate.variant, candidate.consts));
  } catch (cause) {
    error = (cause as Error).message;
  }
  return { ...candidate, copies, turn: 0, first, error, times: [] };
}

/** Lets the candidates take turns until their medians are known or time is up. The first round is not counted. */
async function race(timer: Timer, ready: readonly Ready[], options: Options): Promise<void> {
  const { host } = timer.device;
  const spent = ready.map(() => 0);
  for (let round = 0; ready.length; round++) {
    for (const [i, r] of ready.entries()) {
      if (round > 6 && spent[i] > options.seconds * 1000) continue;
      const begin = host.now();
      const typical = r.times.length ? r.times[r.times.length - 1] : 0;
      const count = round === 0 ? 1 : Math.max(1, Math.min(8, Math.floor(2000 / Math.max(1, typical))));
      const next: Launchable = (pass) => r.copies[r.turn++ % r.copies.length].dispatch(pass);
      const times = await timer.time(Array<Launchable>(count).fill(next));
      if (round > 0) r.times.push(...times);
      spent[i] += host.now() - begin;
    }
    const known = ready.every((r) => r.times.length >= 9 && summarize(r.times).spread < options.spread);
    const over = ready.every((r, i) => spent[i] > options.seconds * 1000 && r.times.length >= 3);
    if (known || over || round > 2000) return;
  }
}

function rowOf(r: Ready, data: CaseData, chosen: boolean, ceilings: Ceilings | undefined, options: Options): Row {
  const { check, c, dtypes } = data;
  const types = Object.entries(dtypes)
    .filter(([name, type]) => typeof check.kernel.types[name] === "object" && type !== "f32")
    .map(([name, type]) => `${name}=${type}`);
  const row: Row = {
    kernel: check.kernel.name,
    variant: r.variant.name,
    case: caseName(c),
    types: types.join(","),
    cache: options.cache,
    ...(Object.keys(r.consts).length ? { consts: r.consts } : {}),
    chosen,
    error: r.error,
  };
  if (r.times.length === 0) return row;
  const summary = summarize(r.times);
  const flops = check.flops?.(c);
  const size = (name: string) => dtypeBytes[dtypes[name] ?? "f32"];
  const bytes = check.bytes && Math.round(check.bytes(c, size) * (check.bytes.length > 1 ? 1 : bytesRatio(data)));
  const every = Math.ceil(r.times.length / 64);
  return {
    ...row,
    ...summary,
    first: r.first,
    flops,
    bytes,
    gflops: flops && flops / summary.median / 1e3,
    gbs: bytes && bytes / summary.median / 1e3,
    ...(ceilings ? shareOf(flops, bytes, summary.median, ceilings) : {}),
    times: r.times.filter((_, i) => i % every === 0).map((t) => Math.round(t * 100) / 100),
  };
}

/** A check counts bytes as if all were f32; this is what the bound types make of them. */
function bytesRatio({ check, dtypes, contents }: CaseData): number {
  let now = 0;
  let full = 0;
  for (const [name, bytes] of contents) {
    const type = dtypes[name] ?? "f32";
    const varies = typeof check.kernel.types[name] === "object";
    now += bytes.length;
    full += varies ? (bytes.length * 4) / dtypeBytes[type] : bytes.length;
  }
  return now / full;
}

/** The largest share of a ceiling that the work reaches: the nearer one limits it. Sums run in f32 whatever is stored, so f32 is the type. */
export function shareOf(
  flops: number | undefined,
  bytes: number | undefined,
  time: number,
  ceilings: Ceilings,
): { share?: number; bound?: Row["bound"] } {
  const shares = [
    {
      bound: "arithmetic" as const,
      share: flops ? flops / time / 1e3 / (ceilings.arithmetic.f32 ?? Number.POSITIVE_INFINITY) : 0,
    },
    { bound: "memory" as const, share: bytes ? bytes / time / 1e3 / ceilings.copy : 0 },
    { bound: "launch" as const, share: ceilings.launch / time },
  ];
  if (!flops && !bytes) return {};
  return shares.reduce((a, b) => (b.share > a.share ? b : a));
}
