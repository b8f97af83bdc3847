// What test/jobs.test.ts and test/kill_jobs.ts share: a redis-server of their own with an append-only file, workers as processes, and work to be done.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { writeTriplets } from "../world/tabletop/dataset.ts";
import { defaultWorld } from "../world/tabletop/index.ts";

export const base = fileURLToPath(new URL("../world/tabletop/base", import.meta.url));
const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));

export const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;

/** A process and its end. */
export interface Run {
  readonly child: ChildProcess;
  readonly end: Promise<{ code: number | null; output: string }>;
}

/** Starts `worldline jobs` with arguments. */
export function jobs(...args: string[]): Run {
  return jobsWith([], ...args);
}

/** The same with more arguments for Node. */
export function jobsWith(node: readonly string[], ...args: string[]): Run {
  const child = spawn(process.execPath, ["--import", "tsx", ...node, main, "jobs", ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  return { child, end: new Promise((done) => child.on("close", (code) => done({ code, output }))) };
}

/** A redis-server on a free port with its append-only file in `folder`; it can be killed and started again on the same port. */
export class OwnRedis {
  private readonly folder: string;
  private readonly port: number;
  private child: ChildProcess | undefined;
  private static readonly all: OwnRedis[] = [];

  private constructor(folder: string, port: number) {
    this.folder = folder;
    this.port = port;
    OwnRedis.all.push(this);
  }

  /** For the end of a test file: one that a failed test left up would keep the process alive. */
  static async killAll(): Promise<void> {
    for (const redis of OwnRedis.all) await redis.kill();
  }

  static async start(folder: string): Promise<OwnRedis> {
    const server = createServer();
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as { port: number };
    await new Promise((done) => server.close(done));
    const redis = new OwnRedis(folder, port);
    await redis.start();
    return redis;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const settings = ["--port", `${this.port}`, "--bind", "127.0.0.1", "--dir", this.folder, "--save", "", "--appendonly", "yes"];
    this.child = spawn("redis-server", [...settings, "--maxmemory-policy", "noeviction"], { stdio: "ignore" });
    const client = new Redis(this.url, { maxRetriesPerRequest: null, retryStrategy: () => 50 });
    client.on("error", () => undefined);
    await client.ping();
    client.disconnect();
  }

  async kill(): Promise<void> {
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) return;
    const gone = new Promise((done) => this.child?.on("close", done));
    this.child?.kill("SIGKILL");
    await gone;
  }
}

/** Writes triplets of the tabletop and a file of work over them: annotation, or drawings scored by a dynamics model. */
export async function writeWork(folder: string, stage: "annotate" | "edit", count: number, shard: number): Promise<string> {
  await writeTriplets(defaultWorld, folder, { name: "pairs", count, seed: 9 });
  const common = `stage = "${stage}"\ndata = "pairs.jsonl"\nshard = ${shard}\ntemperature = 0.8\nseed = 3\ncdm = ${JSON.stringify(base)}\n`;
  const path = join(folder, `${stage}.toml`);
  writeFileSync(path, common + (stage === "edit" ? `cwm = ${JSON.stringify(base)}\ncandidates = 3\n` : "max_tokens = 12\n"));
  return path;
}
