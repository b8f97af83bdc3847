// Edit and save: a shader's compile errors with their line, then its check, then its row beside the last one.
import { watch as watchFile } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { runCheck } from "./check.ts";
import { type Found, findChecks } from "./find.ts";
import { measureCheck, type Options, type Row } from "./measure.ts";
import { cells, line } from "./report.ts";
import { Timer } from "./timer.ts";

const own = fileURLToPath(new URL("../kernels/", import.meta.url));

interface Watched {
  readonly found: Found;
  readonly variants: readonly string[];
}

/** The kernels and variants whose text a shader file is. */
export async function usersOf(file: string): Promise<Watched[]> {
  const path = resolve(file);
  if (!path.endsWith(".wgsl")) throw new WorldlineError(`bench watch: ${file} is no .wgsl file`);
  const found = await findChecks("", [dirname(path)]);
  const users = found.map((f) => ({
    found: f,
    variants: f.check.kernel.variants.filter((v) => v.source.protocol === "file:" && fileURLToPath(v.source) === path).map((v) => v.name),
  }));
  const using = users.filter((u) => u.variants.length > 0);
  if (using.length === 0)
    throw new WorldlineError(`bench watch: no kernel in ${dirname(path)} uses ${basename(path)}; name it in a description's \`source\``);
  return using;
}

/** One round: compiles, checks and times a shader's variants on a fresh device. Prints lines; returns the rows, or undefined if it is wrong. */
export async function watchOnce(
  users: readonly Watched[],
  options: Options,
  before: readonly Row[],
  print: (text: string) => void,
): Promise<Row[] | undefined> {
  const device = await openDevice();
  const timer = new Timer(device);
  try {
    const rows: Row[] = [];
    for (const { found, variants } of users) {
      for (const variant of variants) {
        if (!(await right(device, found, variant, print))) return undefined;
        for await (const some of measureCheck(device, timer, found.check, undefined, options, { variant })) {
          rows.push(...some);
          for (const row of some) print(line(cells(row)) + ratioText(before, row));
        }
      }
    }
    return rows;
  } finally {
    timer.destroy();
    device.destroy();
  }
}

async function right(device: Device, found: Found, variant: string, print: (text: string) => void): Promise<boolean> {
  const v = await runCheck(device, found, { variant, kernels: found.folder.startsWith(own) ? [] : [found.folder] });
  if (v.failures.length) {
    print(`${found.name}:${variant} is wrong in ${v.failures.length} of ${v.failures.length + v.passed} runs:\n${v.failures[0]}`);
    return false;
  }
  print(`${found.name}:${variant} is right in ${v.passed} runs, worst error ${v.worst.toExponential(1)}`);
  return true;
}

function ratioText(before: readonly Row[], row: Row): string {
  const old = before.find((r) => r.kernel === row.kernel && r.variant === row.variant && r.case === row.case && r.types === row.types);
  return old?.median && row.median ? `  x${(old.median / row.median).toFixed(2)} of the last save` : "";
}

/** Runs a round now and after each save, until `signal`. */
export async function watch(file: string, options: Options, print: (text: string) => void, signal: AbortSignal): Promise<void> {
  const users = await usersOf(file);
  let last: Row[] = [];
  let saved: (() => void) | undefined;
  let dirty = true;
  // The folder is watched, because editors replace a file when they save it.
  const watcher = watchFile(dirname(resolve(file)), (_, name) => {
    if (name !== null && name !== basename(file)) return;
    dirty = true;
    saved?.();
  });
  signal.addEventListener("abort", () => saved?.());
  try {
    while (!signal.aborted) {
      if (!dirty) await new Promise<void>((done) => (saved = done));
      if (signal.aborted) return;
      await new Promise((done) => setTimeout(done, 50));
      dirty = false;
      print(`\n${new Date().toLocaleTimeString()} ${join(basename(dirname(resolve(file))), basename(file))}`);
      try {
        last = (await watchOnce(users, options, last, print)) ?? last;
      } catch (cause) {
        if (!(cause instanceof WorldlineError)) throw cause;
        print(cause.message);
      }
      print("waiting for the next save (Ctrl-C ends)");
    }
  } finally {
    watcher.close();
  }
}
