// A stand-in for the Hugging Face hub on the loopback: API, files with ranges, and faults on demand (cut connections, statuses, wrong lengths,
// redirects to another port).

import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What the server does wrong, by file name. Counters are used up. */
export interface Fault {
  /** Cuts the connection after so many bytes of the answer, this many times; where `kept` tells how many the client has on disk, not before it has them. */
  cut?: { after: number; times: number; kept?: () => number };
  /** Statuses of the next answers, before it answers properly. */
  statuses?: number[];
  retryAfter?: string;
  /** Sends other bytes of the right length, this many times. */
  garbled?: number;
  /** Ignores Range and sends all. */
  noRange?: boolean;
  /** Answers 206 for another range than was asked for, this many times. */
  wrongRange?: number;
  /** Sends this many bytes more than it should, chunked. */
  tooMuch?: number;
  /** Sends only the head and then nothing, this many times. */
  silent?: number;
}

export interface HubServer {
  readonly url: string;
  readonly commit: string;
  /** Every request: method, path, range, whether a token came with it, and to which port. */
  readonly log: { path: string; range?: string; token?: string; cdn: boolean }[];
  readonly faults: Record<string, Fault>;
  /** Statuses of the next API answers. */
  readonly api: number[];
  /** The token that is needed; none: everybody may read. */
  token?: string;
  close(): Promise<void>;
}

/** Serves one repository `org/name` with the given files. Files over 1 kB, and safetensors, are "LFS": sent from another port after a redirect. */
export async function hubServer(files: Record<string, Uint8Array>): Promise<HubServer> {
  const commit = createHash("sha1").update(Object.keys(files).join()).digest("hex");
  const log: HubServer["log"] = [];
  const state = { faults: {} as Record<string, Fault>, api: [] as number[], token: undefined as string | undefined };
  const cdn = await listen((request, response) => {
    const name = decodeURIComponent((request.url ?? "").slice(1));
    note(request, true);
    send(request, response, files[name], (state.faults[name] ??= {}));
  });
  const hub = await listen((request, response) => {
    note(request, false);
    const { pathname } = new URL(request.url ?? "", "http://x");
    const status = pathname.startsWith("/api/") ? state.api.shift() : undefined;
    if (status) return end(response, status, { error: "out of order" });
    if (server.token && request.headers.authorization !== `Bearer ${server.token}`) return end(response, 401, { error: "who are you" });
    if (/^\/api\/models\/org\/name\/revision\/(main|v1|refs%2Fpr%2F1|[0-9a-f]{40})$/.test(pathname))
      return end(response, 200, { _id: "1", id: "org/name", sha: commit, lastModified: "2026-01-01T00:00:00Z" });
    if (pathname === `/api/models/org/name/tree/${commit}`) return end(response, 200, listing(files));
    const file = /^\/org\/name\/resolve\/[0-9a-f]{40}\/(.+)$/.exec(pathname)?.[1];
    const data = file ? files[decodeURIComponent(file)] : undefined;
    if (!file || !data) return end(response, 404, { error: "not found" });
    if (!isLarge(file, data)) return send(request, response, data, (state.faults[file] ??= {}));
    response.writeHead(302, { Location: `${address(cdn)}/${file}` }).end();
  });
  function note(request: IncomingMessage, fromCdn: boolean): void {
    const { range, authorization } = request.headers;
    log.push({ path: request.url ?? "", ...(range ? { range } : {}), ...(authorization ? { token: authorization } : {}), cdn: fromCdn });
  }
  const server: HubServer = Object.assign(state, {
    url: address(hub),
    commit,
    log,
    close: async () => {
      for (const s of [hub, cdn]) {
        s.closeAllConnections();
        await new Promise((done) => s.close(done));
      }
    },
  });
  return server;
}

const isLarge = (name: string, data: Uint8Array) => name.endsWith(".safetensors") || data.length > 1000;

function listing(files: Record<string, Uint8Array>): unknown[] {
  return Object.entries(files).map(([path, data]) => {
    const oid = createHash("sha1").update(`blob ${data.length}\0`).update(data).digest("hex");
    if (!isLarge(path, data)) return { type: "file", path, size: data.length, oid };
    const sha256 = createHash("sha256").update(data).digest("hex");
    return { type: "file", path, size: data.length, oid: "0".repeat(40), lfs: { oid: sha256, size: data.length, pointerSize: 130 } };
  });
}

function send(request: IncomingMessage, response: ServerResponse, data: Uint8Array | undefined, fault: Fault): void {
  if (!data) {
    end(response, 404, {});
    return;
  }
  const status = fault.statuses?.shift();
  if (status) {
    if (fault.retryAfter) response.setHeader("Retry-After", fault.retryAfter);
    end(response, status, {});
    return;
  }
  const range = fault.noRange ? null : /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
  let begin = Number(range?.[1] ?? 0);
  const last = range?.[2] ? Number(range[2]) : data.length - 1;
  if (begin > 0 && fault.wrongRange) {
    fault.wrongRange--;
    begin -= 1;
  }
  let body = data.subarray(begin, last + 1);
  if (fault.garbled) {
    fault.garbled--;
    body = body.map((byte) => byte ^ 1);
  }
  const head = range ? { "Content-Range": `bytes ${begin}-${last}/${data.length}` } : {};
  if (fault.tooMuch) {
    response.writeHead(range ? 206 : 200, head).write(body);
    response.end(new Uint8Array(fault.tooMuch));
    return;
  }
  response.writeHead(range ? 206 : 200, { ...head, "Content-Length": body.length });
  if (fault.silent) {
    fault.silent--;
    response.flushHeaders();
  } else if (fault.cut && fault.cut.times > 0) {
    fault.cut.times--;
    const { after, kept } = fault.cut;
    // What a client has not read when its connection goes is lost.
    const wait = () => setTimeout(() => (kept && !response.destroyed && kept() < begin + after ? wait() : response.destroy()), 20);
    response.write(body.subarray(0, after), wait);
  } else response.end(body);
}

function end(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(body));
}

async function listen(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<Server> {
  const server = createServer(answer);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  return server;
}

function address(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
