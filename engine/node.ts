// The engine in Node: opens a device through Dawn, with the debug ladder and forced variants taken from the environment
// (GPU_DEBUG=1..4, KERNEL=name:variant, WORLDLINE_WITHOUT=subgroups,shader-f16).
import { Device } from "./device.ts";
import type { OpenOptions } from "./host.ts";
import { nodeHost, openGPU } from "./host_node.ts";

/** Opens the best adapter this machine offers; throws one sentence with the remedy if there is none. */
export async function openDevice(options: OpenOptions & { without?: readonly string[] } = {}): Promise<Device> {
  const { gpu, adapter } = await openGPU(options);
  const env = process.env;
  const without = [...(options.without ?? []), ...(env.WORLDLINE_WITHOUT ?? "").split(",").filter(Boolean)];
  return Device.open({ host: nodeHost, gpu, adapter, debug: Number(env.GPU_DEBUG ?? 0), force: env.KERNEL, without });
}
