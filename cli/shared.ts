// Flags and steps that several commands share: models, records, the cache of picture codes.
import type { Command } from "commander";
import type { Device } from "../engine/device.ts";
import { openDevice } from "../engine/node.ts";
import { CodeStore } from "../world/codes.ts";
import { loadModel, type Model } from "../world/model.ts";
import { progress } from "./terminal.ts";

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

/** Opens a device and a model folder. */
export async function open(folder: string, cache?: string): Promise<Session> {
  const device = await openDevice();
  const model = await loadModel(device, folder);
  return { device, model, codes: await CodeStore.open(device, model, cache) };
}

/** Encodes the pictures of records with a progress line. */
export async function encodeAll(s: Session, records: readonly { source: string; target?: string }[], signal?: AbortSignal): Promise<void> {
  const paths = records.flatMap((r) => (r.target === undefined ? [r.source] : [r.source, r.target]));
  await s.codes.add(paths, { onProgress: progress("encoding pictures"), signal });
}
