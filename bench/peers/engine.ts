// What a compared engine must offer, and how its package is loaded from the peers' own folder.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Data, PeerCase } from "./cases.ts";

/** A case on an engine, ready to repeat. */
export interface Ready {
  /** Computes once and resolves when the device is done; nothing large is copied to the host. */
  readonly run: () => Promise<void>;
  /** The result of the case. */
  readonly result: () => Promise<ArrayLike<number>>;
}

export interface Engine {
  readonly version: string;
  /** What the times include that others' do not. */
  readonly note?: string;
  /** Ways to compute a case, tried in order until one gives the right result. */
  readonly ways?: (c: PeerCase) => readonly string[];
  /** Undefined where the engine cannot do the case. */
  readonly prepare: (c: PeerCase, data: Data, way: string) => Promise<Ready | undefined>;
}

export type OpenEngine = (folder: string) => Promise<Engine>;

/** A module of the peers' folder by package name, or by a path inside node_modules. */
export async function load(folder: string, name: string, file?: string): Promise<Record<string, unknown>> {
  const require = createRequire(join(folder, "package.json"));
  const path = file ? join(folder, "node_modules", name, file) : require.resolve(name);
  const module = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  return "default" in module && Object.keys(module).every((k) => k === "default" || k === "module.exports")
    ? (module.default as Record<string, unknown>)
    : module;
}

export const versionOf = (folder: string, name: string): string =>
  (JSON.parse(readFileSync(join(folder, "node_modules", name, "package.json"), "utf8")) as { version: string }).version;
