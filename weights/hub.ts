// Model names of the Hugging Face hub for Node: `org/name` or `org/name@revision` becomes a folder in the standard cache
// (models--org--name/{blobs,refs,snapshots}), where files that Python's library has fetched are found and whose format it reads. Honours
// HF_HOME, HF_HUB_CACHE, XDG_CACHE_HOME, HF_TOKEN, HF_TOKEN_PATH, HF_ENDPOINT, HF_HUB_OFFLINE.

import { lstat, mkdir, readFile, readlink, rename, rm, stat, statfs, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join, relative } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { download, type FetchOptions, fetchPatiently, HttpError, type RemoteFile, UnreachableError } from "./download.ts";
import { reasonOf, writeFileAtomic } from "./file_source.ts";
import { isObject, parseJsonObject } from "./source.ts";

/** Where models come from and go to. */
export interface HubSettings {
  readonly endpoint: string;
  readonly cache: string;
  readonly token: string | null;
  readonly offline: boolean;
}

export interface HubOptions extends Omit<FetchOptions, "headers"> {
  /**
   * true: the safetensors weights. false: the small files alone, such as config.json and tokenizer.json. A list: other files, the first entry whose
   * files are all there, each with what it keeps beside itself (`onnx/model.onnx`, `onnx/model.onnx_data`). Default true.
   */
  readonly weights?: boolean | FileChoice;
  /** Default process.env. */
  readonly env?: Record<string, string | undefined>;
  /** Bytes on disk of all files to be fetched. */
  readonly onProgress?: (done: number, total: number) => void;
  /** A line for the user: what is fetched, or that the hub did not answer and the cache is used. */
  readonly onNotice?: (line: string) => void;
}

/** Sets of files, by name in the repository, any of which will do; the first is liked best. */
export type FileChoice = readonly (readonly string[])[];

/** A repository of the hub at a revision. */
export interface HubId {
  readonly repo: string;
  readonly revision: string;
}

/** `org/name` or `org/name@revision`; null where the text is neither. */
export function parseHubId(text: string): HubId | null {
  const match = /^(\w[\w.-]{0,95}\/\w[\w.-]{0,95})(?:@(\w[\w.-]*(?:\/\w[\w.-]*)*))?$/.exec(text);
  return match && !/--|\.\./.test(text) ? { repo: match[1], revision: match[2] ?? "main" } : null;
}

/** Settings out of the environment. */
export async function hubSettings(env: Record<string, string | undefined> = process.env): Promise<HubSettings> {
  const home = env.HF_HOME || join(env.XDG_CACHE_HOME || join(homedir(), ".cache"), "huggingface");
  const given = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN;
  const token = given ?? (await readFile(env.HF_TOKEN_PATH || join(home, "token"), "utf8").catch(() => ""));
  const endpoint = (env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, "");
  if (!URL.canParse(endpoint)) throw new WorldlineError(`HF_ENDPOINT is "${endpoint}"; an address like https://huggingface.co is needed`);
  return {
    endpoint,
    cache: env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, "hub"),
    token: token.trim() || null,
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE || ""),
  };
}

/**
 * The folder of a model: a path that exists stays as it is; a hub id is looked up in the cache and fetched where needed. Anything else is
 * returned unchanged, for the reader to say what is missing.
 */
export async function modelFolder(name: string, options: HubOptions = {}): Promise<string> {
  const id = parseHubId(name);
  if (!id || (await stat(name).catch(() => null))) return name;
  const settings = await hubSettings(options.env);
  const cached = await cachedModel(settings, id, options.weights);
  if (cached && cached.missing === null && (settings.offline || isCommit(id.revision))) return cached.folder;
  if (settings.offline) {
    const what = cached ? `${cached.missing} is missing in ${cached.folder}` : `it is not in the cache ${settings.cache}`;
    throw new UnreachableError(
      `${name}: there is no such folder, ${what}, and HF_HUB_OFFLINE forbids to fetch it; unset it or check the name`,
    );
  }
  try {
    return await fetchModel(settings, id, name, options);
  } catch (error) {
    if (!(error instanceof UnreachableError || (error instanceof HttpError && error.status >= 429)) || cached?.missing !== null)
      throw error;
    options.onNotice?.(`${error.message}; using the copy in the cache, ${cached.folder}`);
    return cached.folder;
  }
}

