// The engine in Node: opens a device through Dawn, with the debug ladder and forced variants taken from the environment
// (GPU_DEBUG=1..4, KERNEL=name:variant, WORLDLINE_WITHOUT=subgroups,shader-f16), and with the choices of `worldline bench tune` for this
// adapter unless WORLDLINE_TUNING=off.
import { Device } from "./device.ts";
import type { OpenOptions } from "./host.ts";
import { nodeHost, openGPU } from "./host_node.ts";
import { Tuning, tuningFileName } from "./tuning.ts";

/** Opens the best adapter this machine offers; throws one sentence with the remedy if there is none. */
export async function openDevice(options: OpenOptions & { without?: readonly string[]; bindingBytes?: number } = {}): Promise<Device> {
  const { gpu, adapter } = await openGPU(options);
  const env = process.env;
  const without = [...(options.without ?? []), ...(env.WORLDLINE_WITHOUT ?? "").split(",").filter(Boolean)];
  const tuning = env.WORLDLINE_TUNING === "off" ? undefined : await Tuning.load(nodeHost, tuningFileName(adapter.info, without));
  const { bindingBytes } = options;
  return Device.open({ host: nodeHost, gpu, adapter, debug: Number(env.GPU_DEBUG ?? 0), force: env.KERNEL, without, tuning, bindingBytes });
}
