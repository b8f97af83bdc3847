// Runs a command with the engine's recorder on and shows where its time went: by kernel, by plan, on the host, and in gaps.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import type { Recording } from "../engine/recorder.ts";
import { commandLine } from "./machine.ts";
import { digits, duration } from "./report.ts";

/** Runs `node ...` as it stands and anything else as a worldline command, with its own output, and returns what was recorded. */
export async function profileCommand(words: readonly string[], every: number): Promise<{ recording: Recording; status: number }> {
  if (words.length === 0)
    throw new WorldlineError("bench profile: give the command behind --, as in `worldline bench profile -- train cdm ...`");
  const folder = mkdtempSync(join(tmpdir(), "worldline-profile-"));
  const file = join(folder, "profile.json");
  const args = words[0] === "node" ? words.slice(1) : commandLine(...words);
  try {
    const status = await new Promise<number>((done, failed) => {
      const env = { ...process.env, WORLDLINE_PROFILE: file, WORLDLINE_PROFILE_EVERY: `${every}` };
      const child = spawn(process.execPath, args, { env, stdio: ["inherit", "inherit", "inherit"] });
      child.on("error", failed);
      child.on("exit", (code) => done(code ?? 1));
    });
    if (!existsSync(file))
      throw new WorldlineError(
        `bench profile: \`${words.join(" ")}\` ran nothing on a device (exit code ${status}); is it a command that computes?`,
      );
    return { recording: JSON.parse(readFileSync(file, "utf8")) as Recording, status };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A recording as lines: the dearest kernels first. */
export function recordingLines(r: Recording): string[] {
  const kernels = r.kernels
    .map((k) => ({ ...k, mean: k.timed ? k.time / k.timed : 0 }))
    .map((k) => ({ ...k, total: k.mean * k.count }))
    .sort((a, b) => b.total - a.total);
  const sum = kernels.reduce((a, k) => a + k.total, 0);
  const untimed = kernels.filter((k) => k.timed === 0);
  const rows = kernels
    .filter((k) => k.timed > 0)
    .map((k) =>
      [
        k.key
          .replace(/,?\w+=f32/g, "")
          .replace("{}", "")
          .padEnd(64),
        `${k.count}`.padStart(8),
        duration(k.total).padStart(9),
        duration(k.mean).padStart(9),
        `${((100 * k.total) / sum).toFixed(1)}%`.padStart(6),
        digits(k.bytes / k.time / 1000).padStart(7),
      ].join(" "),
    );
  const { detailed: d } = r;
  const share = (part: number, whole: number) => `${whole > 0 ? ((100 * part) / whole).toFixed(1) : "0"}%`;
  return [
    `${"kernel".padEnd(64)} launches     total      mean  share    GB/s`,
    ...rows,
    ...(untimed.length
      ? [
          `not timed one by one (their plans ran once only or have more than 2000 launches, or the adapter has no timestamps): ${untimed.length} kernels, ${untimed.reduce((a, k) => a + k.count, 0)} launches`,
        ]
      : []),
    "",
    ...r.plans.map((p) => `${p.name}: ${p.runs} runs${p.mean ? ` of ${duration(p.mean)}` : ""}`),
    "",
    `${r.runs} runs, ${r.launches} launches; from the first submit to the end ${duration(r.wall)}`,
    `GPU: plans ran ${duration(r.busy)} of ${duration(r.span)} (${share(r.busy, r.span)}), idle between plans ${duration(r.span - r.busy)}${d.runs ? `; between the launches of a run, timed one by one, ${share(d.span - d.sum, d.span)}` : ""}`,
    `host: ${duration(r.host / Math.max(1, r.hostLaunches))} per launch to encode and submit, ${share(r.host, r.wall)} of the time`,
    "GB/s counts every bound tensor once. Kernel totals are the mean of the launches that were timed times all launches.",
  ];
}
