// Node's host: files for shaders and weights, and WebGPU by Dawn (npm `webgpu`).
// Adapters are asked for in this order: the caller's instance, the system's Vulkan drivers, then software drivers unpacked in the user's
// cache by `doctor --install` and loaded into this process: a plain library stays mapped when dlopened with RTLD_NODELETE, and Dawn's later
// open of `libvulkan.so.1` is answered by that name.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { mkdir, open, readFile, rename, writeFile } from "node:fs/promises";
import { constants, freemem, homedir } from "node:os";
import { dirname, join } from "node:path";
import { calmPolling } from "./calm.ts";
import type { AdapterChoice, Attempt, AttemptResult, Host, OpenedGPU, OpenOptions } from "./host.ts";
import { askFor, describe, NoAdapterError } from "./host.ts";

/** Files (`file:` URLs), `data:` URLs and http(s) through fetch; the clock is performance.now, the log is stderr. */
export const nodeHost: Host = {
  async readText(url) {
    if (url.protocol !== "file:") return new TextDecoder().decode(await fetched(url));
    return readFile(url, "utf8").catch(unreadable(url));
  },
  async readBytes(url, begin, end) {
    if (!(Number.isSafeInteger(begin) && Number.isSafeInteger(end) && begin >= 0 && begin <= end)) {
      throw new Error(`${url.href}: bytes ${begin} to ${end} are no range; give whole numbers with 0 <= begin <= end`);
    }
    const bytes = url.protocol === "file:" ? await fileRange(url, begin, end) : await fetched(url, begin, end);
    if (bytes.length !== end - begin) {
      throw new Error(
        `${url.href} ends before byte ${end} (bytes ${begin} to ${end} were asked for, ${bytes.length} came); is the file cut off?`,
      );
    }
    return bytes;
  },
  now: () => performance.now(),
  freeMemory() {
    const available = existsSync("/proc/meminfo") && /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "utf8"));
    return available ? Number(available[1]) * 1024 : freemem();
  },
  log: (line) => void process.stderr.write(line + "\n"),
  cache: {
    read: (name) => readFile(join(userCache(), name), "utf8").catch(() => undefined),
    async write(name, text) {
      const path = join(userCache(), name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(`${path}.${process.pid}`, text);
      await rename(`${path}.${process.pid}`, path);
    },
  },
};

/** Writes a text when the process ends, unless there is none by then. */
export function writeAtExit(path: string, text: () => string | undefined): void {
  process.once("exit", () => {
    const last = text();
    if (last !== undefined) writeFileSync(path, last);
  });
}

/** $XDG_CACHE_HOME/worldline, or ~/.cache/worldline. */
export function userCache(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "worldline");
}

function unreadable(url: URL): (error: Error) => never {
  return (error) => {
    throw new Error(`${url.href} cannot be read: ${error.message}`);
  };
}

