// Shards as jobs of BullMQ on Redis. Redis holds ids only: a shard is done when its file is there, so what Redis loses is asked for again and what it
// hands out twice is passed over. Loaded only where --redis is given: BullMQ and ioredis are optional packages.
import { type Job, Queue, WaitingError, Worker } from "bullmq";
import { Redis } from "ioredis";
import { WorldlineError } from "../engine/errors.ts";
import { contentKey } from "./answers.ts";
import { isDone, type Manifest, missingShards, type Shard } from "./job_manifest.ts";

export interface QueueOptions {
  readonly url: string;
  /** Seconds without a Redis after which it is given up. */
  readonly patience: number;
  readonly say: (text: string) => void;
}

/** How many jobs are in which state. */
export interface QueueCounts {
  readonly waiting: number;
  readonly active: number;
  readonly failed: readonly { readonly id: string; readonly reason: string }[];
}

const attempts = 3;
/** Milliseconds in which a Redis must have answered for the first time. */
const firstAnswer = 10_000;
/** A shard that was at work in this many workers that died is given up: it may be what kills them. */
const mostStalled = 20;

/** The queue of one folder's work. */
export class ShardQueue {
  private readonly connection: Redis;
  private readonly queue: Queue;
  private readonly gone: AbortController;
  private readonly name: string;

  private constructor(connection: Redis, name: string, gone: AbortController) {
    this.connection = connection;
    this.gone = gone;
    this.name = name;
    this.queue = new Queue(name, { connection });
    this.queue.on("error", () => undefined);
  }

  /** Connects. Throws a sentence where no Redis answers. */
  static async open(manifest: Manifest, options: QueueOptions): Promise<ShardQueue> {
    const gone = new AbortController();
    const connection = await connect(options, gone);
    for (const [setting, wanted, why] of [
      ["appendonly", "yes", "a killed Redis forgets what is waiting (workers ask for it again)"],
      ["maxmemory-policy", "noeviction", "a full Redis throws jobs away"],
    ]) {
      const [, value] = await connection.config("GET", setting).then(
        (pair) => pair as string[],
        () => [],
      );
      if (value && value !== wanted) options.say(`note: this Redis has ${setting} ${value}; with other than ${wanted} ${why}`);
    }
    const name = `worldline-${contentKey(JSON.stringify(manifest.work), ...manifest.shards.map((s) => s.id))}`;
    return new ShardQueue(connection, name, gone);
  }

  /** Aborted with a sentence when Redis was away for longer than patience allows. */
  get lost(): AbortSignal {
    return this.gone.signal;
  }

  /** Puts shards in the queue; those that are there already stay where they are. */
  async add(shards: readonly Shard[]): Promise<void> {
    const opts = (id: string) => ({ jobId: id, attempts, backoff: { type: "fixed", delay: 1000 }, removeOnComplete: true });
    await this.queue.addBulk(shards.map(({ id }) => ({ name: "shard", data: {}, opts: opts(id) })));
  }

  /** Gives shards that failed another set of attempts. */
  async retryFailed(): Promise<number> {
    const failed = await this.queue.getFailed();
    for (const job of failed) await job.remove();
    return failed.length;
  }

  async counts(): Promise<QueueCounts> {
    const { active, failed: _, ...rest } = await this.queue.getJobCounts("waiting", "active", "delayed", "prioritized", "failed");
    const failed = (await this.queue.getFailed()).map((job) => ({ id: `${job.id}`, reason: job.failedReason }));
    return { waiting: Object.values(rest).reduce((a, n) => a + n, 0), active, failed };
  }

