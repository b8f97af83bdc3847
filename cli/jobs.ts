// worldline jobs: a stage over many inputs, cut into shards that any number of workers do, through BullMQ on Redis or, without --redis, alone.

import { join } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { checkWritable } from "../weights/file_source.ts";
import { cut, joinShards, type Manifest, missingShards, readManifest, readWork, writeManifest } from "../world/job_manifest.ts";
import type { ShardQueue } from "../world/job_queue.ts";
import { ShardRunner } from "../world/job_stages.ts";
import { writeText } from "../world/records.ts";
import { jobsPage } from "./jobs_page.ts";
import { storageOptions } from "./shared.ts";
import { count, interruption, progress, say, status } from "./terminal.ts";
import { withoutSecret } from "./versions.ts";

interface Flags {
  out: string;
  redis?: string;
  patience: number;
  lock: number;
}

const url = (text: string) => {
  if (!/^rediss?:\/\/./.test(text)) throw new InvalidArgumentError("give redis://host:port");
  return text;
};

/** Adds the command. */
export function register(program: Command): void {
  const jobs = program.command("jobs").description("frames, annotate, edit or eval over many inputs as jobs for any number of workers");
  const withRedis = (command: Command) =>
    command
      .option("--redis <url>", "share the work through BullMQ on this Redis, redis://host:port; without it this process works alone", url)
      .option("--patience <seconds>", "how long a lost Redis is waited for", count(1, 86400), 60);
  withRedis(
    jobs
      .command("submit")
      .description("cut the work of a TOML file into shards; with --redis put those that are missing in the queue, failed ones again")
      .argument("<file>", "the work: stage, inputs, options (docs/jobs.md)")
      .requiredOption("--out <folder>", "where jobs.json, shards/ and the joined file go; all workers must see it at the same path"),
  ).action(submit);
  withRedis(jobs.command("work").description("do shards until all are there, then join them").argument("<folder>", "the folder of submit"))
    .option("--lock <seconds>", "a worker that is silent for this long counts as dead, and its shard goes to another", count(2, 86400), 60)
    .action(work);
  withRedis(
    jobs.command("status").description("what is done, at work, waiting, failed and missing").argument("<folder>", "that folder"),
  ).action(showStatus);
}

async function openQueue(manifest: Manifest, f: Flags): Promise<ShardQueue> {
  const module = await import("../world/job_queue.ts").catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "ERR_MODULE_NOT_FOUND") throw cause;
    throw new WorldlineError(
      "--redis needs the packages bullmq and ioredis: `npm install bullmq@6.7.0 ioredis@5.11.1`, or leave out --redis to work on this machine alone",
    );
  });
  return module.ShardQueue.open(manifest, { url: f.redis!, patience: f.patience, say });
}

async function submit(file: string, f: Flags): Promise<void> {
  await checkWritable(`${f.out}/jobs.json`);
  const manifest = await cut(await readWork(file), progress("reading inputs"));
  await writeManifest(f.out, manifest);
  const missing = await missingShards(f.out, manifest);
  say(`${f.out}: ${manifest.shards.length} shards of the stage ${manifest.work.stage}, ${missing.length} to do`);
  if (!f.redis) return say(`work them off with \`worldline jobs work ${f.out}\`; submit with --redis to share them`);
  const queue = await openQueue(manifest, f);
  const again = await queue.retryFailed();
  await queue.add(missing);
  say(
    `in the queue${again ? `, ${again} that had failed among them` : ""}; start \`worldline jobs work ${f.out} --redis ${withoutSecret(f.redis)}\` anywhere`,
  );
  queue.close();
}

async function work(out: string, f: Flags): Promise<void> {
  const manifest = await readManifest(out);
  const signal = interruption();
  const runner = new ShardRunner(out, manifest, storageOptions({}));
  const total = manifest.shards.length;
  let did = 0;
  let done = total - (await missingShards(out, manifest)).length;
  const one = async (shard: Manifest["shards"][number], stop: AbortSignal) => {
    const label = `shard ${shard.id.slice(0, 8)}`;
    const onProgress = (n: number, of: number) => status(`${done} of ${total} shards; ${label}: ${n} of ${of}`);
    if (await runner.run(shard, { signal: stop, onProgress })) did++;
  };
  const failed: { id: string; reason: string }[] = [];
  if (f.redis && done < total) {
    const queue = await openQueue(manifest, f);
    const onState = (n: number) => {
      if (n !== done) status(`${n} of ${total} shards`);
      done = n;
    };
    try {
      failed.push(...(await queue.work(out, manifest, one, { lock: f.lock, signal, onState })));
    } finally {
      queue.close();
    }
  } else
    for (const shard of await missingShards(out, manifest)) {
      try {
        await one(shard, signal);
        status(`${++done} of ${total} shards`);
      } catch (error) {
        if (signal.aborted) throw signal.reason;
        if (!(error instanceof WorldlineError)) throw error;
        failed.push({ id: shard.id, reason: error.message });
      }
    }
  say(`${did} shards done by this worker`);
  await tell(out, manifest, failed);
}

async function showStatus(out: string, f: Flags): Promise<void> {
  const manifest = await readManifest(out);
  const missing = await missingShards(out, manifest);
  const done = manifest.shards.length - missing.length;
  if (!f.redis) say(`${manifest.work.stage}: ${done} of ${manifest.shards.length} shards done, ${missing.length} missing`);
  else {
    const queue = await openQueue(manifest, f);
    const { waiting, active, failed } = await queue.counts();
    queue.close();
    say(
      `${manifest.work.stage}: ${done} of ${manifest.shards.length} shards done, ${active} at work, ${waiting} waiting, ${failed.length} failed`,
    );
    for (const { id, reason } of failed) say(`failed ${id.slice(0, 8)}: ${reason}`);
  }
  for (const { id, first, inputs } of missing.slice(0, 10))
    say(`missing ${id.slice(0, 8)}: inputs ${first + 1} to ${first + inputs.length}`);
  if (missing.length > 10) say(`and ${missing.length - 10} more`);
  await tell(out, manifest, []);
}

/** Joins where all is there; else says what failed, with exit code 1. */
async function tell(out: string, manifest: Manifest, failed: readonly { id: string; reason: string }[]): Promise<void> {
  const joined = await joinShards(out, manifest);
  for (const { video, failed: reason } of joined?.failed ?? [])
    say(`left out: ${reason.startsWith(video) ? reason : `${video}: ${reason}`}`);
  if (joined) {
    await writeText(join(out, "report.html"), await jobsPage(out, manifest, joined));
    say(`${joined.path}: ${joined.lines} lines; report.html beside it`);
  }
  for (const { id, reason } of failed) say(`failed ${id.slice(0, 8)}: ${reason}`);
  if (failed.length) {
    const advice = "mend the cause, then submit again";
    throw new WorldlineError(`${failed.length} of ${manifest.shards.length} shards failed; ${advice}`);
  }
}
