// Where the time of a whole command goes: every run of every plan between two timestamps, and in some runs every launch between two of its
// own. Set WORLDLINE_PROFILE=file.json for any program that opens its device with engine/node.ts, or use `worldline bench profile -- command`.
import { type Device, GPU_BUFFER, GPU_MAP_READ } from "./device.ts";
import type { Bound } from "./plan.ts";
import { launchPass } from "./profile.ts";

export interface RecordedKernel {
  readonly key: string;
  /** Launches over the whole command, and those that were timed one by one. */
  count: number;
  timed: number;
  /** Microseconds of the timed ones. */
  time: number;
  /** Bytes of the tensors bound by the timed ones: what would move if each were read or written once. */
  bytes: number;
}

/** Everything recorded; written as JSON. Times in microseconds. */
export interface Recording {
  readonly format: 1;
  readonly adapter: string;
  /** From the first submit to the end of the program. */
  readonly wall: number;
  /** GPU time between the first plan's begin and the last one's end, and the part in which a plan ran. */
  readonly span: number;
  readonly busy: number;
  readonly runs: number;
  readonly launches: number;
  /** JavaScript that encoded and submitted runs that were not timed launch by launch, and the launches of those. */
  readonly host: number;
  readonly hostLaunches: number;
  /** In runs timed launch by launch: from begin to end, and the sum of the launches. */
  readonly detailed: { readonly runs: number; readonly span: number; readonly sum: number };
  readonly kernels: readonly RecordedKernel[];
  /** By plan: its size, its runs, and their mean time. */
  readonly plans: readonly { readonly name: string; readonly launches: number; readonly runs: number; readonly mean: number }[];
}

interface PlanSum {
  readonly name: string;
  readonly launches: number;
  runs: number;
  timed: number;
  time: number;
}

/** Launches of a run that are timed one by one; the rest of a longer plan counts with its whole run only. */
const MOST = 2000;

export class Recorder {
  private readonly every: number;
  private readonly kernels = new Map<string, RecordedKernel>();
  private readonly plans = new Map<readonly Bound[], PlanSum>();
  private readonly spans: [begin: number, end: number][] = [];
  private readonly free = new Map<number, { set: GPUQuerySet; resolved: GPUBuffer; read: GPUBuffer }[]>();
  /** Runs encoded but not submitted, and what is to be read once they are. */
  private encoded = { launches: 0, detailed: false };
  private readonly waiting: (() => void)[] = [];
  private adapter = "";
  private began: number | undefined;
  private now = () => 0;
  private host = 0;
  private hostLaunches = 0;
  private detail = { runs: 0, span: 0, sum: 0 };

  /** Times each launch of a plan's second run and of every `every`-th after it; the first one compiles. */
  constructor(every = 10) {
    this.every = every;
  }

  /** Encodes one run in a plan's stead; `submitted` must follow the submit. */
  encode(device: Device, encoder: GPUCommandEncoder, bound: readonly Bound[]): void {
    this.now = device.host.now;
    this.adapter = device.describe();
    this.began ??= this.now();
    let plan = this.plans.get(bound);
    if (!plan) this.plans.set(bound, (plan = { name: nameOf(bound), launches: bound.length, runs: 0, timed: 0, time: 0 }));
    const stamps = device.capabilities.features.has("timestamp-query");
    const past = plan.runs++ - 1; // of the second run 0
    const detailed = past >= 0 && past % this.every === 0 && bound.length <= MOST && stamps;
    for (const b of bound) this.kernelOf(b).count++;
    this.encoded.launches += bound.length;
    this.encoded.detailed ||= detailed;
    if (stamps) this.stamped(device, encoder, bound, plan, detailed);
    else launchPass(encoder, bound);
  }

  /** Milliseconds of JavaScript that the runs encoded since the last call took, submit included. */
  submitted(ms: number): void {
    if (!this.encoded.detailed) {
      this.host += ms * 1000;
      this.hostLaunches += this.encoded.launches;
    }
    this.encoded = { launches: 0, detailed: false };
    for (const map of this.waiting.splice(0)) map();
  }

