// Times launches: by timestamps around a pass of each launch where the adapter has them, else by the wall time of many launches in one
// submit, from which an empty submit is taken away. For a software adapter on a busy machine there is a third way: the processor time that
// this process took for the launches, over all its threads, which other programs hardly change. Microseconds throughout.
import { type Device, GPU_BUFFER } from "../engine/device.ts";
import { median } from "./statistics.ts";

/** Puts one launch into a pass. */
export type Launchable = (pass: GPUComputePassEncoder) => void;

export type TimerKind = "timestamps" | "batches" | "processor";

const MOST = 64;
const BATCH_US = 4000;

export class Timer {
  readonly device: Device;
  readonly kind: TimerKind;
  private readonly queries: { readonly set: GPUQuerySet; readonly resolved: GPUBuffer } | undefined;
  private empty: number | undefined;
  private readonly clock: () => number;

  /** `kind` may force batches where timestamps exist, or processor time, for which `spent` gives the microseconds taken so far. */
  constructor(device: Device, kind: TimerKind = "timestamps", spent?: () => number) {
    this.device = device;
    this.kind = kind === "timestamps" && !device.capabilities.features.has("timestamp-query") ? "batches" : kind;
    this.clock = kind === "processor" && spent ? spent : () => device.host.now() * 1000;
    if (this.kind === "timestamps") {
      const { raw } = device;
      this.queries = {
        set: raw.createQuerySet({ type: "timestamp", count: 2 * MOST }),
        resolved: raw.createBuffer({ size: 16 * MOST, usage: GPU_BUFFER.QUERY_RESOLVE | GPU_BUFFER.COPY_SRC, label: "timestamps" }),
      };
    }
  }

  /** Times each launch once, in order; `before` runs untimed ahead of each. Batches repeat a launch and give its mean. */
  async time(launches: readonly Launchable[], before?: Launchable): Promise<number[]> {
    const times: number[] = [];
    for (let i = 0; i < launches.length; i += MOST) {
      const some = launches.slice(i, i + MOST);
      times.push(...(this.queries ? await this.stamped(some, before) : await this.batches(some)));
    }
    return times;
  }

  private async stamped(launches: readonly Launchable[], before?: Launchable): Promise<number[]> {
    const { raw } = this.device;
    const { set, resolved } = this.queries!;
    const encoder = raw.createCommandEncoder({ label: "timed" });
    launches.forEach((launch, i) => {
      if (before) inPass(encoder, before);
      inPass(encoder, launch, { querySet: set, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 });
    });
    encoder.resolveQuerySet(set, 0, 2 * launches.length, resolved, 0);
    raw.queue.submit([encoder.finish()]);
    const [w] = await this.device.readRanges([{ buffer: resolved, offset: 0, dtype: "u32", size: 4 * launches.length }]);
    return launches.map((_, i) => (w[4 * i + 2] - w[4 * i] + (w[4 * i + 3] - w[4 * i + 1]) * 4294967296) / 1000);
  }

  private async batches(launches: readonly Launchable[]): Promise<number[]> {
    this.empty ??= median(await repeated(9, () => this.wall([])));
    const times: number[] = [];
    for (const launch of launches) {
      const once = Math.max(1, (await this.wall([launch])) - this.empty);
      const count = Math.max(1, Math.min(256, Math.ceil(BATCH_US / once)));
      const all = count === 1 ? once : Math.max(1, (await this.wall(Array<Launchable>(count).fill(launch))) - this.empty);
      times.push(all / count);
    }
    return times;
  }

  /** Time of one submit of launches in one pass, from an idle device to done: by the wall, or of the processor where that is the kind. */
  async wall(launches: readonly Launchable[]): Promise<number> {
    const { raw } = this.device;
    await this.device.finish();
    const begin = this.clock();
    const encoder = raw.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const launch of launches) launch(pass);
    pass.end();
    raw.queue.submit([encoder.finish()]);
    await this.device.finish();
    return this.clock() - begin;
  }

  destroy(): void {
    this.queries?.set.destroy();
    this.queries?.resolved.destroy();
  }
}

function inPass(encoder: GPUCommandEncoder, launch: Launchable, timestampWrites?: GPUComputePassTimestampWrites): void {
  const pass = encoder.beginComputePass(timestampWrites ? { timestampWrites } : {});
  launch(pass);
  pass.end();
}

/** The results of several calls, one after another. */
export async function repeated<T>(times: number, call: () => Promise<T>): Promise<T[]> {
  const out: T[] = [];
  for (let i = 0; i < times; i++) out.push(await call());
  return out;
}
