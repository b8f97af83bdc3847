// Files on disk for Node: byte-range reading, and writing that is all or nothing (a temporary file or folder beside the target, flushed to
// disk, then renamed).

import { randomBytes } from "node:crypto";
import { access, constants, type FileHandle, mkdir, open, rename, rm, stat } from "node:fs/promises";
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

/** Throws, before long work, where a file or folder could not be written at `path`; changes nothing. */
export async function checkWritable(path: string): Promise<void> {
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    try {
      const info = await stat(folder);
      if (!info.isDirectory()) throw Object.assign(new Error(), { code: "ENOTDIR", syscall: "mkdir" });
      return await access(folder, constants.W_OK);
    } catch (error) {
      const absent = isSystemError(error) && error.code === "ENOENT" && dirname(folder) !== folder;
      if (!absent) throw new WorldlineError(`${path}: it could not be written, ${reasonOf(error)}`);
    }
  }
}

/** Writes chunks to a temporary file beside `path`, flushes it and renames it. On any failure nothing is left and `path` is as before. */
export async function writeFileAtomic(path: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>): Promise<void> {
  const temporary = beside(path);
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeAndFlush(temporary, chunks);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => undefined);
    throw error instanceof WorldlineError || !isSystemError(error) ? error : new WorldlineError(`${path}: not written, ${reasonOf(error)}`);
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
  const exists = await stat(path).then(
    () => true,
    () => false,
  );
  if (exists && !overwrite)
    throw new WorldlineError(`${path}: there is something at this path already; choose another folder or allow overwriting`);
  const temporary = beside(path);
  const aside = beside(path);
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
  }
  await flushFolder(dirname(path));
  if (exists) await rm(aside, { recursive: true, force: true });
}

function beside(path: string): string {
  return join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(4).toString("hex")}.tmp`);
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
