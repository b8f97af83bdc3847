// Versions of what a number depends on, for reports.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

/** Package, Node, webgpu and platform. */
export function versions(): { worldline: string } & Record<string, string> {
  const require = createRequire(import.meta.url);
  const own = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string };
  const webgpu = (require("webgpu/package.json") as { version: string }).version;
  return { worldline: own.version, node: process.version, webgpu, platform: `${process.platform} ${process.arch}` };
}