  /**
   * Works until every shard is there or has failed; resolves to those that failed. `lock`: seconds of silence after which a worker counts as dead and its
   * shard goes to another. After an abort the shard at work goes back to the queue and the signal's reason is thrown.
   */
  async work(
    out: string,
    manifest: Manifest,
    run: (shard: Shard, signal: AbortSignal) => Promise<void>,
    { lock, signal, onState }: { lock: number; signal: AbortSignal; onState: (missing: number) => void },
  ): Promise<QueueCounts["failed"]> {
    const byId = new Map(manifest.shards.map((s) => [s.id, s]));
    const stop = AbortSignal.any([signal, this.lost]);
    const process = async (job: Job, token?: string) => {
      const shard = byId.get(`${job.id}`);
      if (!shard || isDone(out, shard.id)) return;
      try {
        await run(shard, stop);
      } catch (error) {
        if (!stop.aborted) throw error;
        await job.moveToWait(token);
        throw new WaitingError();
      }
    };
    const worker = new Worker(this.name, process, {
      connection: this.connection.duplicate(),
      concurrency: 1,
      lockDuration: lock * 1000,
      stalledInterval: lock * 500,
      maxStalledCount: mostStalled,
    });
    worker.on("error", () => undefined);
    try {
      for (;;) {
        if (stop.aborted) throw stop.reason;
        const missing = await missingShards(out, manifest);
        onState(manifest.shards.length - missing.length);
        if (missing.length === 0) return [];
        const state = await orAbort(this.counts(), stop);
        if (state.waiting + state.active === 0) {
          const failed = new Set(state.failed.map((f) => f.id));
          const forgotten = missing.filter((s) => !failed.has(s.id) && !isDone(out, s.id));
          if (forgotten.length) await orAbort(this.add(forgotten), stop);
          else if (missing.every((s) => failed.has(s.id))) return state.failed.filter((f) => missing.some((s) => s.id === f.id));
        }
        await pause(500, stop);
      }
    } finally {
      await Promise.race([worker.close(this.lost.aborted), pause(10_000, new AbortController().signal)]);
    }
  }

  close(): void {
    // Our own end of the connection is no loss of Redis.
    this.connection.removeAllListeners("close");
    this.connection.disconnect();
  }
}

/** A promise, or the abort's reason where that comes first: a command waits for as long as Redis is away. */
function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((done, fail) => {
    const leave = () => fail(signal.reason);
    if (signal.aborted) leave();
    signal.addEventListener("abort", leave, { once: true });
    promise.then(done, fail).finally(() => signal.removeEventListener("abort", leave));
  });
}

function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(end, milliseconds);
    function end() {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      done();
    }
    signal.addEventListener("abort", end);
  });
}

async function connect({ url: whole, patience, say }: QueueOptions, gone: AbortController): Promise<Redis> {
  if (!/^rediss?:\/\//.test(whole)) throw new WorldlineError(`--redis "${whole}" is not of the form redis://host:port`);
  // Messages go into logs: without the password.
  const url = whole.replace(/\/\/[^@/]*@/, "//");
  let [ready, since] = [false, 0];
  const redis = new Redis(whole, {
    lazyConnect: true,
    maxRetriesPerRequest: null,
    retryStrategy: (times) => (ready && !gone.signal.aborted ? Math.min(2000, 100 * times) : null),
  });
  let cause = `no answer within ${firstAnswer / 1000} s`;
  redis.on("error", ({ message }: Error) => {
    cause = message || cause;
  });
  // A port that takes connections and says nothing would be waited for without end.
  const silent = setTimeout(() => redis.disconnect(), firstAnswer);
  try {
    await redis.connect();
    ready = true;
  } catch {
    redis.disconnect();
    throw new WorldlineError(
      `no Redis answers at ${url} (${cause}); start one with \`redis-server --appendonly yes --maxmemory-policy noeviction\`, or leave out --redis to work on this machine alone`,
    );
  } finally {
    clearTimeout(silent);
  }
  redis.on("close", () => {
    if (since) return;
    since = Date.now();
    say(`Redis at ${url} is gone; trying again for ${patience} s, the shard at work goes on`);
    setTimeout(function check() {
      if (!since) return;
      if (Date.now() - since < patience * 1000) return void setTimeout(check, 500);
      const hint = "what is done is kept; start Redis and run the same command again";
      gone.abort(new WorldlineError(`Redis at ${url} was away for ${patience} s; ${hint}`));
    }, 500);
  });
  redis.on("ready", () => {
    if (since) say(`Redis at ${url} is back`);
    since = 0;
  });
  return redis;
}
