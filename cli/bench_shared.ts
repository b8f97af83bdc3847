// What the verbs of worldline bench share: how a kernel is named on the command line, and where kernels are looked for.
import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type { Command } from "commander";
import { findChecks } from "../bench/find.ts";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { checkWritable } from "../weights/file_source.ts";

/** A kernel as people name it. */
export interface Wanted {
  readonly kernel: string;
  readonly variant?: string;
  readonly case?: string;
}

export function wantedOf(text = ""): Wanted {
  const [kernel, variant, ...rest] = text.split(":");
  return { kernel, variant: variant || undefined, case: rest.join(":") || undefined };
}

/** Kernels by filter, from --kernels where it is given; an error when nothing matches. */
export async function find(filter: Wanted, folders: readonly string[] | undefined) {
  const found = await findChecks(filter.kernel, folders);
  if (found.length) return found;
  const names = [...new Set((await findChecks("", folders)).map((f) => f.name))];
  throw new WorldlineError(`no kernel is called "${filter.kernel}"; there are ${names.join(", ")}`);
}

/** Adds the flag for kernel folders outside the repository. */
export const withKernels = (command: Command) =>
  command.option("--kernels <folder...>", "kernel folders of your own instead of worldline's, anywhere on this machine");

/** --cpu counts this process's time, in which a card does nothing. */
export function needSoftware(device: Device): void {
  if (!device.capabilities.software)
    throw new WorldlineError("--cpu: this adapter is a card, whose work takes no processor time; leave the flag out");
}

/** Refuses, before anything is measured, a report's path that could not be written, and makes its folder. */
export async function checkReport(path: string): Promise<void> {
  await checkWritable(path);
  mkdirSync(dirname(resolve(path)), { recursive: true });
  if (existsSync(path) && statSync(path).isDirectory())
    throw new WorldlineError(`${path}: this is a folder, a file is needed; check the path`);
}
