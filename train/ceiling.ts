// The matmul ceiling of a device, measured now: what share of it training reaches is the honest figure on a shared or unknown machine.
import type { Device } from "../engine/device.ts";
import { linear } from "../engine/ops/index.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";

/** GFLOP/s of the best of several 1024 x 1024 x 1024 (512 on software adapters) f32 products on random data, each synchronised. */
export async function matmulCeiling(device: Device, rounds = 7): Promise<number> {
  const n = device.capabilities.software ? 512 : 2048;
  const rng = new Rng(0, "ceiling");
  const w = device.tensor([n, n], { name: "ceiling weight", data: rng.normals(n * n) });
  const tape = new Tape(device);
  const y = tape.keep(linear(tape.input("x", [n, n]), w));
  const plan = await tape.plan();
  plan.write("x", rng.normals(n * n));
  let best = 0;
  for (let i = 0; i < rounds; i++) {
    await device.finish();
    const begin = device.host.now();
    plan.run();
    await device.finish();
    if (i > 0) best = Math.max(best, (2 * n ** 3) / (device.host.now() - begin) / 1e6);
  }
  if (!Number.isFinite((await plan.read(y))[0][0])) throw new Error("the ceiling's matmul gave no number");
  plan.destroy();
  device.release(w.storage!.buffer, "other");
  return best;
}