async function fileRange(url: URL, begin: number, end: number): Promise<Uint8Array<ArrayBuffer>> {
  const file = await open(url).catch(unreadable(url));
  try {
    const bytes = new Uint8Array(end - begin);
    let filled = 0;
    while (filled < bytes.length) {
      const { bytesRead } = await file.read(bytes, filled, Math.min(bytes.length - filled, 1 << 30), begin + filled);
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  } catch (error) {
    return unreadable(url)(error as Error);
  } finally {
    await file.close();
  }
}

async function fetched(url: URL, begin?: number, end?: number): Promise<Uint8Array<ArrayBuffer>> {
  if (begin !== undefined && begin === end) return new Uint8Array(0);
  const ranged = begin !== undefined && end !== undefined;
  const reply = await fetch(url, ranged ? { headers: { Range: `bytes=${begin}-${end - 1}` } } : {}).catch(unreadable(url));
  if (!reply.ok) throw new Error(`${url.href} cannot be read: the server answered ${reply.status}`);
  const bytes = new Uint8Array(await reply.arrayBuffer());
  return ranged && reply.status !== 206 ? bytes.subarray(begin, end) : bytes;
}

/** Toggles every instance gets: experimental features, f16 on NVIDIA (the engine verifies its results), timestamps unrounded. */
const TOGGLES = ["allow_unsafe_apis", "vulkan_enable_f16_on_nvidia", "-timestamp_quantization"];

// An instance collected while a device of it lives takes the process down, so each is kept for the life of the process.
const instances = new Map<string, GPU>();

async function instance(key: string, toggles: string[]): Promise<GPU> {
  const all = [...new Set([...TOGGLES, ...toggles])];
  const full = `${key} ${all.join(",")}`;
  let gpu = instances.get(full);
  if (!gpu) {
    const { create, globals } = await import("webgpu");
    for (const [name, value] of Object.entries(Object.getOwnPropertyDescriptors(globals))) {
      if (!(name in globalThis)) Object.defineProperty(globalThis, name, { ...value, enumerable: false, configurable: true });
    }
    calmPolling();
    const enabled = all.filter((t) => !t.startsWith("-"));
    const disabled = all.filter((t) => t.startsWith("-")).map((t) => t.slice(1));
    const options = [`enable-dawn-features=${enabled.join(",")}`];
    if (disabled.length) options.push(`disable-dawn-features=${disabled.join(",")}`);
    gpu = create(options);
    instances.set(full, gpu);
  }
  return gpu;
}

/**
 * Opens WebGPU: caller's instance, system drivers, then the software drivers in the user's cache. A cached driver goes before the system's
 * while those are what they were when it was installed for want of them. `tried` lists the sources asked, the one that worked last.
 * Throws NoAdapterError, whose message names the command that installs a driver.
 */
export async function openGPU(options: OpenOptions = {}): Promise<OpenedGPU> {
  const wanted = options.adapter ?? "auto";
  const tried: Attempt[] = [];
  const silent: (() => void)[] = [];
  for (const source of sources(options)) {
    const { what } = source;
    try {
      const gpu = await source.open();
      const adapter = await askFor(gpu, wanted);
      if (adapter && typeof adapter !== "string") {
        tried.push({ what, result: "ok", detail: describe(adapter.info) });
        return { gpu, adapter, tried };
      }
      const attempt: Attempt = { what, result: adapter ? "refused" : "no driver", detail: adapter ?? "requestAdapter gave null" };
      tried.push(attempt);
      const { env } = source;
      if (!adapter && env) silent.push(() => Object.assign(attempt, explain(env)));
      if (options.explain) silent.pop()?.();
    } catch (error) {
      tried.push({ what, result: "refused", detail: firstLine(error) });
    } finally {
      source.close?.();
    }
  }
  for (const findOut of silent) findOut();
  throw new NoAdapterError(wanted, tried, remedy(wanted));
}

interface GPUSource {
  what: string;
  open(): GPU | Promise<GPU>;
  close?(): void;
  /** The environment in which a child process can ask again to learn why there is no adapter. */
  env?: NodeJS.ProcessEnv;
}

function sources({ adapter = "auto", toggles = [], gpu, explain = false }: OpenOptions): GPUSource[] {
  const system: GPUSource = { what: "system drivers", open: () => instance("system", toggles), env: { ...process.env } };
  const cached = adapter === "hardware" || process.platform !== "linux" ? [] : cachedDrivers();
  const sourceOf = (driver: CachedDriver): GPUSource => {
    const before = process.env.VK_DRIVER_FILES;
    return {
      what: driver.name,
      env: { ...process.env, VK_DRIVER_FILES: driver.icd },
      open() {
        process.env.VK_DRIVER_FILES = driver.icd;
        loadLibraries(driver);
        return instance(driver.icd, toggles);
      },
      close() {
        if (before === undefined) delete process.env.VK_DRIVER_FILES;
        else process.env.VK_DRIVER_FILES = before;
      },
    };
  };
  const now = explain || cached.length === 0 ? "" : systemStamp();
  const [first, last] = [cached.filter((driver) => driver.system === now), cached.filter((driver) => driver.system !== now)];
  const own: GPUSource[] = gpu ? [{ what: "the given WebGPU instance", open: () => gpu }] : [];
  return [...own, ...first.map(sourceOf), system, ...last.map(sourceOf)];
}

function firstLine(error: unknown): string {
  return String((error as Error)?.message ?? error).split("\n")[0];
}

function remedy(wanted: AdapterChoice): string {
  if (wanted === "hardware") return "Install the graphics card's Vulkan driver, or allow a software adapter.";
  const command = import.meta.url.includes("/node_modules/") ? "npx worldline doctor --install" : "npm run doctor -- --install";
  return `Run \`${command}${wanted === "software" ? " --adapter software" : ""}\` to install a software driver.`;
}

// ---- why there is no adapter

interface Failure {
  result: AttemptResult;
  detail: string;
}

/** Reads Dawn's and the Vulkan loader's words on stderr: which of loader, driver and driver version is missing. */
export function classify(stderr: string): Failure {
  const lines = stderr.split("\n").map((line) => line.replace(/^(Warning|Error): /, "").trim());
  const find = (pattern: RegExp) => lines.find((line) => pattern.test(line));
  const loader = find(/Couldn't load Vulkan|libvulkan\.so\.1: cannot open/);
  if (loader) return { result: "no loader", detail: loader };
  const old = find(/Vulkan .*\brequired|requires? Vulkan 1\.\d|Vulkan 1\.\d.* (is )?required/);
  if (old) return { result: "driver too old", detail: old };
  const driver = find(/Found no drivers|VK_ERROR_INCOMPATIBLE_DRIVER|No physical devices/i);
  if (driver) return { result: "no driver", detail: driver };
  const said = lines.filter((line) => line && !/artificially reduced|^at /.test(line));
  if (said.length === 0) return { result: "no driver", detail: "the drivers offer no adapter" };
  return { result: "refused", detail: said[said.length - 1] };
}

const PROBE = `const { create } = await import(process.argv[1]); globalThis.kept = create(["enable-dawn-features=allow_unsafe_apis"]);
await globalThis.kept.requestAdapter({ powerPreference: "high-performance" });`;

// Dawn writes its reasons to the process's stderr from native code, so they are read off a child that asks the same question.
function explain(env: NodeJS.ProcessEnv): Failure {
  const child = spawnSync(process.execPath, ["--input-type=module", "-e", PROBE, import.meta.resolve("webgpu")], {
    env,
    encoding: "utf8",
    timeout: 20_000,
    stdio: ["ignore", "ignore", "pipe"],
  });
  if (child.error) return { result: "refused", detail: `the reason could not be found out: ${child.error.message}` };
  return classify(child.stderr);
}

// ---- software drivers in the user's cache

/** A software driver unpacked in the cache: the loader's manifest and the folders its libraries lie in. */
export interface CachedDriver {
  name: string;
  icd: string;
  library: string;
  folders: string[];
  /** What systemStamp() was when it was installed. */
  system: string;
}

/** What the system offers the Vulkan loader, as text: it changes when a driver comes, goes or is hidden. */
export function systemStamp(): string {
  const folders = ["/usr/share/vulkan/icd.d", "/usr/local/share/vulkan/icd.d", "/etc/vulkan/icd.d"];
  const manifests = folders.flatMap((folder) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []));
  const stamps = ["/etc/ld.so.cache", ...manifests.sort()].map((path) => `${path} ${statSync(path, { throwIfNoEntry: false })?.mtimeMs}`);
  const seen = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "LD_LIBRARY_PATH"].map((name) => `${name}=${process.env[name] ?? ""}`);
  return [...stamps, ...seen].join(" ");
}

