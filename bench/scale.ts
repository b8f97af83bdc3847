// The scale check:  npm run scale -- [--layers 32] [--dtypes int4,bf16] ...
// Writes a checkpoint in the shape of Chameleon-7B (bench/shaped.ts), loads it as each type in a process of its own, runs a prompt with one picture
// and decodes; prints load rate, peak host memory, device memory by kind, times and shares of what the adapter can do.
// Cost: with 2 layers 2.8 GB of disk and about 2 minutes a type on a software adapter; with all 32 layers 14 GB of disk, 4.6 GB (int4) or 16 GB (bf16)
// of memory, and with 1024 picture tokens most of an hour a type there.
import { spawn } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { count, duration, say, status } from "../cli/terminal.ts";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import { flops, weightBytes } from "../models/chameleon.ts";
import { Generator } from "../models/generate.ts";
import { fixedRules } from "../models/rules.ts";
import { matmulCeiling } from "../train/ceiling.ts";
import { defaultGroupSize, type StoredType, storedTypes } from "../weights/stored.ts";
import { loadLanguageModel } from "../world/model.ts";
import { measureCeilings } from "./ceilings.ts";
import { shapedBytes, writeShaped } from "./shaped.ts";
import { Timer } from "./timer.ts";

export interface ScaleOptions {
  readonly dtype: StoredType;
  readonly groupSize?: number;
  /** Picture codes in the prompt, and tokens to write. */
  readonly pictureTokens: number;
  readonly newTokens: number;
}

export interface ScaleResult {
  readonly dtype: StoredType;
  readonly loadSeconds: number;
  /** Most host memory while loading, beyond what the process had before and, on a software adapter, what the device has been given. */
  readonly hostPeak: number;
  /** Most memory of the whole process, device memory of a software adapter included. */
  readonly processPeak: number;
  readonly device: Record<string, number>;
  readonly promptTokens: number;
  readonly prefillSeconds: number;
  readonly tokenSeconds: number;
  readonly ids: number[];
  /** Shares of the measured matmul (prefill) and copy (token) ceilings. */
  readonly prefillShare: number;
  readonly tokenShare: number;
}

/** Loads the folder as one type, prefills a prompt with one picture, decodes greedily. */
export async function measureScale(folder: string, o: ScaleOptions): Promise<ScaleResult> {
  const device = await openDevice();
  const ceiling = await matmulCeiling(device);
  const { copy } = await measureCeilings(device, new Timer(device));
  const before = process.memoryUsage.rss();
  let hostPeak = 0;
  const begin = performance.now();
  const onBytes = (done: number, total: number, begun: number) => {
    hostPeak = Math.max(hostPeak, process.memoryUsage.rss() - before - (device.capabilities.software ? begun : 0));
    status(`${o.dtype}: loading ${(done / 1e9).toFixed(1)} of ${(total / 1e9).toFixed(1)} GB`);
  };
  const { config, lm } = await loadLanguageModel(device, folder, { dtype: o.dtype, groupSize: o.groupSize, onBytes, onNotice: say });
  const loadSeconds = (performance.now() - begin) / 1000;
  const rng = new Rng(7, "prompt");
  const words = Array.from({ length: 8 }, () => 16384 + rng.int(config.vocabSize - 16384));
  const picture = Array.from({ length: o.pictureTokens }, () => 4 + rng.int(8192));
  const prompt = Uint32Array.from([config.bosId, ...words, config.boiId, ...picture, config.eoiId, config.sepId ?? 0]);
  const shape = { prompts: 1, branches: 1, promptTokens: prompt.length, newTokens: o.newTokens };
  const generator = await Generator.make(device, lm, { ...shape, rules: fixedRules(new Uint8Array(config.vocabSize).fill(1)), chunk: 256 });
  status(`${o.dtype}: prefill of ${prompt.length} tokens`);
  const ids: number[] = [];
  const times: number[] = [performance.now()];
  for await (const steps of generator.stream([prompt], { temperature: 0, seed: 0 })) {
    ids.push(...steps.ids);
    for (const _ of steps.ids) times.push(performance.now());
    status(`${o.dtype}: ${ids.length} of ${o.newTokens} tokens`);
  }
  const tokenSeconds = (times[times.length - 1] - times[1]) / 1000 / Math.max(1, ids.length - 1);
  const prefillSeconds = (times[1] - times[0]) / 1000 - tokenSeconds;
  const read = weightBytes({ ...config, tieWordEmbeddings: true }, { dtype: o.dtype, groupSize: o.groupSize ?? defaultGroupSize });
  return {
    dtype: o.dtype,
    loadSeconds,
    hostPeak,
    processPeak: process.resourceUsage().maxRSS * 1024,
    device: device.memory() as Record<string, number>,
    promptTokens: prompt.length,
    prefillSeconds,
    tokenSeconds,
    ids,
    prefillShare: flops(config, 1, prompt.length - 1, 0) / prefillSeconds / 1e9 / ceiling,
    tokenShare: read / tokenSeconds / 1e9 / copy,
  };
}

