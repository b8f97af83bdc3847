// Kills annotation, evaluation and jobs (two workers and their Redis) with kill -9 at random moments; each must end with the files of an undisturbed run.
//   npm run kill:jobs -- 20      (a number of kills for each; about 3 s a kill)
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Rng } from "../engine/rng.ts";
import { encodePng } from "../world/pictures.ts";
import { hasRedis, jobs, OwnRedis, type Run, writeWork } from "./job_runs.ts";
import { killedRun, runOnce } from "./kill_runs.ts";

const kills = Number(process.argv[2] ?? 20);
if (!Number.isInteger(kills) || kills < 1) throw new Error(`"${process.argv[2]}" is no number of kills`);
const folder = mkdtempSync(join(tmpdir(), "worldline-kills-"));
const script = (name: string) => fileURLToPath(new URL(`./${name}`, import.meta.url));
const file = (path: string) => readFileSync(path, "utf8");

function same(name: string, a: string, b: string): void {
  if (file(a) !== file(b)) throw new Error(`${name}: ${a} is not ${b}, which an undisturbed run wrote`);
}

function noLeftovers(name: string, place: string): void {
  const left = readdirSync(place).filter((n) => n.endsWith(".tmp"));
  if (left.length) throw new Error(`${name} left ${left.join(", ")}`);
}

/** Runs of a command until it was killed often enough; each ends by itself at last. `check` holds what it left against the undisturbed run's. */
async function killed(name: string, longest: number, args: (round: string) => string[], check: (round: string) => void): Promise<void> {
  const { code, output } = await runOnce(args("calm"));
  if (code !== 0) throw new Error(output);
  let [total, rounds] = [0, 0];
  for (; total < kills; rounds++) {
    total += (await killedRun(args(`${rounds}`), longest, rounds, kills - total)).killed;
    check(`${rounds}`);
  }
  console.log(`${name}: killed ${total} times in ${rounds} runs, files equal those of an undisturbed run`);
}

async function annotation(): Promise<void> {
  await writeWork(folder, "annotate", 24, 2);
  const out = (round: string) => join(folder, `annotated-${round}`, "pairs.jsonl");
  const args = (round: string) => [script("annotate_run.ts"), join(folder, "pairs.jsonl"), out(round)];
  await killed("annotate", 1500, args, (round) => {
    const lines = (path: string) => file(path).trim().split("\n").length;
    same("annotate", out(round), out("calm"));
    if (lines(`${out(round)}.answers`) !== lines(`${out("calm")}.answers`)) {
      const keys = file(`${out(round)}.answers`)
        .split("\n")
        .flatMap((l) => /^\{"key":"(\w+)".*\}$/.exec(l)?.[1] ?? []);
      if (new Set(keys).size !== keys.length) throw new Error("annotate: a pair was asked about twice");
    }
    noLeftovers("annotate", join(out(round), ".."));
  });
}

async function evaluation(): Promise<void> {
  const picture = (grey: number) => encodePng({ width: 16, height: 16, data: new Uint8Array(768).fill(grey) });
  mkdirSync(join(folder, "ours"));
  const records = Array.from({ length: 24 }, (_, i) => {
    for (const [name, grey] of [
      [`s${i}.png`, 2 * i],
      [`t${i}.png`, 2 * i + 40],
      [`ours/r${i}.png`, 3 * i],
    ] as const)
      writeFileSync(join(folder, name), picture(grey));
    return JSON.stringify({ id: `r${i}`, source: `s${i}.png`, target: `t${i}.png`, action: `go ${i}` });
  });
  writeFileSync(join(folder, "records.jsonl"), records.join("\n"));
  const out = (round: string) => join(folder, `evaluated-${round}`);
  await killed(
    "eval",
    600,
    (round) => [script("evaluation_run.ts"), folder, out(round)],
    (round) => {
      if (`${readdirSync(out(round)).sort()}` !== `${readdirSync(out("calm")).sort()}`)
        throw new Error(`eval left ${readdirSync(out(round))}`);
      for (const name of readdirSync(out("calm"))) same("eval", join(out(round), name), join(out("calm"), name));
    },
  );
}

async function queue(): Promise<void> {
  const calm = join(folder, "calm-jobs");
  const work = await writeWork(folder, "edit", 60, 2);
  const must = async (run: Run) => {
    const { code, output } = await run.end;
    if (code !== 0) throw new Error(output);
    return output;
  };
  await must(jobs("submit", work, "--out", calm));
  await must(jobs("work", calm));
  const rng = new Rng(1, "kills");
  let [workers, redises, rounds] = [0, 0, 0];
  for (; workers + redises < kills; rounds++) {
    const data = join(folder, `redis-${rounds}`);
    mkdirSync(data);
    const redis = await OwnRedis.start(data);
    const wild = join(folder, `wild-jobs-${rounds}`);
    await must(jobs("submit", work, "--out", wild, "--redis", redis.url));
    const start = (): Run & { over: boolean } => {
      const run = { ...jobs("work", wild, "--redis", redis.url, "--lock", "3"), over: false };
      void run.end.then(() => (run.over = true));
      return run;
    };
    const pair = [start(), start()];
    try {
      while (workers + redises < kills && !pair.some((run) => run.over)) {
        await new Promise((done) => setTimeout(done, 500 + 4000 * rng.uniform()));
        if (pair.some((run) => run.over)) break;
        const victim = Math.floor(3 * rng.uniform());
        if (victim === 2) {
          await redis.kill();
          await new Promise((done) => setTimeout(done, 500 * rng.uniform()));
          await redis.start();
          redises++;
        } else {
          pair[victim].child.kill("SIGKILL");
          await pair[victim].end;
          pair[victim] = start();
          workers++;
        }
      }
      for (const run of pair) await must(run);
      same("jobs", join(wild, "predictions.jsonl"), join(calm, "predictions.jsonl"));
      for (const part of ["shards", "pictures"]) {
        noLeftovers("jobs", join(wild, part));
        if (`${readdirSync(join(wild, part)).sort()}` !== `${readdirSync(join(calm, part)).sort()}`)
          throw new Error(`jobs: ${part} differ`);
      }
    } finally {
      for (const run of pair) run.child.kill("SIGKILL");
      await redis.kill();
    }
  }
  console.log(
    `jobs: ${workers} kills of workers and ${redises} of Redis in ${rounds} runs, files equal those of a single process without Redis`,
  );
}

try {
  await evaluation();
  await annotation();
  if (hasRedis) await queue();
  else console.log("jobs: skipped, as redis-server is not installed");
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit();