const isCommit = (revision: string) => /^[0-9a-f]{40}$/.test(revision);

const repoFolder = (s: HubSettings, { repo }: HubId) => join(s.cache, `models--${repo.replace("/", "--")}`);

/** The snapshot of a revision in the cache, and the first file that it lacks to be a model. */
export async function cachedModel(
  s: HubSettings,
  id: HubId,
  weights: boolean | FileChoice = true,
): Promise<{ folder: string; missing: string | null } | null> {
  const read = () => readFile(join(repoFolder(s, id), "refs", id.revision), "utf8").catch(() => "");
  const commit = isCommit(id.revision) ? id.revision : (await read()).trim();
  const folder = join(repoFolder(s, id), "snapshots", commit);
  if (!isCommit(commit) || !(await stat(folder).catch(() => null))) return null;
  return { folder, missing: await firstMissing(folder, weights) };
}

async function firstMissing(folder: string, weights: boolean | FileChoice): Promise<string | null> {
  const has = async (file: string) => (await stat(join(folder, file)).catch(() => null)) !== null;
  if (typeof weights === "object") return (await chosenFiles(folder, weights)) ? null : weights[0][0];
  if (await has("adapter_config.json")) return (await has("adapter_model.safetensors")) ? null : "adapter_model.safetensors";
  if (!(await has("config.json"))) return "config.json";
  if (!weights || (await has("model.safetensors"))) return null;
  const index = await readFile(join(folder, indexName), "utf8").catch(() => null);
  if (index === null) return "model.safetensors";
  for (const shard of shardsOf(index, join(folder, indexName))) if (!(await has(shard))) return shard;
  return null;
}

/** The first of the sets of files that a folder has all of; null where it has none. */
export async function chosenFiles(folder: string, choice: FileChoice): Promise<readonly string[] | null> {
  for (const files of choice) {
    const there = await Promise.all(files.map((file) => stat(join(folder, file)).catch(() => null)));
    if (!there.includes(null)) return files;
  }
  return null;
}

const indexName = "model.safetensors.index.json";

function shardsOf(index: string, where: string): string[] {
  const map = parseJsonObject(index, where).weight_map;
  return isObject(map) ? [...new Set(Object.values(map).filter((v) => typeof v === "string"))].sort() : [];
}

/** Asks the hub for the revision's commit and files, fetches what is not there and links it into the snapshot. */
async function fetchModel(s: HubSettings, id: HubId, name: string, options: HubOptions): Promise<string> {
  const { commit, files, request } = await listModel(s, id, name, options);
  const folder = join(repoFolder(s, id), "snapshots", commit);
  const small = files.filter((f) => /^[^/]+\.(json|jinja)$/.test(f.name));
  await fetchFiles(s, id, folder, small, request, options);
  const { weights = true } = options;
  if (weights) {
    const large = typeof weights === "object" ? choiceOf(weights, files, name) : await weightFiles(folder, files, name);
    await fetchFiles(s, id, folder, large, request, options);
  }
  if (!isCommit(id.revision)) await writeFileAtomic(join(repoFolder(s, id), "refs", id.revision), [new TextEncoder().encode(commit)]);
  return folder;
}

/** The files that hold the weights: model.safetensors or the index's shards, and an adapter's. */
async function weightFiles(folder: string, files: readonly RemoteFile[], name: string): Promise<RemoteFile[]> {
  const single = files.some((f) => f.name === "model.safetensors");
  const index = single ? null : await readFile(join(folder, indexName), "utf8").catch(() => null);
  const wanted = index === null ? ["model.safetensors"] : shardsOf(index, `${name}/${indexName}`);
  const found = files.filter((f) => wanted.includes(f.name) || f.name === "adapter_model.safetensors");
  if (found.length > 0) return found;
  throw new WorldlineError(`${name}: the repository holds no safetensors weights; name one that does, or convert it first`);
}

