// Fetches one large file over HTTP for Node: into `<path>.incomplete`, resumed by Range requests after a cut or in the next run, compared with
// its checksum, then renamed. The hub's layout and names are hub.ts's business.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readFile, rename, rm, stat, truncate, utimes, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { WorldlineError } from "../engine/errors.ts";
import { place, reasonOf } from "./file_source.ts";

/** A file on a server: its size and one checksum, SHA-256 of the content or SHA-1 as git names a blob. */
export interface RemoteFile {
  readonly name: string;
  readonly url: string;
  readonly size: number;
  readonly sha256?: string;
  readonly gitSha1?: string;
}

/** How requests are made. */
export interface FetchOptions {
  readonly headers?: Record<string, string>;
  readonly signal?: AbortSignal;
  /** Milliseconds before the first retry; doubled each time. Default 1000. */
  readonly retryDelay?: number;
  /** A connection without a byte for so many milliseconds is given up. Default 30,000. */
  readonly idleLimit?: number;
}

const attempts = 5;
const longestPause = 60_000;
/** An attempt that brought at least this many bytes is not counted as a failure. */
const progressBytes = 1 << 16;

/** A server's refusal. */
export class HttpError extends WorldlineError {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** No answer: no network, no such host, or a connection that breaks again and again. */
export class UnreachableError extends WorldlineError {}

/** `fetch` that tries again where the connection fails or the server says 408, 429 (honouring Retry-After) or 5xx. Throws UnreachableError. */
export async function fetchPatiently(url: string, init: RequestInit, options: FetchOptions): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(new DOMException("", "TimeoutError")), options.idleLimit ?? 30_000);
    const signals = [options.signal, init.signal, late.signal].filter((s) => s != null);
    let response: Response;
    try {
      response = await fetch(url, { ...init, headers: { ...options.headers, ...headersOf(init) }, signal: AbortSignal.any(signals) });
    } catch (error) {
      options.signal?.throwIfAborted();
      if (attempt === (isAbsent(error) ? 2 : attempts))
        throw new UnreachableError(`${new URL(url).host} cannot be reached (${networkReason(error)}); check the network and try again`);
      await pause(attempt, options);
      continue;
    } finally {
      clearTimeout(timer);
    }
    if (attempt === attempts || !(response.status === 408 || response.status === 429 || response.status >= 500)) return response;
    await response.body?.cancel();
    await pause(attempt, options, Number(response.headers.get("retry-after")) * 1000);
  }
}

function headersOf(init: RequestInit): Record<string, string> {
  return Object.fromEntries(new Headers(init.headers).entries());
}

function pause(attempt: number, { retryDelay = 1000, signal }: FetchOptions, asked = 0): Promise<void> {
  const own = retryDelay * 2 ** (attempt - 1);
  return wait(Math.min(longestPause, Number.isFinite(asked) && asked > own ? asked : own), signal);
}

async function wait(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch((error: unknown) => {
    signal?.throwIfAborted();
    throw error;
  });
}

/** Nobody there, or no network: trying long is no use. */
function isAbsent(error: unknown): boolean {
  return ["no such host", "connection refused"].includes(networkReason(error));
}

/** What went wrong below HTTP, in a few words. */
export function networkReason(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  if (inner instanceof Error && inner.name === "TimeoutError") return "no answer";
  const code = inner instanceof Error && "code" in inner ? String(inner.code) : "";
  const words: Record<string, string> = {
    ENOTFOUND: "no such host",
    EAI_AGAIN: "its address cannot be looked up",
    ECONNREFUSED: "connection refused",
    ECONNRESET: "connection cut",
    UND_ERR_SOCKET: "connection cut",
  };
  return words[code] ?? (code || (inner instanceof Error ? inner.message : String(inner)));
}

/**
 * Brings `file` to `path`. Bytes that an earlier try left in `<path>.incomplete` are kept and only the rest is asked for. `onBytes` gets the
 * bytes this file has on disk. Throws a WorldlineError for refusals, a connection that keeps breaking, a full disk, and content that is not
 * what the checksum says (then nothing is kept).
 */
export async function download(file: RemoteFile, path: string, options: FetchOptions, onBytes: (bytes: number) => void): Promise<void> {
  const partial = `${path}.incomplete`;
  await mkdir(dirname(path), { recursive: true }).catch((error: unknown) => {
    throw new WorldlineError(`${dirname(path)}: the folder cannot be made, ${reasonOf(error)}`);
  });
  const unlock = await lock(`${partial}.lock`, options.signal);
  try {
    if ((await sizeOf(path)) === file.size) return onBytes(file.size);
    for (let round = 1; ; round++) {
      await fetchAll(file, partial, options, onBytes);
      if (await isRight(file, partial)) break;
      await rm(partial, { force: true });
      if (round === 2)
        throw new WorldlineError(`${file.name}: the content does not have the checksum that the server names; try again later`);
    }
    await rename(partial, path);
  } finally {
    await unlock();
  }
}

/** Requests until the partial file has all bytes. */
async function fetchAll(file: RemoteFile, partial: string, options: FetchOptions, onBytes: (bytes: number) => void): Promise<void> {
  for (let failures = 0; ; ) {
    let have = await sizeOf(partial);
    if (have > file.size) {
      await rm(partial, { force: true });
      have = 0;
    }
    onBytes(have);
    if (have === file.size && (have > 0 || (await touch(partial)))) return;
    const reason = await fetchRest(file, partial, have, options, onBytes);
    const now = await sizeOf(partial);
    if (now === file.size) continue;
    failures = now - have >= progressBytes ? 1 : failures + 1;
    if (failures === attempts)
      throw new UnreachableError(
        `${file.name}: the connection to ${new URL(file.url).host} keeps breaking (${reason}) at byte ${now} of ${file.size}; run the same command again, it goes on from there`,
      );
    await pause(failures, options);
  }
}

