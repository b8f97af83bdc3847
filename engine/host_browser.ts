// The browser's host: the same services as host_node.ts over fetch, performance, console and navigator.gpu. The only file that names navigator.

import type { Attempt, Host, OpenedGPU, OpenOptions } from "./host.ts";
import { askFor, describe, NoAdapterError } from "./host.ts";

/** Reads through fetch (byte ranges by the Range header, with a cut of the whole file where the server ignores it). */
export const browserHost: Host = {
  async readText(url) {
    return (await get(url, {})).text();
  },
  async readBytes(url, begin, end) {
    if (!(Number.isSafeInteger(begin) && Number.isSafeInteger(end) && begin >= 0 && begin <= end)) {
      throw new Error(`${url.href}: bytes ${begin} to ${end} are no range; give whole numbers with 0 <= begin <= end`);
    }
    if (begin === end) return new Uint8Array(0);
    const reply = await get(url, { headers: { Range: `bytes=${begin}-${end - 1}` } });
    const whole = new Uint8Array(await reply.arrayBuffer());
    const bytes = reply.status === 206 ? whole : whole.subarray(begin, end);
    if (bytes.length !== end - begin) {
      throw new Error(
        `${url.href} ends before byte ${end} (bytes ${begin} to ${end} were asked for, ${bytes.length} came); is the file cut off?`,
      );
    }
    return bytes;
  },
  now: () => performance.now(),
  log: (line) => console.log(line),
  cache: {
    read: async (name) => localStorage.getItem(`worldline/${name}`) ?? undefined,
    write: async (name, text) => localStorage.setItem(`worldline/${name}`, text),
  },
};

async function get(url: URL, options: RequestInit): Promise<Response> {
  const reply = await fetch(url, options).catch((error: Error) => {
    throw new Error(`${url.href} cannot be read: ${error.message}`);
  });
  if (!reply.ok) throw new Error(`${url.href} cannot be read: the server answered ${reply.status}`);
  return reply;
}

/** Opens WebGPU: the caller's instance, then navigator.gpu. Throws NoAdapterError with what to do. */
export async function openGPU(options: OpenOptions = {}): Promise<OpenedGPU> {
  const wanted = options.adapter ?? "auto";
  const tried: Attempt[] = [];
  const own: GPU | undefined = globalThis.navigator?.gpu;
  for (const [what, gpu] of [["the given WebGPU instance", options.gpu] as const, ["navigator.gpu", own] as const]) {
    if (!gpu) continue;
    const adapter = await askFor(gpu, wanted);
    if (adapter && typeof adapter !== "string") {
      tried.push({ what, result: "ok", detail: describe(adapter.info) });
      return { gpu, adapter, tried };
    }
    tried.push({ what, result: adapter ? "refused" : "no driver", detail: adapter ?? "requestAdapter gave null" });
  }
  if (!own) {
    tried.push({
      what: "navigator.gpu",
      result: "no loader",
      detail: isSecureContext ? "this browser has no WebGPU" : "the page is not a secure context",
    });
  }
  throw new NoAdapterError(wanted, tried, remedy(own !== undefined));
}

function remedy(present: boolean): string {
  if (!present && !isSecureContext) return "Serve the page over https or from localhost.";
  return "Use a browser with WebGPU; in headless Chromium pass --enable-unsafe-webgpu.";
}