/** Files of the first set that the repository has all of, with what they keep beside themselves. */
function choiceOf(choice: FileChoice, files: readonly RemoteFile[], name: string): RemoteFile[] {
  const wanted = choice.find((set) => set.every((file) => files.some((f) => f.name === file)));
  if (wanted) return files.filter((f) => wanted.some((file) => f.name === file || f.name === besideOf(file)));
  throw new WorldlineError(`${name}: the repository has no ${choice.map((set) => set.join(" with ")).join(", nor ")}; name one that does`);
}

/** Where an ONNX file keeps what is too large for it. */
const besideOf = (file: string) => `${file}_data`;

/** Commit and files of a revision, through the hub's API: those at the root, and of folders the ones that options.weights lists. */
export async function listModel(
  s: HubSettings,
  id: HubId,
  name: string,
  options: HubOptions,
): Promise<{ commit: string; files: RemoteFile[]; request: FetchOptions }> {
  const request: FetchOptions = { ...options, headers: s.token ? { Authorization: `Bearer ${s.token}` } : {} };
  const { HubApiError, listFiles, modelInfo } = await import("@huggingface/hub");
  const origin = new URL(s.endpoint).origin;
  // A page's link to the next one could lead elsewhere: the token stays at home.
  const go = (url: string | URL, init: RequestInit = {}) =>
    fetchPatiently(String(url), init, new URL(url).origin === origin ? request : { ...request, headers: {} });
  const common = { hubUrl: s.endpoint, fetch: go as typeof fetch };
  try {
    const { sha } = await modelInfo({ name: id.repo, revision: id.revision, additionalFields: ["sha"], ...common });
    if (typeof sha !== "string" || !isCommit(sha)) throw new WorldlineError(`${name}: ${s.endpoint} names no commit; is it a model hub?`);
    const files: RemoteFile[] = [];
    const listed = typeof options.weights === "object" ? options.weights.flat().flatMap((file) => [file, besideOf(file)]) : [];
    const usual = (path: string) => /^\w[\w.-]*\.(json|jinja|safetensors)$/.test(path) && !path.endsWith(".bin.index.json");
    for await (const entry of listFiles({ repo: id.repo, revision: sha, recursive: listed.length > 0, ...common })) {
      if (entry.type !== "file" || !(usual(entry.path) || listed.includes(entry.path))) continue;
      const { path, size, lfs, oid } = entry;
      const hash = lfs ? { sha256: checked(lfs.oid, 64, name, path) } : { gitSha1: checked(oid, 40, name, path) };
      files.push({
        name: path,
        url: `${s.endpoint}/${id.repo}/resolve/${sha}/${path.split("/").map(encodeURIComponent).join("/")}`,
        size: lfs?.size ?? size,
        ...hash,
      });
    }
    return { commit: sha, files, request };
  } catch (error) {
    if (error instanceof HubApiError) throw refusal(error.statusCode, s, id, name);
    if (error instanceof UnreachableError) throw new UnreachableError(`${name}: there is no such folder, and ${error.message}`);
    if (error instanceof WorldlineError || request.signal?.aborted) throw error;
    throw new WorldlineError(
      `${name}: ${s.endpoint} does not answer as a model hub does (${String(error).slice(0, 80)}); check HF_ENDPOINT`,
    );
  }
}

/** A checksum, which is also the name of the file in the cache: nothing but digits may come in. */
function checked(oid: string | undefined, length: number, name: string, path: string): string {
  if (oid && oid.length === length && /^[0-9a-f]+$/.test(oid)) return oid;
  throw new WorldlineError(`${name}: the hub gives ${path} no checksum; check HF_ENDPOINT`);
}

function refusal(status: number, s: HubSettings, { repo, revision }: HubId, name: string): HttpError {
  const host = new URL(s.endpoint).host;
  const access = s.token ? "the token given has no access to it" : "give a token that may read it in HF_TOKEN";
  const reason =
    status === 404
      ? `${host} has no model ${repo} with the revision ${revision}; check the spelling`
      : status === 401
        ? `${host} has no such model, or it is private: check the spelling, ${access}`
        : status === 403
          ? `${host} refuses access: accept the model's terms at ${s.endpoint}/${repo} if it asks for that, ${access}`
          : status === 429
            ? `${host} refuses further requests for now (429); wait a while, or set HF_TOKEN`
            : `${host} answers ${status}; try again later`;
  return new HttpError(status, `${name}: there is no such folder, and ${reason}`);
}