/** One request for the bytes from `have` on, appended to the partial file. Gives the reason where the answer ends early. */
async function fetchRest(
  file: RemoteFile,
  partial: string,
  have: number,
  options: FetchOptions,
  onBytes: (bytes: number) => void,
): Promise<string> {
  const idle = new AbortController();
  const range = have > 0 ? { Range: `bytes=${have}-` } : undefined;
  // A compressed answer would not be the bytes that size and Range count.
  const init = { signal: idle.signal, headers: { "Accept-Encoding": "identity", ...range } };
  const response = await fetchPatiently(file.url, init, options);
  const resumed = response.status === 206 && response.headers.get("content-range")?.startsWith(`bytes ${have}-`);
  if (have > 0 && !resumed && (response.ok || response.status === 416)) await truncate(partial, 0);
  if (response.status === 416 || (response.status === 206 && have > 0 && !resumed)) {
    await response.body?.cancel();
    return "the server does not continue where it was asked to";
  }
  if (!response.ok || !response.body) {
    await response.body?.cancel();
    throw new HttpError(
      response.status,
      `${file.name}: ${new URL(response.url || file.url).host} answers ${response.status}; try again later`,
    );
  }
  return append(partial, response.body, resumed ? have : 0, { file, idle, options, onBytes });
}

interface Writing {
  readonly file: RemoteFile;
  readonly idle: AbortController;
  readonly options: FetchOptions;
  readonly onBytes: (bytes: number) => void;
}

async function append(partial: string, body: ReadableStream<Uint8Array>, have: number, w: Writing): Promise<string> {
  const handle = await open(partial, "a").catch((error: unknown) => {
    throw new WorldlineError(`${partial}: it cannot be written, ${reasonOf(error)}`);
  });
  const limit = w.options.idleLimit ?? 30_000;
  let timer = setTimeout(() => w.idle.abort(), limit);
  let at = have;
  const reader = body.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error: unknown) => {
        w.options.signal?.throwIfAborted();
        return { done: true as const, value: w.idle.signal.aborted ? "no byte for a while" : networkReason(error) };
      });
      if (done) return typeof value === "string" ? value : "the answer was too short";
      if ((at += value.byteLength) > w.file.size)
        throw new WorldlineError(`${w.file.name}: the server sends more than the ${w.file.size} bytes it named; try again later`);
      await write(handle, value, partial, w.file.size - at);
      w.onBytes(at);
      clearTimeout(timer);
      timer = setTimeout(() => w.idle.abort(), limit);
    }
  } finally {
    clearTimeout(timer);
    await reader.cancel().catch(() => undefined);
    await handle.close();
  }
}

async function write(handle: Awaited<ReturnType<typeof open>>, bytes: Uint8Array, path: string, left: number): Promise<void> {
  try {
    for (let at = 0; at < bytes.byteLength; ) at += (await handle.write(bytes, at)).bytesWritten;
  } catch (error) {
    throw new WorldlineError(`${path}: ${reasonOf(error)} (${left + bytes.byteLength} bytes are still to come; what is there is kept)`);
  }
}

async function isRight(file: RemoteFile, path: string): Promise<boolean> {
  if (!file.sha256 && !file.gitSha1) return true;
  const hash = createHash(file.sha256 ? "sha256" : "sha1");
  if (!file.sha256) hash.update(`blob ${file.size}\0`);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk as Uint8Array);
  return hash.digest("hex") === (file.sha256 ?? file.gitSha1);
}

const holder = `${process.pid} ${place}`;
const longestSilence = 30_000;

/** Waits until no one else downloads to the same place, here or in another process; looks every `poll` ms. A lock whose process is gone is taken over. */
export async function lock(path: string, signal?: AbortSignal, poll = 250): Promise<() => Promise<void>> {
  while (!(await create(path, holder))) {
    if (await isStale(path)) await removeStale(path, signal, poll);
    else await wait(poll, signal);
  }
  const beat = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => undefined), longestSilence / 6).unref();
  return () => {
    clearInterval(beat);
    return rm(path, { force: true });
  };
}

/** Whether there was no such file and it is made. */
async function create(path: string, text: string): Promise<boolean> {
  try {
    await writeFile(path, text, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw new WorldlineError(`${path}: it cannot be written, ${reasonOf(error)}`);
  }
}

/** Two may find the same lock stale, and the slower one must not remove the lock that the faster one took since: one at a time looks again and removes. */
async function removeStale(path: string, signal: AbortSignal | undefined, poll: number): Promise<void> {
  const turn = `${path}.stale`;
  if (await create(turn, holder)) {
    try {
      if (await isStale(path)) await rm(path, { force: true });
    } finally {
      await rm(turn, { force: true });
    }
  } else if (await isStale(turn)) await rm(turn, { force: true });
  else await wait(poll, signal);
}

async function isStale(path: string): Promise<boolean> {
  const [text, info] = await Promise.all([readFile(path, "utf8").catch(() => ""), stat(path).catch(() => null)]);
  // Its holder touches a lock again and again: a number that lives may be another process by now, and says nothing elsewhere.
  if (info !== null && Date.now() - info.mtimeMs > longestSilence) return true;
  const [, pid, where = place] = /^(\d+)(?: (\S+))?$/.exec(text) ?? [];
  if (pid === undefined || where !== place) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}

async function sizeOf(path: string): Promise<number> {
  return stat(path).then(
    (info) => info.size,
    () => 0,
  );
}

/** An empty file, for content of no bytes. */
async function touch(path: string): Promise<boolean> {
  await (await open(path, "a")).close();
  return true;
}
