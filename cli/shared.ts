// Flags and steps that several commands share: models, records, the cache of picture codes.
import { join } from "node:path";
import type { Command } from "commander";
import type { Device } from "../engine/device.ts";
import { openDevice } from "../engine/node.ts";
import { modelFolder } from "../weights/hub.ts";
import { CodeStore } from "../world/codes.ts";
import { loadModel, type Model } from "../world/model.ts";
import { progress, say, status } from "./terminal.ts";

/** Adds the flags of commands that encode pictures. */
export function withCache(command: Command): Command {
  return command.option("--cache <file>", "keep picture codes in this file between runs");
}

/** A device, a model on it and its picture codes. */
export interface Session {
  readonly device: Device;
  readonly model: Model;
  readonly codes: CodeStore;
}

/**
 * The folder of a model given on the command line: a path, or a hub id (`org/name`, `org/name@revision`) that is fetched into the hub's cache
 * with a progress line where it is not there. Without `weights` only the small files are.
 */
export async function folderOf(name: string, signal?: AbortSignal, weights = true): Promise<string> {
  let shown = 0;
  const begin = performance.now();
  const onProgress = (done: number, total: number) => {
    const now = performance.now();
    if (now - shown < 200 && done < total) return;
    shown = now;
    const rate = done / Math.max(1, now - begin) / 1000;
    status(`${name}: ${(done / 1e6).toFixed(1)} of ${(total / 1e6).toFixed(1)} MB, ${rate.toFixed(1)} MB/s`);
  };
  return modelFolder(name, { signal, weights, onProgress, onNotice: say });
}

/** Opens a device and a model. */
export async function open(name: string, cache?: string): Promise<Session> {
  const folder = await folderOf(name);
  const device = await openDevice();
  const model = await loadModel(device, folder);
  return { device, model, codes: await CodeStore.open(device, model, cache) };
}

/** Encodes the pictures of records with a progress line. */
export async function encodeAll(s: Session, records: readonly { source: string; target?: string }[], signal?: AbortSignal): Promise<void> {
  const paths = records.flatMap((r) => (r.target === undefined ? [r.source] : [r.source, r.target]));
  await s.codes.add(paths, { onProgress: progress("encoding pictures"), signal });
}

/** Where `pretrain` writes a preset's base unless told otherwise, and where `demo` looks when none is shipped. */
export function madeBase(preset: string): string {
  return join("runs", `base_${preset}`);
}
