// The verbs of worldline bench that measure whole models and other engines: model, peers.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { measureCeilings } from "../bench/ceilings.ts";
import { load } from "../bench/machine.ts";
import { defaults } from "../bench/measure.ts";
import { type Growth, growthTable, measureGrowth, measureModel, modelHead, modelLines, modelSizes } from "../bench/model.ts";
import { type HostRow, hostCases, hostLine, hostManifest, hostRows } from "../bench/peers/host.ts";
import { bestRatio, engineNames, installPeers, type PeerResult, peerLines, runPeers } from "../bench/peers/peers.ts";
import { digits, header, headerLines } from "../bench/report.ts";
import { Timer } from "../bench/timer.ts";
import { WorldlineError } from "../engine/errors.ts";
import { userCache } from "../engine/host_node.ts";
import { openDevice } from "../engine/node.ts";
import { defaultGroupSize, type StoredAs, storedTypes } from "../weights/stored.ts";
import { checkReport } from "./bench_shared.ts";
import { count, number, say, status } from "./terminal.ts";
import { versions } from "./versions.ts";

const print = (text: string) => void process.stdout.write(`${text}\n`);

interface ModelFlags {
  as: StoredAs["dtype"];
  samples: number;
  seconds: number;
  growth?: boolean;
  json?: string;
}

async function model(name: string | undefined, flags: ModelFlags): Promise<void> {
  const sizes = modelSizes.filter((s) => (name ? s.name === name : s.name === "tabletop"));
  if (sizes.length === 0)
    throw new WorldlineError(`bench model: there is no size "${name}"; there are ${modelSizes.map((s) => s.name).join(", ")}`);
  if (!storedTypes.includes(flags.as))
    throw new WorldlineError(`bench model: --as ${flags.as} is not known; weights are stored as ${storedTypes.join(", ")}`);
  if (flags.json) await checkReport(flags.json);
  const device = await openDevice();
  const timer = new Timer(device);
  status("measuring the ceilings");
  const before = load();
  const ceilings = await measureCeilings(device, timer);
  const head = header(device, timer.kind, ceilings, defaults, { worldline: versions().worldline, load: before });
  for (const l of headerLines(head)) print(l);
  const o = { as: { dtype: flags.as, groupSize: defaultGroupSize }, samples: flags.samples, seconds: flags.seconds };
  if (flags.growth) {
    const all: Growth[] = [];
    for await (const g of measureGrowth(device, o, status)) all.push(g);
    for (const l of growthTable(all)) print(l);
    if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ ...head, growth: all })}\n`);
    return;
  }
  const all: object[] = [];
  for (const size of sizes) {
    print(`\n${size.name}: ${size.note}\n${modelHead}`);
    const { rows, memory } = await measureModel(device, size, ceilings, o, status);
    for (const l of modelLines(rows)) print(l);
    const kinds = Object.entries(memory).filter(([, bytes]) => bytes > 0);
    print(`memory: ${kinds.map(([kind, bytes]) => `${kind} ${(bytes / 2 ** 20).toFixed(1)} MiB`).join(", ")}`);
    all.push({ size: size.name, rows, memory });
  }
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ ...head, models: all })}\n`);
}

interface PeerFlags {
  engines?: string[];
  samples: number;
  seconds: number;
  folder?: string;
  json?: string;
}

/** Host-side rows, with packages in a folder of their own. */
async function hostPeers(flags: PeerFlags): Promise<void> {
  const folder = await installPeers(say, flags.folder ?? join(userCache(), "host-peers"), hostManifest, "about 100 MB");
  print(`load of the machine ${digits(load())} a core; ${new Date().toISOString()}; medians`);
  const all: HostRow[] = [];
  for (const c of await hostCases(folder)) {
    status(c.work);
    const rows = await hostRows(folder, c, Math.min(flags.seconds, 60) * 25);
    for (const r of rows) print(hostLine(r));
    all.push(...rows);
  }
  if (flags.json) writeFileSync(flags.json, `${JSON.stringify({ format: 1, load: load(), date: new Date().toISOString(), host: all })}\n`);
}

async function peers(filter: string | undefined, flags: PeerFlags): Promise<void> {
  if (flags.json) await checkReport(flags.json);
  if (filter === "host") return hostPeers(flags);
  const engines = ["worldline", ...(flags.engines ?? engineNames.filter((n) => n !== "worldline"))];
  const unknown = engines.find((n) => !engineNames.includes(n));
  if (unknown) throw new WorldlineError(`bench peers: there is no engine "${unknown}"; there are ${engineNames.join(", ")}`);
  const folder = await installPeers(say, flags.folder);
  print(
    `load of the machine ${digits(load())} a core${load() > 0.5 ? ": it is busy, and only ratios mean anything" : ""}; ${new Date().toISOString()}`,
  );
  const all: PeerResult[] = [];
  const ratios: string[] = [];
  for await (const [c, results] of runPeers(folder, { engines, filter, samples: flags.samples, seconds: flags.seconds }, status)) {
    for (const l of peerLines(c, results)) print(l);
    const best = bestRatio(results);
    if (best)
      ratios.push(
        `${c.name}: x${digits(best.ratio)} (best other WebGPU engine: ${best.engine}; by medians x${digits(best.medians)}, by processor time x${digits(best.cpu)}, by the shortest times x${digits(best.shortest)})`,
      );
    all.push(...results);
  }
  print(
    `\nworldline against the best other WebGPU engine that gives a right result, medians of the ratio in each round, above 1 is faster:\n${ratios.join("\n")}`,
  );
  if (flags.json)
    writeFileSync(flags.json, `${JSON.stringify({ format: 1, load: load(), date: new Date().toISOString(), results: all })}\n`);
}

/** Adds the verbs. */
export function registerModels(bench: Command): void {
  bench
    .command("model")
    .description("prefill, decode, training step, pictures, loading and memory of whole models, with roofline shares")
    .argument("[size]", modelSizes.map((s) => s.name).join(", "))
    .option("--as <type>", `how matrices are stored: ${storedTypes.join(", ")}`, "f32")
    .option("--samples <n>", "repetitions of each", count(2, 1000), 10)
    .option("--seconds <s>", "time for each at most", number(0.1, 3600), 10)
    .option("--growth", "instead: how cost grows with tokens, width and batch, with fitted exponents")
    .option("--json <file>", "write the numbers as JSON")
    .action(model);
  bench
    .command("peers")
    .description("worldline beside TensorFlow.js, ONNX Runtime, jax-js and gpu.js: same adapter, data and run, each checked against f64")
    .argument(
      "[case]",
      "part of a case's name, as in matmul or attention; `host` for tokenizer, safetensors and resampling beside npm packages",
    )
    .option("--engines <name...>", `the others: ${engineNames.slice(1).join(", ")}`)
    .option("--samples <n>", "samples of each engine and case", count(1, 1000), 15)
    .option("--seconds <s>", "time for each case at most", number(1, 3600), 60)
    .option("--folder <path>", "where the peers are or go; the user's cache unless given")
    .option("--json <file>", "write the numbers as JSON")
    .action(peers);
}
