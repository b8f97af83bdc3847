// The engine in Node: opens a device through Dawn, with the debug ladder and forced variants taken from the environment
// (GPU_DEBUG=1..4, KERNEL=name:variant, WORLDLINE_WITHOUT=subgroups,shader-f16), and with the choices of `worldline bench tune` for this
// adapter unless WORLDLINE_TUNING=off. WORLDLINE_PROFILE=file writes where the time went when the program ends.
import { Device } from "./device.ts";
import type { OpenOptions } from "./host.ts";
import { nodeHost, openGPU, writeAtExit } from "./host_node.ts";
import { Recorder } from "./recorder.ts";
import { Tuning, tuningFileName } from "./tuning.ts";

/** Opens the best adapter this machine offers; throws one sentence with the remedy if there is none. */
export async function openDevice(options: OpenOptions & { without?: readonly string[]; bindingBytes?: number } = {}): Promise<Device> {
  const { gpu, adapter } = await openGPU(options);
  const env = process.env;
  const without = [...(options.without ?? []), ...(env.WORLDLINE_WITHOUT ?? "").split(",").filter(Boolean)];
  const tuning = env.WORLDLINE_TUNING === "off" ? undefined : await Tuning.load(nodeHost, tuningFileName(adapter.info, without));
  const { bindingBytes } = options;
  const recorder = env.WORLDLINE_PROFILE ? recordTo(env.WORLDLINE_PROFILE) : undefined;
  const debug = Number(env.GPU_DEBUG ?? 0);
  return Device.open({ host: nodeHost, gpu, adapter, debug, force: env.KERNEL, without, tuning, recorder, bindingBytes });
}

/** One recorder a process, whose findings are written when the process ends. */
function recordTo(file: string): Recorder {
  if (!recording) {
    const made = new Recorder(Number(process.env.WORLDLINE_PROFILE_EVERY) || 10);
    recording = made;
    writeAtExit(file, () => (made.empty ? undefined : JSON.stringify(made.recording())));
  }
  return recording;
}

let recording: Recorder | undefined;
