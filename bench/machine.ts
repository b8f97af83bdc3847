// What the lab wants to know of the machine it runs on (Node only).
import { readdirSync, readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const self = fileURLToPath(import.meta.url);

/** The folder of this checkout or package, and Node's arguments that run a command of it in a process of its own. */
export const root = join(dirname(self), "..");
export const commandLine = (...args: readonly string[]): string[] => [
  ...process.execArgv,
  join(root, "cli", `main${extname(self)}`),
  ...args,
];

/** Load average of the last minute per core: over about 0.5, something else runs too. */
export const load = (): number => loadavg()[0] / cpus().length;

/** Bytes of the largest processor cache; 32 MiB where the system does not say. */
export function lastLevelCache(folder = "/sys/devices/system/cpu/cpu0/cache"): number {
  try {
    const sizes = readdirSync(folder)
      .filter((name) => name.startsWith("index"))
      .map((name) => /^(\d+)([KMG]?)/.exec(readFileSync(`${folder}/${name}/size`, "utf8")))
      .map((m) => (m ? Number(m[1]) * { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30 }[m[2] as "" | "K" | "M" | "G"] : 0));
    return Math.max(...sizes, 2 ** 20);
  } catch {
    return 32 * 2 ** 20;
  }
}

/** Bytes between two uses of a buffer in a cold run: past the cache of a processor (at most 256 MiB) or of a card (128 MiB). */
export const coldBytes = (software: boolean): number => (software ? Math.min(256 * 2 ** 20, lastLevelCache()) : 128 * 2 ** 20);

/** Microseconds of processor time that all threads of this process have taken. */
export function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