  private stamped(device: Device, encoder: GPUCommandEncoder, bound: readonly Bound[], plan: PlanSum, detailed: boolean): void {
    const count = detailed ? 2 * bound.length : 2;
    const kept = this.free.get(count)?.pop() ?? make(device, count);
    if (detailed) {
      bound.forEach((b, i) => {
        launchPass(encoder, [b], { querySet: kept.set, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 });
      });
    } else launchPass(encoder, bound, { querySet: kept.set, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 });
    encoder.resolveQuerySet(kept.set, 0, count, kept.resolved, 0);
    encoder.copyBufferToBuffer(kept.resolved, 0, kept.read, 0, 8 * count);
    const done = () => {
      const times = Array.from(new BigUint64Array(kept.read.getMappedRange()), Number);
      kept.read.unmap();
      const list = this.free.get(count);
      if (list) list.push(kept);
      else this.free.set(count, [kept]);
      this.add(bound, plan, times, detailed);
    };
    // A map that fails means that the device was lost, which the next read says.
    this.waiting.push(() => void kept.read.mapAsync(GPU_MAP_READ).then(done, () => {}));
  }

  /** Takes the timestamps of one run, nanoseconds. */
  add(bound: readonly Bound[], plan: { timed: number; time: number }, times: readonly number[], detailed: boolean): void {
    const [begin, end] = [times[0], times[times.length - 1]];
    this.spans.push([begin, end]);
    if (!detailed) {
      plan.timed++;
      plan.time += (end - begin) / 1000;
      return;
    }
    let sum = 0;
    bound.forEach((b, i) => {
      const time = Math.max(0, times[2 * i + 1] - times[2 * i]) / 1000;
      const kernel = this.kernelOf(b);
      kernel.timed++;
      kernel.time += time;
      kernel.bytes += b.launch.tensors.reduce((a, t) => a + t.bytes, 0);
      sum += time;
    });
    this.detail.runs++;
    this.detail.span += (end - begin) / 1000;
    this.detail.sum += sum;
  }

  private kernelOf(b: Bound): RecordedKernel {
    const { key } = b.launch.choice;
    let k = this.kernels.get(key);
    if (!k) this.kernels.set(key, (k = { key, count: 0, timed: 0, time: 0, bytes: 0 }));
    return k;
  }

  get empty(): boolean {
    return this.began === undefined;
  }

  /** What is known so far. */
  recording(): Recording {
    const { busy, span } = union(this.spans);
    const plans = [...this.plans.values()];
    return {
      format: 1,
      adapter: this.adapter,
      wall: this.began === undefined ? 0 : (this.now() - this.began) * 1000,
      span,
      busy,
      runs: plans.reduce((a, p) => a + p.runs, 0),
      launches: plans.reduce((a, p) => a + p.runs * p.launches, 0),
      host: this.host,
      hostLaunches: this.hostLaunches,
      detailed: this.detail,
      kernels: [...this.kernels.values()],
      plans: plans.map(({ name, launches, runs, timed, time }) => ({ name, launches, runs, mean: timed ? time / timed : 0 })),
    };
  }
}

/** Length of the union of spans and from the first begin to the last end, microseconds from nanoseconds. */
export function union(spans: readonly (readonly [number, number])[]): { busy: number; span: number } {
  const sorted = [...spans].sort((a, b) => a[0] - b[0]);
  let busy = 0;
  let end = Number.NEGATIVE_INFINITY;
  for (const [b, e] of sorted) {
    busy += Math.max(0, e - Math.max(b, end));
    end = Math.max(end, e);
  }
  return { busy: busy / 1000, span: sorted.length ? (end - sorted[0][0]) / 1000 : 0 };
}

const nameOf = (bound: readonly Bound[]) => {
  const scopes = bound.map((b) => b.launch.scope.split(".")[0]);
  const training = scopes.includes("backward");
  return `${training ? "training step" : "plan"} of ${bound.length} launches, first ${bound[0]?.launch.choice.kernel.name ?? "none"}, last ${bound[bound.length - 1]?.launch.choice.kernel.name ?? "none"}`;
};

function make(device: Device, count: number) {
  const { raw } = device;
  return {
    set: raw.createQuerySet({ type: "timestamp", count, label: "profile" }),
    resolved: raw.createBuffer({ size: 8 * count, usage: GPU_BUFFER.QUERY_RESOLVE | GPU_BUFFER.COPY_SRC, label: "profile" }),
    read: raw.createBuffer({ size: 8 * count, usage: GPU_BUFFER.MAP_READ | GPU_BUFFER.COPY_DST, label: "profile" }),
  };
}
