// Where a number comes from, for reports: the exact command, seeds, device and versions.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import type { Device } from "../engine/device.ts";

/** Package, Node, webgpu and platform. */
export function versions(): { worldline: string } & Record<string, string> {
  const require = createRequire(import.meta.url);
  const own = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  const webgpu = (require("webgpu/package.json") as { version: string }).version;
  return { worldline: own.version, node: process.version, webgpu, platform: `${process.platform} ${process.arch}` };
}

/** An address without name and password: reports and logs are handed on. */
export const withoutSecret = (text: string): string => text.replace(/(\w+:\/\/)[^@/\s]*@/g, "$1");

/** The command as it can be typed again: words that a shell would take apart are in quotes. */
export function commandLine(words: readonly string[] = process.argv.slice(2)): string {
  const quoted = words.map(withoutSecret).map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`));
  return ["worldline", ...quoted].join(" ");
}

/** A report's last table: command, seed (none where nothing is random), device (the processor where no other worked) and versions. */
export function originOf(device?: Device, seed: number | string = "none: nothing is random"): Record<string, string> {
  return { command: commandLine(), seed: String(seed), device: device?.describe() ?? "none: the processor alone worked", ...versions() };
}
