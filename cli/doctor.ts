// `worldline doctor`: which WebGPU adapter runs here, what it can do, what was tried, and the one command that mends what is wrong.
// Exit code 0 if an adapter opens and runs a small shader with the right result, else 1.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { type Command, Option } from "commander";
import type { AdapterChoice, Attempt } from "../engine/host.ts";
import { isSoftware, NoAdapterError } from "../engine/host.ts";
import { openGPU } from "../engine/host_node.ts";
import { adapterWorks, proveAdapter } from "../setup/adapter.ts";
import { installDriver } from "../setup/driver.ts";

const LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupsPerDimension",
] as const;

/** What doctor finds out; printed as it stands by --json. `remedy` is null when nothing is wrong. */
export interface Diagnosis {
  ok: boolean;
  adapter: null | {
    type: "hardware" | "software";
    vendor: string;
    architecture: string;
    driver: string;
    subgroupSizes: [number, number];
    limits: Record<string, number>;
    features: string[];
  };
  tried: Attempt[];
  problem: string | null;
  hint: string | null;
  remedy: string | null;
  ffmpeg: string | null;
  node: string;
}

/** Opens an adapter of the wanted kind, proves it with a small shader and describes it. Never throws for a missing adapter. */
export async function diagnose(wanted: AdapterChoice): Promise<Diagnosis> {
  const base = { ffmpeg: findFfmpeg(), node: process.version };
  try {
    const { adapter, tried } = await openGPU({ adapter: wanted, explain: true });
    const { info } = adapter;
    const description = {
      type: isSoftware(info) ? ("software" as const) : ("hardware" as const),
      vendor: info.vendor,
      architecture: info.architecture,
      driver: info.description || info.device,
      subgroupSizes: [info.subgroupMinSize, info.subgroupMaxSize] as [number, number],
      limits: Object.fromEntries(LIMITS.map((name) => [name, adapter.limits[name]])),
      features: [...adapter.features].sort(),
    };
    const problem = await proveAdapter(adapter);
    const hint = description.type === "software" ? unusedCard() : null;
    return { ok: !problem, adapter: description, tried, problem, hint, remedy: problem && remedyFor(wanted), ...base };
  } catch (error) {
    if (!(error instanceof NoAdapterError)) throw error;
    return {
      ok: false,
      adapter: null,
      tried: error.tried,
      problem: "no WebGPU adapter",
      hint: unusedCard(),
      remedy: remedyFor(wanted),
      ...base,
    };
  }
}

/** The one command that mends a missing adapter. */
function remedyFor(wanted: AdapterChoice): string {
  if (wanted === "hardware") return "install the graphics card's Vulkan driver, or use --adapter software";
  const more = wanted === "software" ? " --adapter software" : "";
  return `${import.meta.url.includes("/node_modules/") ? "npx worldline doctor --install" : "npm run doctor -- --install"}${more}`;
}

/** A sentence if the machine has a graphics card that no working Vulkan driver serves, else null. */
function unusedCard(): string | null {
  if (existsSync("/dev/nvidia0") || existsSync("/dev/nvidiactl")) {
    return "An NVIDIA card is here, but its Vulkan driver is not: install the driver's Vulkan part (in containers set NVIDIA_DRIVER_CAPABILITIES=all) and libvulkan1.";
  }
  if (existsSync("/dev/dri/renderD128"))
    return "A graphics card is here (/dev/dri/renderD128), but no Vulkan driver serves it: install its driver, or check that you may open the device.";
  return null;
}

function findFfmpeg(): string | null {
  const said = spawnSync(process.env.FFMPEG_PATH || "ffmpeg", ["-version"], { encoding: "utf8", timeout: 5_000 });
  return said.status === 0 ? said.stdout.split("\n")[0] : null;
}

function amount(name: string, value: number): string {
  if (!/Size$/.test(name)) return String(value);
  return value >= 2 ** 30
    ? `${+(value / 2 ** 30).toFixed(2)} GiB`
    : value >= 2 ** 20
      ? `${+(value / 2 ** 20).toFixed(2)} MiB`
      : `${value / 1024} KiB`;
}

function report(d: Diagnosis): string {
  const lines: string[] = [];
  const row = (name: string, value: string) => lines.push(`${name.padEnd(14)} ${value}`);
  if (d.adapter) {
    row("adapter", d.adapter.driver);
    row("type", d.adapter.type === "software" ? "software (runs on the CPU)" : "hardware");
    row("vendor", [d.adapter.vendor, d.adapter.architecture].filter((part) => part).join(", "));
    row(
      "subgroups",
      d.adapter.subgroupSizes[0] === d.adapter.subgroupSizes[1]
        ? `${d.adapter.subgroupSizes[0]} lanes`
        : `${d.adapter.subgroupSizes.join(" to ")} lanes`,
    );
    row(
      "limits",
      Object.entries(d.adapter.limits)
        .map(([name, value]) => `${name} ${amount(name, value)}`)
        .join("\n" + " ".repeat(15)),
    );
    const wanted = ["shader-f16", "subgroups", "timestamp-query"];
    row("features", wanted.map((name) => `${name} ${d.adapter?.features.includes(name) ? "yes" : "no"}`).join(", "));
    row("also", d.adapter.features.filter((name) => !wanted.includes(name)).join(" "));
  }
  for (const t of d.tried) row("tried", `${t.what}: ${t.result} (${t.detail})`);
  row("ffmpeg", d.ffmpeg ?? "not found; only reading videos needs it (set FFMPEG_PATH or install ffmpeg)");
  row("node", d.node);
  row("result", d.ok ? "an adapter works: it ran a small shader and the numbers are right" : `${d.problem}`);
  if (d.hint) row("hint", d.hint);
  if (d.remedy) row("to mend it", d.remedy);
  return lines.join("\n");
}

interface DoctorOptions {
  install?: boolean;
  json?: boolean;
  adapter: AdapterChoice;
}

async function doctor(options: DoctorOptions): Promise<void> {
  if (options.install) {
    const say = (line: string) => void process.stderr.write(`${line}\n`);
    // What can be installed is a software driver, for whoever asks for one beside a card, too.
    const works = () => adapterWorks(options.adapter === "software" ? "software" : "auto");
    if (works()) say("an adapter works already; nothing to install.");
    else await installDriver(say, works);
  }
  const diagnosis = await diagnose(options.adapter);
  process.stdout.write((options.json ? JSON.stringify(diagnosis, null, 2) : report(diagnosis)) + "\n");
  if (!diagnosis.ok) process.exitCode = 1;
}

/** Adds the command to the program. */
export function register(program: Command): void {
  program
    .command("doctor")
    .description("show the WebGPU adapter, what it can do, and how to mend what is missing")
    .option("--install", "install a software driver if no adapter works")
    .option("--json", "print the diagnosis as JSON")
    .addOption(new Option("--adapter <kind>", "which adapter to ask for").choices(["auto", "hardware", "software"]).default("auto"))
    .action(async (options: DoctorOptions) => {
      try {
        await doctor(options);
      } catch (error) {
        process.stderr.write(`doctor: ${(error as Error).message}\n`);
        process.exitCode = 1;
      }
    });
}
