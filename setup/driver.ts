// Installs a software Vulkan driver where no adapter works: by apt as root, by apt into the user's cache without root, else SwiftShader by npm.
// Nothing is fetched unless a command asks for it (`doctor --install`, or bootstrap.mjs finding no adapter).
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { driverCache } from "../engine/host_node.ts";
import { installAsRoot, installPrivately } from "./apt.ts";
import type { Say } from "./run.ts";
import { installSwiftShader } from "./swiftshader.ts";

const hasProgram = (name: string) => spawnSync(name, ["--version"], { stdio: "ignore", timeout: 10_000 }).status === 0;

/**
 * Tries the ways in turn until one installs a driver with which `works` is true, saying what it does and why.
 * Throws one sentence naming what failed in each.
 */
export async function installDriver(say: Say, works: () => boolean): Promise<void> {
  if (process.platform !== "linux") {
    throw new Error(
      `software drivers are installed on Linux only; this is ${process.platform}, whose system brings its own: update it or the graphics driver`,
    );
  }
  const apt = hasProgram("apt-get") && hasProgram("dpkg");
  // A variable that names the drivers hides what apt would install for the system.
  const hidden = process.env.VK_DRIVER_FILES ?? process.env.VK_ICD_FILENAMES;
  const ways: [string, boolean, () => Promise<void>][] = [
    ["apt as root", apt && process.getuid?.() === 0 && !hidden, () => installAsRoot(say)],
    ["apt into the cache", apt, () => installPrivately(join(driverCache(), "lavapipe"), say)],
    ["SwiftShader", true, () => installSwiftShader(join(driverCache(), "swiftshader"), say)],
  ];
  const failures: string[] = [];
  for (const [name, possible, install] of ways) {
    if (!possible) continue;
    try {
      await install();
      if (works()) return say("the driver is installed and works.");
      throw new Error("its driver is installed, but gives no adapter that works");
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message.split("\n")[0]}`);
      say(`${name} did not work: ${(error as Error).message.split("\n")[0]}`);
    }
  }
  const packages = "mesa-vulkan-drivers and the Vulkan loader";
  throw new Error(
    `no software driver could be installed (${failures.join("; ")}); connect to the network, or install ${packages} by the system's own means`,
  );
}