/** Where `doctor --install` puts drivers: $XDG_CACHE_HOME/worldline/driver, or ~/.cache/worldline/driver. */
export function driverCache(): string {
  return join(userCache(), "driver");
}

/** The drivers in the cache, best first; a folder counts once its driver.json, which is written last, is there and whole. */
export function cachedDrivers(cache = driverCache()): CachedDriver[] {
  return ["lavapipe", "swiftshader"].flatMap((kind) => {
    try {
      const driver = JSON.parse(readFileSync(join(cache, kind, "driver.json"), "utf8")) as CachedDriver;
      return existsSync(driver.icd) && existsSync(driver.library) ? [driver] : [];
    } catch {
      return [];
    }
  });
}

const RTLD_NODELETE = 0x1000;

/** Maps the loader, the driver and every library of the folders the driver asks for into this process. */
function loadLibraries(driver: CachedDriver): void {
  const found = new Map<string, string>();
  for (const folder of driver.folders) {
    for (const name of existsSync(folder) ? readdirSync(folder) : []) if (name.includes(".so")) found.set(name, join(folder, name));
  }
  const loading = new Set<string>();
  const load = (path: string): void => {
    loading.add(path);
    for (;;) {
      const missing = /^(?:Error: )?(\S+): cannot open shared object file/.exec(tryOpen(path))?.[1];
      const next = missing && found.get(missing);
      if (!next || loading.has(next)) return;
      load(next);
    }
  };
  const loader = found.get("libvulkan.so.1");
  if (loader) load(loader);
  load(driver.library);
}

function tryOpen(path: string): string {
  try {
    process.dlopen({ exports: {} }, path, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL | RTLD_NODELETE);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}