interface Flags {
  layers: number;
  dtypes: string;
  groupSize: number;
  pictureTokens: number;
  newTokens: number;
  folder?: string;
  keep?: true;
  measure?: string;
}

const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

async function main(f: Flags): Promise<void> {
  if (f.measure) {
    const { groupSize, pictureTokens, newTokens } = f;
    const result = await measureScale(f.folder!, { dtype: f.measure as StoredType, groupSize, pictureTokens, newTokens });
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const dtypes = f.dtypes.split(",");
  const unknown = dtypes.find((d) => !(storedTypes as readonly string[]).includes(d));
  if (unknown) throw new WorldlineError(`--dtypes: ${unknown} is not known; give some of ${storedTypes.join(",")}`);
  const made = f.folder === undefined;
  const parent = made ? await mkdtemp(join(tmpdir(), "worldline-scale-")) : f.folder!;
  const folder = join(parent, `chameleon-7b-shape-${f.layers}`);
  try {
    if (await stat(join(folder, "config.json")).catch(() => undefined)) say(`${folder} is there already`);
    else {
      const begin = performance.now();
      await writeShaped(folder, {
        layers: f.layers,
        onBytes: (now, all) => status(`writing ${(now / 1e9).toFixed(1)} of ${(all / 1e9).toFixed(1)} GB`),
      });
      say(`${folder}: ${gib(shapedBytes(f.layers))} written in ${duration((performance.now() - begin) / 1000)}`);
    }
    for (const dtype of dtypes) report(await inOwnProcess(folder, dtype, f), f.layers);
  } finally {
    if (!f.keep) await rm(made ? parent : folder, { recursive: true, force: true });
  }
}

/** A type in a process of its own, so that its memory is its own. */
function inOwnProcess(folder: string, dtype: string, f: Flags): Promise<ScaleResult> {
  const flags = { measure: dtype, folder, "group-size": f.groupSize, "picture-tokens": f.pictureTokens, "new-tokens": f.newTokens };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn(process.execPath, [...process.execArgv, fileURLToPath(import.meta.url), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let out = "";
  child.stdout.on("data", (data: Buffer) => void (out += data.toString()));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      if (code === 0) resolve(JSON.parse(out) as ScaleResult);
      else reject(new WorldlineError(`${dtype}: the process ended with ${signal ?? code}; was there too little memory?`));
    });
  });
}

function report(r: ScaleResult, layers: number): void {
  const kinds = Object.entries(r.device).filter(([, bytes]) => bytes > 2 ** 20);
  console.log(
    [
      `${r.dtype}, ${layers} layers:`,
      `  load      ${r.loadSeconds.toFixed(1)} s, ${(shapedBytes(layers) / 2 ** 30 / r.loadSeconds).toFixed(2)} GiB/s of file; host peak ${(r.hostPeak / 2 ** 20).toFixed(0)} MiB beyond the device's (process ${gib(r.processPeak)})`,
      `  device    ${kinds.map(([kind, bytes]) => `${kind} ${gib(bytes)}`).join(", ")}`,
      `  prefill   ${r.promptTokens} tokens in ${r.prefillSeconds.toFixed(1)} s, ${(r.promptTokens / r.prefillSeconds).toFixed(1)} a second, ${(100 * r.prefillShare).toFixed(0)}% of the matmul ceiling`,
      `  decode    ${r.tokenSeconds.toFixed(2)} s a token, weights read at ${(100 * r.tokenShare).toFixed(0)}% of the copy ceiling; ids ${r.ids.join(" ")}`,
    ].join("\n"),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const program = new Command("scale")
    .option("--layers <n>", "layers of the model; the real one has 32", count(1, 64), 2)
    .option("--dtypes <list>", "types to load it as", storedTypes.join(","))
    .option("--group-size <n>", "values that share a scale", count(8, 65536), defaultGroupSize)
    .option("--picture-tokens <n>", "codes of the picture in the prompt", count(1, 4000), 1024)
    .option("--new-tokens <n>", "tokens to decode", count(2, 4000), 8)
    .option("--folder <path>", "where to write the checkpoint (default: the system's temporary folder)")
    .option("--keep", "do not delete the checkpoint afterwards")
    .option("--measure <type>", "(used by the script itself)")
    .action(main);
  try {
    await program.parseAsync();
  } catch (cause) {
    if (!(cause instanceof WorldlineError)) throw cause;
    say(cause.message);
    process.exitCode = 1;
  }
  process.exit();
}
