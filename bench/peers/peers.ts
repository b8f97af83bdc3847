// worldline beside other engines on the same adapter: same data, same run, taking turns sample by sample, each result checked against f64. The
// packages are installed on demand into a folder of their own in the user's cache; they are no dependency of worldline. An engine that
// fails is a line in the table, not the end of the run.
import { type ChildProcess, fork, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { WorldlineError } from "../../engine/errors.ts";
import { userCache } from "../../engine/host_node.ts";
import { median, type Summary, summarize } from "../statistics.ts";
import { type PeerCase, peerCases } from "./cases.ts";
import type { Answer, Word } from "./child.ts";

const here = fileURLToPath(import.meta.url);

/** What is installed. gpu.js pins an old `webgpu`; the override lets it share ours. */
const manifest = {
  name: "worldline-peers",
  private: true,
  type: "module",
  dependencies: {
    "@jax-js/jax": "0.1.25",
    "@tensorflow/tfjs": "4.22.0",
    "@tensorflow/tfjs-backend-webgpu": "4.22.0",
    "gpu.js": "2.24.1",
    "onnxruntime-node": "1.30.0",
    "onnxruntime-web": "1.30.0",
    webgpu: "0.6.2",
  },
  overrides: { "gpu.js": { webgpu: "$webgpu" } },
};

export const engineNames = ["worldline", "tensorflow.js", "onnxruntime-web", "onnxruntime-node", "jax-js", "gpu.js", "jax-js wasm"];

/** The peers' folder with its packages, installed if they are not there. */
export async function installPeers(
  told: (text: string) => void,
  folder = join(userCache(), "peers"),
  wanted: object = manifest,
  size = "about 800 MB",
): Promise<string> {
  const text = JSON.stringify(wanted, null, 2);
  const path = join(folder, "package.json");
  const done = join(folder, "installed");
  if (existsSync(done) && existsSync(path) && readFileSync(path, "utf8") === text) return folder;
  mkdirSync(folder, { recursive: true });
  // An install that fails must not leave the mark of an earlier one beside the new list.
  rmSync(done, { force: true });
  writeFileSync(path, text);
  told(`installing the peers into ${folder} once (${size} on disk)`);
  const code = await new Promise<number>((end, failed) => {
    const env = { ...process.env, ONNXRUNTIME_NODE_INSTALL_CUDA: "skip" };
    const child = spawn("npm", ["install", "--no-audit", "--no-fund", "--loglevel=error"], {
      cwd: folder,
      env,
      stdio: ["ignore", 2, 2],
      shell: process.platform === "win32",
    });
    child.on("error", failed);
    child.on("exit", (status) => end(status ?? 1));
  });
  if (code !== 0)
    throw new WorldlineError(
      `the peers could not be installed into ${folder} (npm ended with code ${code}); their registry must be reachable for this once`,
    );
  writeFileSync(done, "");
  return folder;
}

/** What one engine did at one case. */
export interface PeerResult extends Partial<Summary> {
  readonly engine: string;
  readonly version: string;
  readonly note?: string;
  readonly case: string;
  readonly error?: number;
  /** Milliseconds from asking for the case to its first result: compilation and upload. */
  readonly first?: number;
  readonly gflops?: number;
  /** Median milliseconds of processor time over all threads of its process: on a software adapter what the work costs, however busy the machine. */
  readonly cpu?: number;
  /** Median over the rounds of this engine's time over worldline's in the same round, which drift of the machine hits alike. */
  readonly paired?: number;
  readonly way?: string;
  readonly losses?: readonly number[];
  /** Ways that gave a wrong result, or why there is no time. */
  readonly tried?: readonly string[];
  readonly failed?: string;
}

interface Player {
  readonly name: string;
  readonly child: ChildProcess;
  version: string;
  note?: string;
  dead?: string;
}

const fatal = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** Stops a child or lets it go on: onnxruntime-web spins on a core between its turns too, which then is not there for the others. */
function hold(p: Player, signal: "SIGSTOP" | "SIGCONT"): void {
  if (process.platform !== "win32") p.child.kill(signal);
}

/** Sends a word and waits for the answer; a dead child answers that it is dead. Until it is asked again the child stands still. */
function ask(p: Player, word: Word | undefined, limit: number): Promise<Answer> {
  if (p.dead) return Promise.resolve({ failed: p.dead });
  hold(p, "SIGCONT");
  return new Promise((done) => {
    const end = (a: Answer) => {
      hold(p, "SIGSTOP");
      clearTimeout(timer);
      p.child.off("message", end);
      p.child.off("exit", died);
      done(a);
    };
    const died = () => end({ failed: p.dead! });
    const timer = setTimeout(() => {
      p.dead = `no answer in ${limit / 1000} s`;
      p.child.kill("SIGKILL");
      end({ failed: p.dead });
    }, limit);
    p.child.on("message", end);
    p.child.on("exit", died);
    if (word) p.child.send(word);
  });
}

export interface PeerOptions {
  /** Engines besides worldline, by name. */
  readonly engines: readonly string[];
  readonly filter?: string;
  /** Samples of each engine and case, and seconds for them. */
  readonly samples: number;
  readonly seconds: number;
}

/** Runs the cases; yields the results of each as they are known. */
export async function* runPeers(folder: string, o: PeerOptions, told: (text: string) => void): AsyncGenerator<[PeerCase, PeerResult[]]> {
  const cases = peerCases.filter((c) => c.name.includes(o.filter ?? ""));
  if (cases.length === 0) throw new WorldlineError(`no case is called "${o.filter}"; there are ${peerCases.map((c) => c.name).join(", ")}`);
  const players: Player[] = [];
  const end = () => {
    for (const p of players) p.child.kill("SIGKILL");
  };
  // A child that stands still does not see its parent go, so that it must be ended before; only a kill with -9 leaves it behind.
  const interrupted = (_: NodeJS.Signals, number: number) => {
    end();
    process.exit(128 + number);
  };
  for (const signal of fatal) process.once(signal, interrupted);
  // process.exit elsewhere (standard output closed) and errors that nobody catches.
  process.once("exit", end);
  try {
    for (const name of o.engines) {
      told(`starting ${name}`);
      const child = fork(join(dirname(here), `child${extname(here)}`), [name, folder], {
        stdio: ["ignore", "ignore", "ignore", "ipc"],
        execArgv: process.execArgv,
      });
      const p: Player = { name, child, version: "" };
      players.push(p);
      // One may die between its turns, too, as when memory runs out.
      child.on("exit", (code, signal) => void (p.dead ??= `its process ended (${signal ?? `exit code ${code}`})`));
      child.on("error", (cause) => void (p.dead ??= `its process ended (${cause.message})`));
      const opened = await ask(p, undefined, 120_000);
      if ("opened" in opened) Object.assign(p, { version: opened.opened, note: opened.note });
      else p.dead = "failed" in opened ? opened.failed : "it did not start";
    }
    for (const c of cases) yield [c, await runCase(players, c, o, told)];
  } finally {
    end();
    process.off("exit", end);
    for (const signal of fatal) process.off(signal, interrupted);
  }
}

/** Median over rounds of one engine's time over the other's. Who gives no time any more has died, so that the n-th time of each is of one round. */
export function pairedRatio(times: readonly number[], own: readonly number[]): number | undefined {
  const ratios = times.slice(0, own.length).map((ms, round) => ms / own[round]);
  return ratios.length ? median(ratios) : undefined;
}

async function runCase(players: readonly Player[], c: PeerCase, o: PeerOptions, told: (text: string) => void): Promise<PeerResult[]> {
  const answers = new Map<Player, Answer>();
  for (const p of players) {
    told(`${c.name}: ${p.name} compiles and is checked`);
    answers.set(p, await ask(p, { prepare: c.name }, 240_000));
  }
  const able = players.filter((p) => "prepared" in answers.get(p)!);
  const times = new Map(able.map((p) => [p, [] as number[]]));
  const spent = new Map(able.map((p) => [p, [] as number[]]));
  const begin = performance.now();
  for (let round = 0; round <= o.samples; round++) {
    told(`${c.name}: round ${round} of ${o.samples}`);
    for (const p of able) {
      const a = await ask(p, "run", 120_000);
      // The first round warms up and is not counted.
      if (!("ms" in a) || round === 0) continue;
      times.get(p)!.push(a.ms);
      spent.get(p)!.push(a.cpu);
    }
    if (round >= 3 && performance.now() - begin > o.seconds * 1000) break;
  }
  const own = [...times].find(([p]) => p.name === "worldline")?.[1] ?? [];
  return players.map((p) => {
    const a = answers.get(p)!;
    const base = { engine: p.name, version: p.version, note: p.note, case: c.name };
    if (!("prepared" in a)) return { ...base, failed: "failed" in a ? a.failed : "it gave no answer" };
    const all = times.get(p)!;
    const { error, first, way, tried, losses } = a;
    if (all.length === 0) return { ...base, error, first, failed: p.dead ?? "it gave no time" };
    const summary = summarize(all);
    const paired = pairedRatio(all, own);
    return {
      ...base,
      ...summary,
      paired,
      error,
      first,
      way,
      tried,
      losses,
      gflops: c.flops / summary.median / 1e6,
      cpu: median(spent.get(p)!),
    };
  });
}

/** A case's results as lines, and worldline's ratio to each. */
export function peerLines(c: PeerCase, results: readonly PeerResult[]): string[] {
  const own = results.find((r) => r.engine === "worldline");
  return [
    c.name,
    ...results.map((r) => {
      const name = `  ${r.engine.padEnd(18)} ${r.version.padEnd(18)}`;
      if (r.median === undefined) return `${name} ${r.failed}`;
      const ratio =
        own?.median && r.engine !== "worldline"
          ? `  x${r.paired!.toFixed(2)} of worldline's time, x${(r.cpu! / own.cpu!).toFixed(2)} of its processor time`
          : "";
      const more = [r.way, ...(r.tried ?? []), r.losses && `losses ${r.losses.map((l) => l.toFixed(4)).join(", ")}`]
        .filter(Boolean)
        .join("; ");
      return `${name} median ${r.median.toFixed(2).padStart(9)} ms  min ${r.min!.toFixed(2).padStart(9)}  +-${Math.round(r.spread! * 100)}%  cpu ${r.cpu!.toFixed(2).padStart(9)}  ${r.gflops!.toFixed(1).padStart(6)} GFLOP/s  error ${r.error!.toExponential(1)}  first ${(r.first! / 1000).toFixed(1)} s${ratio}${more ? `  (${more})` : ""}`;
    }),
  ];
}

/** Ratios to the best other WebGPU engine that gives a right result, the least of each: round by round, of medians, of processor time and of shortest times. */
export function bestRatio(
  results: readonly PeerResult[],
): { ratio: number; engine: string; medians: number; cpu: number; shortest: number } | undefined {
  const own = results.find((r) => r.engine === "worldline");
  const others = results.filter((r) => r.median !== undefined && r.engine !== "worldline" && r.engine !== "jax-js wasm");
  if (own?.median === undefined || others.length === 0) return undefined;
  const best = others.reduce((a, b) => (b.paired! < a.paired! ? b : a));
  const least = (of: (r: PeerResult) => number) => Math.min(...others.map(of)) / of(own);
  return {
    ratio: best.paired!,
    engine: best.engine,
    medians: least((r) => r.median!),
    cpu: least((r) => r.cpu!),
    shortest: least((r) => r.min!),
  };
}
