// Files on disk for Node: byte-range reading, and writing that is all or nothing (a temporary file or folder beside the target, flushed to
// disk, then renamed).

import { randomBytes } from "node:crypto";
import { readlinkSync } from "node:fs";
import { access, constants, type FileHandle, mkdir, mkdtemp, open, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import type { ByteSource, SourceFolder } from "./source.ts";

const largestRead = 1 << 28;

/** Opens a file for byte-range reading. Throws a WorldlineError naming the path where it cannot be read. */
export async function fileSource(path: string): Promise<ByteSource> {
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    throw new WorldlineError(`${path}: ${reasonOf(error)}`);
  }
  const info = await handle.stat();
  if (!info.isFile()) {
    await handle.close();
    throw new WorldlineError(`${path}: this is not a file; give the path of a file`);
  }
  return {
    size: info.size,
    read: (begin, end, into) => readExactly(handle, path, begin, end, info.size, into),
    close: () => handle.close(),
  };
}

async function readExactly(
  handle: FileHandle,
  path: string,
  begin: number,
  end: number,
  size: number,
  into?: Uint8Array,
): Promise<Uint8Array> {
  if (!(Number.isSafeInteger(begin) && Number.isSafeInteger(end) && begin >= 0 && begin <= end && end <= size)) {
    throw new WorldlineError(`${path}: bytes ${begin} to ${end} were asked of ${size} bytes; ask for a range inside the file`);
  }
  const bytes = into && into.byteLength >= end - begin ? into.subarray(0, end - begin) : new Uint8Array(end - begin);
  for (let at = 0; at < bytes.byteLength; ) {
    const length = Math.min(largestRead, bytes.byteLength - at);
    const { bytesRead } = await handle.read(bytes, at, length, begin + at);
    if (bytesRead === 0)
      throw new WorldlineError(`${path}: the file ended at byte ${begin + at} while it was read; did something shorten it?`);
    at += bytesRead;
  }
  return bytes;
}

/** A folder on disk. Throws a WorldlineError where it does not exist or is no folder. */
export async function fileFolder(path: string): Promise<SourceFolder> {
  const info = await stat(path).catch((error: unknown) => {
    throw new WorldlineError(`${path}: ${reasonOf(error)}`);
  });
  if (!info.isDirectory()) throw new WorldlineError(`${path}: this is not a folder; give the folder that holds config.json`);
  return { name: path, open: async (file) => ((await stat(join(path, file)).catch(() => null)) ? fileSource(join(path, file)) : null) };
}

/** Throws, before long work, where a file or folder could not be written at `path`; leaves nothing behind. */
export async function checkWritable(path: string): Promise<void> {
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    try {
      const info = await stat(folder);
      if (!info.isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR", syscall: "mkdir" });
      await access(folder, constants.W_OK);
      // Node never comes back from making folders in folders where there can be none, as in /proc, to which root has access.
      if (folder !== dirname(resolve(path))) await rmdir(await mkdtemp(join(folder, ".worldline-")));
      return;
    } catch (error) {
      const absent = isSystemError(error) && error.code === "ENOENT" && error.syscall !== "mkdtemp" && dirname(folder) !== folder;
      if (!absent) throw new WorldlineError(`${path}: it could not be written, ${reasonOf(error)}`);
    }
  }
}

/** Writes chunks to a temporary file beside `path`, flushes it and renames it. On any failure nothing is left and `path` is as before. */
export async function writeFileAtomic(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  await clearOnce(dirname(path));
  const temporary = beside(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeAndFlush(temporary, chunks);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error instanceof WorldlineError || !isSystemError(error) ? error : new WorldlineError(`${path}: not written, ${reasonOf(error)}`);
  } finally {
    mine.delete(basename(temporary));
  }
  await flushFolder(dirname(path));
}

