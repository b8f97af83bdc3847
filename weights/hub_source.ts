// A model of the hub read where it lies: its files as byte-range sources over HTTP, so that a look at headers and small files costs a few kilobytes and
// nothing is put into the cache.

import { stat } from "node:fs/promises";
import { WorldlineError } from "../engine/errors.ts";
import { type FetchOptions, fetchPatiently, networkReason, type RemoteFile, UnreachableError } from "./download.ts";
import { cachedModel, type HubOptions, hubSettings, listModel, modelFolder, parseHubId } from "./hub.ts";
import type { ByteSource, SourceFolder } from "./source.ts";

/**
 * Where a model can be read: a path (as given, or in the cache where it is whole there), or else the hub's files. Throws as modelFolder does.
 */
export async function modelSource(name: string, options: HubOptions = {}): Promise<string | SourceFolder> {
  const id = parseHubId(name);
  const settings = await hubSettings(options.env);
  if (!id || settings.offline || (await stat(name).catch(() => null))) return modelFolder(name, options);
  try {
    const { commit, files, request } = await listModel(settings, id, name, options);
    const found = await cachedModel(settings, { ...id, revision: commit });
    if (found?.missing === null) return found.folder;
    const byName = new Map(files.map((f) => [f.name, f]));
    return { name, open: async (file) => (byName.has(file) ? rangeSource(byName.get(file)!, request) : null) };
  } catch (error) {
    // The cache may still hold an older copy.
    if (error instanceof UnreachableError) return modelFolder(name, options);
    throw error;
  }
}

function rangeSource(file: RemoteFile, request: FetchOptions): ByteSource {
  return {
    size: file.size,
    read: async (begin, end) => {
      if (begin === end) return new Uint8Array(0);
      for (let attempt = 1; ; attempt++) {
        try {
          return await part(begin, end);
        } catch (error) {
          if (error instanceof WorldlineError) throw error;
          request.signal?.throwIfAborted();
          if (attempt === 3)
            throw new UnreachableError(
              `${file.name}: the connection to ${new URL(file.url).host} keeps breaking (${networkReason(error)}); try again`,
            );
        }
      }
    },
  };
  async function part(begin: number, end: number): Promise<Uint8Array> {
    const idle = new AbortController();
    const headers = { Range: `bytes=${begin}-${end - 1}`, "Accept-Encoding": "identity" };
    const response = await fetchPatiently(file.url, { headers, signal: idle.signal }, request);
    const whole = response.status === 200 && begin === 0 && end === file.size;
    if (response.status !== 206 && !whole) {
      await response.body?.cancel();
      throw new WorldlineError(
        `${file.name}: ${new URL(file.url).host} answers ${response.status} to a request for a part of it; fetch the model first`,
      );
    }
    const timer = setTimeout(() => idle.abort(new DOMException("", "TimeoutError")), request.idleLimit ?? 30_000);
    const parts: Uint8Array[] = [];
    try {
      for await (const bytes of response.body ?? []) {
        parts.push(bytes);
        timer.refresh();
      }
    } finally {
      clearTimeout(timer);
    }
    const bytes = new Uint8Array(Buffer.concat(parts));
    if (bytes.byteLength === end - begin) return bytes;
    throw new WorldlineError(`${file.name}: ${bytes.byteLength} bytes came, ${end - begin} were asked for; try again`);
  }
}
