// What the engine needs from the place it runs in: text and byte ranges by URL, a clock, a log line, and a WebGPU adapter.
// host_node.ts and host_browser.ts are the two implementations; everything else in engine/ sees only these types.

/** The services of a platform. */
export interface Host {
  /** Text at `url`, decoded as UTF-8. Throws a sentence naming the URL if it cannot be read. */
  readText(url: URL): Promise<string>;
  /** Bytes [begin, end) of `url`; exactly `end - begin` of them, else it throws. */
  readBytes(url: URL, begin: number, end: number): Promise<Uint8Array<ArrayBuffer>>;
  /** Milliseconds on a monotonic clock with a fraction. */
  now(): number;
  /** Bytes of memory that are free, where the platform says. */
  freeMemory?(): number | undefined;
  /** Prints one line for a person to read. */
  log(line: string): void;
  /** Texts kept between runs for this user, by a name like "tuning/x.json"; what cannot be read is undefined. */
  readonly cache?: { read(name: string): Promise<string | undefined>; write(name: string, text: string): Promise<void> };
}

/** Which kind of adapter is acceptable; `auto` prefers hardware and takes software. */
export type AdapterChoice = "auto" | "hardware" | "software";

/** How one source of adapters answered. */
export type AttemptResult = "ok" | "no loader" | "no driver" | "driver too old" | "refused";

/** One source that was asked for an adapter: which, the answer, and what it said. */
export interface Attempt {
  what: string;
  result: AttemptResult;
  detail: string;
}

/** What to ask for when opening WebGPU. */
export interface OpenOptions {
  adapter?: AdapterChoice;
  /** Dawn toggles to enable; a leading `-` disables one. Browsers ignore them. */
  toggles?: string[];
  /** The caller's own WebGPU instance, asked before anything else. */
  gpu?: GPU;
  /** Ask every source in order and find out why each one fails, which is slower; for diagnosis. */
  explain?: boolean;
}

/** An open WebGPU instance. `tried` ends with the attempt that worked. */
export interface OpenedGPU {
  gpu: GPU;
  adapter: GPUAdapter;
  tried: Attempt[];
}

/** Opens WebGPU or throws a NoAdapterError. */
export type OpenGPU = (options?: OpenOptions) => Promise<OpenedGPU>;

/** Nothing gave an adapter; the message says what was tried and which command mends it. */
export class NoAdapterError extends Error {
  readonly tried: Attempt[];
  constructor(wanted: AdapterChoice, tried: Attempt[], remedy: string) {
    const kind = wanted === "auto" ? "" : `${wanted} `;
    super(`No ${kind}WebGPU adapter: ${tried.map((t) => `${t.what}: ${t.result} (${t.detail})`).join("; ")}. ${remedy}`);
    this.name = "NoAdapterError";
    this.tried = tried;
  }
}

/** True for adapters that run on the CPU (llvmpipe, SwiftShader, WARP). */
export function isSoftware(info: GPUAdapterInfo): boolean {
  return info.isFallbackAdapter === true || /llvmpipe|lavapipe|swiftshader|software|warp|basic render/i.test(describe(info));
}

/** One line naming an adapter: description, else vendor, architecture and device. */
export function describe(info: GPUAdapterInfo): string {
  const parts = [info.vendor, info.architecture, info.device].filter((part) => part);
  return [info.description, parts.join(" ")].filter((part) => part).join(" / ") || "unnamed adapter";
}

/**
 * Asks one instance for an adapter of the wanted kind.
 * Returns the adapter or the sentence that says why what it offered does not fit; null when it offered nothing.
 */
export async function askFor(gpu: GPU, wanted: AdapterChoice): Promise<GPUAdapter | string | null> {
  const first = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!first || wanted === "auto" || isSoftware(first.info) === (wanted === "software")) return first;
  if (wanted === "software") {
    // Asked in this order because Dawn lists the system's software drivers only after a plain request.
    const fallback = await gpu.requestAdapter({ forceFallbackAdapter: true });
    if (fallback && isSoftware(fallback.info)) return fallback;
  }
  return `offers only ${describe(first.info)}, which is ${wanted === "software" ? "hardware" : "software"}`;
}
