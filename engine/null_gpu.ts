// A WebGPU that has no device behind it: everything can be recorded and planned on it, nothing runs, and only sizes are kept. What a plan would take is so
// found by the code that takes it.
import { Device } from "./device.ts";
import type { Host } from "./host.ts";

/** What the adapter stands for. */
export interface NullAdapter {
  readonly features?: readonly string[];
  readonly lanes?: number;
  /** Bytes of one binding, and of one buffer; a large GPU's under Dawn unless told. */
  readonly bindingBytes?: number;
  readonly bufferBytes?: number;
}

/** A device on which memory is counted but not taken. Reading results is an error. */
export function openNullDevice(host: Host, o: NullAdapter = {}): Promise<Device> {
  const { lanes = 32, bindingBytes = 2 ** 31 - 4, bufferBytes = 2 ** 32 } = o;
  const features = new Set(o.features ?? ["shader-f16", "subgroups"]);
  const limits = {
    maxStorageBufferBindingSize: bindingBytes,
    maxBufferSize: bufferBytes,
    maxStorageBuffersPerShaderStage: 16,
    maxComputeWorkgroupStorageSize: 49152,
    maxComputeInvocationsPerWorkgroup: 1024,
    maxComputeWorkgroupSizeX: 1024,
    maxComputeWorkgroupSizeY: 1024,
    minStorageBufferOffsetAlignment: 256,
    minUniformBufferOffsetAlignment: 256,
  };
  const info = {
    vendor: "none",
    architecture: "none",
    device: "null",
    description: "no device",
    subgroupMinSize: lanes,
    subgroupMaxSize: lanes,
  };
  const object = (label?: string) => ({ label });
  const raw = {
    features,
    limits,
    lost: new Promise(() => undefined),
    queue: { writeBuffer: () => undefined, submit: () => undefined, onSubmittedWorkDone: () => Promise.resolve() },
    createBuffer: ({ size, label }: { size: number; label?: string }) => ({ size, label, destroy: () => undefined }),
    createShaderModule: ({ label }: { label?: string }) => object(label),
    createBindGroupLayout: ({ label }: { label?: string }) => object(label),
    createPipelineLayout: ({ label }: { label?: string }) => object(label),
    createComputePipelineAsync: ({ label }: { label?: string }) => Promise.resolve(object(label)),
    createBindGroup: ({ label }: { label?: string }) => object(label),
    pushErrorScope: () => undefined,
    popErrorScope: () => Promise.resolve(null),
    destroy: () => undefined,
  };
  const adapter = { features, limits, info, requestDevice: () => Promise.resolve(raw) } as unknown as GPUAdapter;
  return Device.open({ host, gpu: {} as GPU, adapter });
}
