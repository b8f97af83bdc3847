// What this adapter can do at best, measured now: copying memory, multiplying and adding in each element type, the cost of one launch, of
// one submit, and of reading four bytes back. Every share in a table is a share of these.
import { type Device, stored } from "../engine/device.ts";
import checks from "../kernels/ceiling/ceiling.check.ts";
import { multiplyAddFlops } from "../kernels/ceiling/ceiling.ts";
import type { DType, Numbers } from "../kernels/kernel.ts";
import { caseData, prepare } from "./checks.ts";
import { ascending, median, quantile } from "./statistics.ts";
import { repeated, type Timer } from "./timer.ts";

export interface Ceilings {
  /** GB/s read and written by a copy of 2 x `copyBytes`. */
  readonly copy: number;
  readonly copyBytes: number;
  /** GFLOP/s of multiply-adds by element type. */
  readonly arithmetic: Partial<Record<DType, number>>;
  /** Microseconds of one more launch in a pass, of one more submit, and of reading four bytes from an idle device. */
  readonly launch: number;
  readonly submit: number;
  readonly readback: number;
}

const [copyCheck, arithmeticCheck] = checks;

/** Measures the ceilings; the best of several rounds each, because a ceiling is what is possible. Takes about a second. */
export async function measureCeilings(device: Device, timer: Timer, rounds = 7): Promise<Ceilings> {
  const { software } = device.capabilities;
  const n = software ? 1 << 23 : 1 << 25;
  const copy = (8 * n) / (await best(device, timer, 0, { n }, rounds)) / 1e3;
  const work: Numbers = software ? { n: 1 << 14, steps: 32, a: 0.5, b: 1 } : { n: 1 << 20, steps: 64, a: 0.5, b: 1 };
  const arithmetic: Partial<Record<DType, number>> = {};
  for (const type of ["f32", "f16"] as const) {
    if (type === "f16" && !device.capabilities.features.has("shader-f16")) continue;
    arithmetic[type] = multiplyAddFlops(work) / (await best(device, timer, 1, work, rounds, { y: type })) / 1e3;
  }
  return { copy, copyBytes: 4 * n, arithmetic, ...(await overheads(device, timer)) };
}

/** The shortest of several rounds of a ceiling kernel. */
async function best(
  device: Device,
  timer: Timer,
  which: 0 | 1,
  c: Numbers,
  rounds: number,
  dtypes: Record<string, DType> = {},
): Promise<number> {
  const check = which === 0 ? copyCheck : arithmeticCheck;
  // A large copy's data need not be random: memory moves at one speed whatever is in it.
  const inputs = which === 0 ? { ...check, inputs: () => ({ x: new Float32Array(c.n).fill(1) }) } : check;
  const p = await prepare(device, caseData(inputs, c, { x: "f32", y: "f32", ...dtypes }), check.kernel.variants[0]);
  try {
    await timer.time([p.dispatch]);
    return Math.min(...(await timer.time(Array(rounds).fill(p.dispatch))));
  } finally {
    p.destroy();
  }
}

async function overheads(device: Device, timer: Timer): Promise<Pick<Ceilings, "launch" | "submit" | "readback">> {
  const p = await prepare(device, caseData(copyCheck, { n: 4 }, { x: "f32", y: "f32" }), copyCheck.kernel.variants[0]);
  const word = device.tensor([1], { name: "readback word" });
  const launches = async (count: number) => quantile(ascending(await repeated(9, () => timer.wall(Array(count).fill(p.dispatch)))), 0.25);
  const submits = async (count: number) => {
    await device.finish();
    const begin = device.host.now();
    for (let i = 0; i < count; i++) {
      const encoder = device.raw.createCommandEncoder();
      const pass = encoder.beginComputePass();
      p.dispatch(pass);
      pass.end();
      device.raw.queue.submit([encoder.finish()]);
    }
    await device.finish();
    return (device.host.now() - begin) * 1000;
  };
  try {
    const launch = Math.max(0, ((await launches(512)) - (await launches(32))) / 480);
    const [many, few] = [median(await repeated(7, () => submits(72))), median(await repeated(7, () => submits(8)))];
    const readback = await repeated(15, async () => {
      await device.finish();
      const begin = device.host.now();
      await device.read(word);
      return (device.host.now() - begin) * 1000;
    });
    return { launch, submit: Math.max(0, (many - few) / 64), readback: median(readback) };
  } finally {
    p.destroy();
    device.release(stored(word).buffer, "other");
  }
}
