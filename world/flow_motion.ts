// Motion as optical flow: the mean length of the flow between two frames, in pixels of a frame whose longer side is 128. This is the paper's measure
// of motion (its section 3.2; statistic and size are our choice). One plan per frame size; videos that run side by side take turns.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { type FlowOptions, flowSpeeds, opticalFlow } from "../engine/ops/index.ts";
import type { Plan } from "../engine/plan.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { greyFrame, type MotionMeasure, type SmallFrame } from "./motion.ts";

/** Longest side of the frames that flow is measured on. */
export const flowSide = 128;

const mostSizes = 8;

interface Sized {
  readonly plan: Plan;
  readonly flow: Tensor;
  readonly speeds: Tensor;
}

/** Optical flow of frames of any sizes on one device, one pair at a time. */
export class FlowMeter {
  private readonly device: Device;
  private readonly options: Partial<FlowOptions>;
  private readonly bySize = new Map<string, Sized>();
  private last: Promise<unknown> = Promise.resolve();

  constructor(device: Device, options: Partial<FlowOptions> = {}) {
    this.device = device;
    this.options = options;
  }

  /** Mean length of the flow of `a` into `b`, in pixels. */
  readonly speed = async (a: SmallFrame, b: SmallFrame): Promise<number> => {
    const parts = await this.run(a, b, (s) => s.speeds);
    return parts.reduce((sum, part) => sum + part, 0) / (a.width * a.height);
  };

  /** The flow itself: (height, width, 2), the displacement (dx, dy) of each pixel of `a`. */
  flow(a: SmallFrame, b: SmallFrame): Promise<Float32Array> {
    return this.run(a, b, (s) => s.flow);
  }

  private run(a: SmallFrame, b: SmallFrame, what: (sized: Sized) => Tensor): Promise<Float32Array> {
    if (a.width !== b.width || a.height !== b.height)
      throw new WorldlineError(`flow: frames of ${a.width} x ${a.height} and ${b.width} x ${b.height} cannot be compared; scale one first`);
    const work = this.last.then(async () => {
      const sized = await this.sized(a.height, a.width);
      sized.plan.write("a", greyFrame(a)).write("b", greyFrame(b)).run();
      return (await sized.plan.read(what(sized)))[0] as Float32Array;
    });
    this.last = work.catch(() => undefined);
    return work;
  }

  /** The plan for a size; the least lately used goes where more than `mostSizes` would be held. Called by one pair at a time. */
  private async sized(height: number, width: number): Promise<Sized> {
    const key = `${height} ${width}`;
    const sized = this.bySize.get(key) ?? (await this.record(height, width));
    this.bySize.delete(key);
    this.bySize.set(key, sized);
    const [oldest] = this.bySize.keys();
    if (this.bySize.size > mostSizes) {
      this.bySize.get(oldest)!.plan.destroy();
      this.bySize.delete(oldest);
    }
    return sized;
  }

  private async record(height: number, width: number): Promise<Sized> {
    const tape = new Tape(this.device);
    const flow = tape.keep(opticalFlow(tape.input("a", [height, width]), tape.input("b", [height, width]), this.options));
    const speeds = tape.keep(flowSpeeds(flow));
    return { plan: await tape.plan(), flow, speeds };
  }

  /** Frees the plans. */
  async destroy(): Promise<void> {
    await this.last;
    for (const sized of this.bySize.values()) sized.plan.destroy();
    this.bySize.clear();
  }
}

/** The measure for key frames. */
export function flowMeasure(device: Device): { readonly measure: MotionMeasure; readonly destroy: () => Promise<void> } {
  const meter = new FlowMeter(device);
  return { measure: { name: "flow", side: flowSide, between: meter.speed }, destroy: () => meter.destroy() };
}