async function writeAndFlush(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const handle = await open(path, "wx");
  try {
    for await (const chunk of chunks) {
      for (let at = 0; at < chunk.byteLength; )
        at += (await handle.write(chunk, at, Math.min(largestRead, chunk.byteLength - at))).bytesWritten;
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/**
 * Fills a temporary folder beside `path` with `fill`, then renames it. An existing folder is refused unless `overwrite`; then it is moved
 * aside first and removed last, and comes back where the rename fails. On any failure `path` is as before.
 */
export async function writeFolderAtomic(path: string, overwrite: boolean, fill: (temporary: string) => Promise<void>): Promise<void> {
  await clearOnce(dirname(path));
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  if (exists && !overwrite)
    throw new WorldlineError(`${path}: there is something at this path already; choose another folder or allow overwriting`);
  const temporary = beside(path);
  const aside = beside(path, "old");
  try {
    await mkdir(temporary, { recursive: true });
    await fill(temporary);
    await flushFolder(temporary);
    if (exists) await rename(path, aside);
    await rename(temporary, path).catch(async (error: unknown) => {
      if (exists) await rename(aside, path);
      throw error;
    });
  } catch (error) {
    await rm(temporary, { recursive: true, force: true }).catch(() => undefined);
    throw error instanceof WorldlineError || !isSystemError(error) ? error : new WorldlineError(`${path}: not written, ${reasonOf(error)}`);
  } finally {
    mine.delete(basename(temporary));
  }
  await flushFolder(dirname(path));
  if (exists) await rm(aside, { recursive: true, force: true });
  mine.delete(basename(aside));
}

/** Where a process number means something: the machine and, on Linux, the namespace of its numbers; every container has its own. */
export const place = `${hostname()}-${processNamespace()}`.replace(/[^\w-]/g, "_");
const leftover = /^\.(.+)\.([\w-]+)\.(\d+)\.[0-9a-f]{8}\.(tmp|old)$/s;
const longestWrite = 24 * 3600_000;
const mine = new Set<string>();
const cleared = new Set<string>();

function processNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync("/proc/self/ns/pid"))?.[0] ?? "";
  } catch {
    return "";
  }
}

function beside(path: string, kind: "tmp" | "old" = "tmp"): string {
  const name = `.${basename(path)}.${place}.${process.pid}.${randomBytes(4).toString("hex")}.${kind}`;
  mine.add(name);
  return join(dirname(path), name);
}

/**
 * Removes what killed processes left half-written in a folder; what a living process writes there now stays. Of another machine's processes nothing
 * is known, so theirs goes after a day. Every first write of a process into a folder does it: a command that goes on after a kill cleans up.
 */
export async function clearLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder).catch(() => [])) {
    const [, target, where, pid, kind] = leftover.exec(name) ?? [];
    if (where === undefined || mine.has(name)) continue;
    const path = join(folder, name);
    const info = await stat(path).catch(() => undefined);
    const age = info ? Date.now() - Math.max(info.mtimeMs, info.ctimeMs) : 0;
    const dead = where === place && (Number(pid) === process.pid || !lives(Number(pid)));
    if (!dead && age <= longestWrite) continue;
    // Killed between the two renames of writeFolderAtomic: what was there before comes back.
    const lost = kind === "old" && !(await stat(join(folder, target)).catch(() => undefined));
    await (lost ? rename(path, join(folder, target)) : rm(path, { recursive: true, force: true })).catch(() => undefined);
  }
}

async function clearOnce(folder: string): Promise<void> {
  const key = resolve(folder);
  if (cleared.has(key)) return;
  cleared.add(key);
  await clearLeftovers(folder);
}

function lives(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Flushes a folder's entries, so that a rename survives a power cut; platforms that cannot do it (Windows) are left alone. */
async function flushFolder(path: string): Promise<void> {
  const handle = await open(path, "r").catch(() => null);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && "syscall" in error;
}

/** A system error in words. */
export function reasonOf(error: unknown): string {
  const code = isSystemError(error) ? error.code : undefined;
  if (code === "ENOENT") return "there is no such file or folder; check the path";
  if (code === "EACCES" || code === "EPERM") return "access is not allowed; check the permissions";
  if (code === "ENOSPC" || code === "EDQUOT") return "the disk is full; make room";
  if (code === "ENOTDIR" || code === "EEXIST") return "a part of the path is a file, not a folder; check the path";
  if (code === "EISDIR") return "this is a folder, a file is needed; check the path";
  if (code === "EROFS") return "the disk is read-only; choose another place";
  return `the system says ${code ?? String(error)}; check the path and the disk`;
}
