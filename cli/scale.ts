// worldline scale: the scale check. Writes a checkpoint in the shape of Chameleon-7B (bench/shaped.ts), loads it as each type in a process of its own,
// runs a prompt with one picture and decodes; prints load rate, peak host memory, device memory by kind, times and shares of what the adapter can do.
// Cost: with 2 layers 2.1 GB of disk; with all 32 layers 14 GB of disk, and 4.6 GB (int4) or 15 GB (bf16) of memory. docs/log.md has times.
import { spawn } from "node:child_process";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { measureScale, type ScaleResult } from "../bench/scale.ts";
import { shapedBytes, writeShaped } from "../bench/shaped.ts";
import { WorldlineError } from "../engine/errors.ts";
import { defaultGroupSize, type StoredType, storedTypes } from "../weights/stored.ts";
import { count, duration, interruption, say, status } from "./terminal.ts";

interface Flags {
  layers: number;
  dtypes: string;
  groupSize: number;
  pictureTokens: number;
  newTokens: number;
  folder?: string;
  keep?: true;
  measure?: StoredType;
}

/** Adds the command. */
export function register(program: Command): void {
  program
    .command("scale")
    .description("load and run a model of Chameleon-7B's size with random weights, in each type")
    .option("--layers <n>", "layers of the model; the real one has 32", count(1, 64), 2)
    .option("--dtypes <list>", "types to load it as", storedTypes.join(","))
    .option("--group-size <n>", "values that share a scale in int8 and int4", count(8, 65536), defaultGroupSize)
    .option("--picture-tokens <n>", "codes of the picture in the prompt", count(1, 4000), 1024)
    .option("--new-tokens <n>", "tokens to decode", count(2, 4000), 8)
    .option("--folder <path>", "where to write the checkpoint (default: the system's temporary folder)")
    .option("--keep", "do not delete the checkpoint afterwards")
    .addOption(new Option("--measure <type>", "measure this folder in this process").choices(storedTypes).hideHelp())
    .action(run);
}

const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(2)} GiB`;

async function run(f: Flags): Promise<void> {
  if (f.measure) {
    const { groupSize, pictureTokens, newTokens } = f;
    const result = await measureScale(f.folder!, { dtype: f.measure, groupSize, pictureTokens, newTokens, onStatus: status });
    process.stdout.write(`${JSON.stringify(result)}\n`);
    return;
  }
  const dtypes = f.dtypes.split(",");
  const unknown = dtypes.find((d) => !(storedTypes as readonly string[]).includes(d));
  if (unknown) throw new WorldlineError(`--dtypes: ${unknown} is not known; give some of ${storedTypes.join(",")}`);
  const signal = interruption();
  const made = f.folder === undefined;
  const parent = made ? await mkdtemp(join(tmpdir(), "worldline-scale-")) : f.folder!;
  const folder = join(parent, `chameleon-7b-shape-${f.layers}`);
  let written = false;
  try {
    if (await stat(join(folder, "config.json")).catch(() => undefined)) say(`${folder} is there already`);
    else {
      const begin = performance.now();
      written = true;
      const onBytes = (now: number, all: number) => {
        signal.throwIfAborted();
        status(`writing ${(now / 1e9).toFixed(1)} of ${(all / 1e9).toFixed(1)} GB`);
      };
      await writeShaped(folder, { layers: f.layers, onBytes });
      say(`${folder}: ${gib(shapedBytes(f.layers))} written in ${duration((performance.now() - begin) / 1000)}`);
    }
    for (const dtype of dtypes) {
      const result = await inOwnProcess(folder, dtype, f);
      signal.throwIfAborted();
      report(result, f.layers);
    }
  } finally {
    if (written && !f.keep) await rm(made ? parent : folder, { recursive: true, force: true });
  }
}

/** A type in a process of its own, so that its memory is its own. */
function inOwnProcess(folder: string, dtype: string, f: Flags): Promise<ScaleResult> {
  const flags = { measure: dtype, folder, "group-size": f.groupSize, "picture-tokens": f.pictureTokens, "new-tokens": f.newTokens };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1], "scale", ...args], {
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
