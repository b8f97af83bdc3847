// Sees to it that a WebGPU adapter works: opens one and runs a small shader on it; where there is none, installs a software driver, once.
// Run by bootstrap.mjs; by hand: `node --import tsx setup/adapter.ts`. Exit code 0 if an adapter works.
import { spawnSync } from "node:child_process";
import { realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { AdapterChoice } from "../engine/host.ts";
import { openGPU } from "../engine/host_node.ts";
import { installDriver } from "./driver.ts";

const COUNT = 256;
const SHADER = `@group(0) @binding(0) var<storage, read_write> x: array<u32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] = x[id.x] * id.x + 7u; }`;

/** Computes 3 i + 7 for 256 values on the adapter; null if every value is right, else the sentence that says what went wrong. Uses the adapter up. */
export async function proveAdapter(adapter: GPUAdapter): Promise<string | null> {
  try {
    const device = await adapter.requestDevice();
    const module = device.createShaderModule({ code: SHADER });
    const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
    const usage = { storage: 0x80 | 0x4 | 0x8, readback: 0x1 | 0x8 };
    const buffer = device.createBuffer({ size: 4 * COUNT, usage: usage.storage });
    const readback = device.createBuffer({ size: 4 * COUNT, usage: usage.readback });
    device.queue.writeBuffer(buffer, 0, new Uint32Array(COUNT).fill(3));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(
      0,
      device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [{ binding: 0, resource: { buffer } }] }),
    );
    pass.dispatchWorkgroups(COUNT / 64);
    pass.end();
    encoder.copyBufferToBuffer(buffer, 0, readback, 0, 4 * COUNT);
    device.queue.submit([encoder.finish()]);
    await readback.mapAsync(1);
    const got = [...new Uint32Array(readback.getMappedRange())];
    device.destroy();
    const wrong = got.findIndex((value, i) => value !== 3 * i + 7);
    return wrong < 0 ? null : `value ${wrong} of a small shader came out as ${got[wrong]}, not ${3 * wrong + 7}`;
  } catch (error) {
    return `a small shader could not be run: ${(error as Error).message.split("\n")[0]}`;
  }
}

/** Null if an adapter opens and computes, else the sentence that says why not. */
async function problem(adapter: AdapterChoice): Promise<string | null> {
  try {
    return await proveAdapter((await openGPU({ adapter })).adapter);
  } catch (error) {
    return (error as Error).message;
  }
}

/**
 * Asks for an adapter in a fresh process, because a Vulkan loader that was missing or blind at the first try stays so in this one.
 * True if one opens and computes.
 */
export function adapterWorks(wanted: AdapterChoice = "auto"): boolean {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), "--check", wanted];
  return spawnSync(process.execPath, args, { stdio: "ignore", timeout: 60_000 }).status === 0;
}

async function main(): Promise<number> {
  const check = process.argv[2] === "--check";
  const first = await problem(check ? (process.argv[3] as AdapterChoice) : "auto");
  if (!first) return 0;
  if (check) return fail(first);
  try {
    await installDriver(
      (line) => console.error(`worldline: ${line}`),
      () => adapterWorks(),
    );
    return 0;
  } catch (error) {
    return fail((error as Error).message);
  }
}

function fail(sentence: string): number {
  console.error(`worldline: ${sentence}`);
  return 1;
}

if (process.argv[1] && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) process.exitCode = await main();