const sideBySide = 4;

/** Fetches files into the cache, four at a time, and links each into the snapshot. */
async function fetchFiles(
  s: HubSettings,
  id: HubId,
  folder: string,
  files: readonly RemoteFile[],
  request: FetchOptions,
  { onProgress, onNotice }: HubOptions,
): Promise<void> {
  const blobs = join(repoFolder(s, id), "blobs");
  const blobOf = (file: RemoteFile) => join(blobs, file.sha256 ?? file.gitSha1 ?? file.name);
  const waiting: RemoteFile[] = [];
  for (const file of files) {
    const there = await stat(join(folder, file.name)).catch(() => null);
    if (there?.size !== file.size) waiting.push(file);
  }
  if (waiting.length === 0) return;
  await mkdir(blobs, { recursive: true }).catch((error: unknown) => {
    throw new WorldlineError(`${blobs}: the cache cannot be written, ${reasonOf(error)}; set HF_HUB_CACHE to a folder that can`);
  });
  await checkSpace(s, blobs, waiting, blobOf);
  const total = waiting.reduce((sum, f) => sum + f.size, 0);
  if (total > 1 << 20) onNotice?.(`fetching ${waiting.length} files of ${id.repo}, ${gigabytes(total)}, into ${folder}`);
  const done = new Map<RemoteFile, number>();
  const failed = new AbortController();
  const signal = request.signal ? AbortSignal.any([request.signal, failed.signal]) : failed.signal;
  const queue = [...waiting].sort((a, b) => b.size - a.size);
  const worker = async () => {
    for (let file = queue.shift(); file; file = queue.shift()) {
      const current = file;
      await download(current, blobOf(current), { ...request, signal }, (bytes) => {
        done.set(current, bytes);
        onProgress?.(
          [...done.values()].reduce((a, b) => a + b, 0),
          total,
        );
      }).catch((error: unknown) => {
        throw error instanceof HttpError && error.status < 429 ? refusal(error.status, s, id, current.name) : error;
      });
      await link(blobOf(current), join(folder, current.name));
    }
  };
  const stopOthers = (error: unknown) => {
    failed.abort(error);
    throw error;
  };
  const ends = await Promise.allSettled(Array.from({ length: sideBySide }, () => worker().catch(stopOthers)));
  request.signal?.throwIfAborted();
  if (ends.some((e) => e.status === "rejected")) throw failed.signal.reason;
}

async function checkSpace(s: HubSettings, blobs: string, files: readonly RemoteFile[], blobOf: (f: RemoteFile) => string): Promise<void> {
  let needed = 0;
  for (const f of files) {
    const sizes = await Promise.all(
      [blobOf(f), `${blobOf(f)}.incomplete`].map((p) =>
        stat(p)
          .then((i) => i.size)
          .catch(() => 0),
      ),
    );
    needed += Math.max(0, f.size - Math.max(...sizes));
  }
  const disk = await statfs(blobs).catch(() => null);
  const free = disk ? disk.bavail * disk.bsize : Number.POSITIVE_INFINITY;
  if (needed > free)
    throw new WorldlineError(
      `${s.cache}: ${gigabytes(needed)} are needed and ${gigabytes(free)} are free; make room, or set HF_HUB_CACHE to a larger disk`,
    );
}

/** A relative link to a blob; where links are not allowed (Windows) the file itself moves there, as Python's library does it. */
async function link(blob: string, path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const target = relative(dirname(path), blob);
  if ((await readlink(path).catch(() => null)) === target) return;
  if (await lstat(path).catch(() => null)) await rm(path, { force: true });
  await symlink(target, path).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code === "EEXIST") return;
    await rename(blob, path);
  });
}

function gigabytes(bytes: number): string {
  return bytes >= 1e9 ? `${(bytes / 1e9).toFixed(1)} GB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
