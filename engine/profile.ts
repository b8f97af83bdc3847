// Where a plan's time goes: each launch in a pass of its own between two timestamps, summed by kernel key.
import { type Device, GPU_BUFFER } from "./device.ts";
import type { Bound } from "./plan.ts";

export interface ProfileRow {
  readonly key: string;
  readonly count: number;
  /** Microseconds per run. */
  readonly total: number;
  readonly mean: number;
  readonly share: number;
}

export interface Profile {
  readonly rows: readonly ProfileRow[];
  /** Microseconds of all launches per run; 0 where the adapter has no timestamps. */
  readonly total: number;
  /** Microseconds per run from submit to done, without per-launch passes. */
  readonly wall: number;
  /** Microseconds of JavaScript per run to encode and submit. */
  readonly host: number;
}

/** Profiles launches over several runs. */
export async function measure(device: Device, bound: readonly Bound[], runs: number): Promise<Profile> {
  const { host, wall } = await wallTime(device, bound, runs);
  const sums = new Map<string, { count: number; total: number }>();
  if (device.capabilities.features.has("timestamp-query")) {
    for (let r = 0; r < runs; r++) {
      for (let i = 0; i < bound.length; i += 1024) await timed(device, bound.slice(i, i + 1024), sums);
    }
  }
  const total = [...sums.values()].reduce((a, s) => a + s.total, 0) / runs;
  const rows = [...sums].map(([key, s]) => {
    const t = s.total / runs;
    return { key, count: s.count / runs, total: t, mean: s.total / s.count, share: t / total };
  });
  return { rows: rows.sort((a, b) => b.total - a.total), total, wall, host };
}

/** Puts launches into one pass, between two timestamps if wanted. */
export function launchPass(encoder: GPUCommandEncoder, bound: readonly Bound[], timestampWrites?: GPUComputePassTimestampWrites): void {
  const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
  for (const { launch, compiled, group } of bound) {
    const [x, y = 1, z = 1] = launch.choice.grid;
    pass.setPipeline(compiled.pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(x, y, z);
  }
  pass.end();
}

/** Encodes and submits. */
function submitPass(device: Device, encode: (encoder: GPUCommandEncoder) => void): void {
  const encoder = device.raw.createCommandEncoder();
  encode(encoder);
  device.raw.queue.submit([encoder.finish()]);
}

async function wallTime(device: Device, bound: readonly Bound[], runs: number): Promise<{ host: number; wall: number }> {
  let host = 0;
  await device.finish();
  const begin = device.host.now();
  for (let r = 0; r < runs; r++) {
    const t = device.host.now();
    submitPass(device, (encoder) => launchPass(encoder, bound));
    host += device.host.now() - t;
  }
  await device.finish();
  return { host: (host / runs) * 1000, wall: ((device.host.now() - begin) / runs) * 1000 };
}

async function timed(device: Device, bound: readonly Bound[], sums: Map<string, { count: number; total: number }>): Promise<void> {
  const { raw } = device;
  const count = bound.length * 2;
  const set = raw.createQuerySet({ type: "timestamp", count });
  const resolved = raw.createBuffer({ size: count * 8, usage: GPU_BUFFER.QUERY_RESOLVE | GPU_BUFFER.COPY_SRC });
  submitPass(device, (encoder) => {
    bound.forEach((b, i) => {
      launchPass(encoder, [b], { querySet: set, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 });
    });
    encoder.resolveQuerySet(set, 0, count, resolved, 0);
  });
  const words = (await device.readRanges([{ buffer: resolved, offset: 0, dtype: "u32", size: count * 2 }]))[0];
  const at = (i: number) => words[2 * i] + words[2 * i + 1] * 4294967296;
  bound.forEach((b, i) => {
    const key = b.launch.choice.key;
    const s = sums.get(key) ?? { count: 0, total: 0 };
    s.count++;
    s.total += Math.max(0, at(2 * i + 1) - at(2 * i)) / 1000;
    sums.set(key, s);
  });
  set.destroy();
  resolved.destroy();
}

/** A profile as a table for people. */
export function profileTable(p: Profile): string {
  const rows = p.rows.map(
    (r) =>
      `${r.key.padEnd(56)} ${String(r.count).padStart(5)} ${r.total.toFixed(0).padStart(9)} ${r.mean.toFixed(1).padStart(9)} ${(r.share * 100).toFixed(1).padStart(6)}%`,
  );
  const head = `${"kernel".padEnd(56)} count  total us   mean us  share`;
  const tail = `sum ${(p.total / 1000).toFixed(2)} ms, wall ${(p.wall / 1000).toFixed(2)} ms, host ${(p.host / 1000).toFixed(2)} ms (${((p.host / p.wall) * 100).toFixed(1)}% of wall)`;
  return [head, ...rows, tail].join("\n");
}
