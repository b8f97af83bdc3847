// The whole check suite under other lane counts and without optional features: each configuration in a process of its own, because the
// software driver reads its vector width when it loads.
import { spawnSync } from "node:child_process";
import { commandLine } from "./machine.ts";

export interface Setting {
  readonly name: string;
  readonly env: Readonly<Record<string, string>>;
  /** Lanes that the adapter must then report; a driver that ignores the wish is said so. */
  readonly lanes?: number;
}

/** Subgroups of 4, 8 and 16 lanes on Mesa's software driver, and the adapter as it is without subgroups, without f16, and without both. */
export const settings: readonly Setting[] = [
  ...[4, 8, 16].map((lanes) => ({ name: `${lanes} lanes`, env: { LP_NATIVE_VECTOR_WIDTH: `${lanes * 32}` }, lanes })),
  { name: "without subgroups", env: { WORLDLINE_WITHOUT: "subgroups" } },
  { name: "without f16", env: { WORLDLINE_WITHOUT: "shader-f16" } },
  { name: "without both", env: { WORLDLINE_WITHOUT: "subgroups,shader-f16" } },
];

export interface Outcome {
  readonly setting: Setting;
  readonly passed: number;
  readonly failed: number;
  /** Lines of what went wrong. */
  readonly failures: readonly string[];
}

/** Runs `bench check` under one setting. */
export function checkUnder(setting: Setting, args: readonly string[]): Outcome {
  const done = spawnSync(process.execPath, commandLine("bench", "check", ...args), {
    env: { ...process.env, ...setting.env },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 1 << 26,
  });
  const lines = done.stdout.split("\n");
  const total = /^(\d+) passed, (\d+) failed$/m.exec(done.stdout);
  const lanes = /subgroups of (\d+)/.exec(lines[0] ?? "")?.[1];
  const failures = lines.filter((l) => /^ {6}/.test(l)).map((l) => l.trim());
  if (!total) failures.push(`it ended early: ${done.stderr.trim().split("\n").pop() ?? `exit code ${done.status}`}`);
  else if (setting.lanes && lanes !== `${setting.lanes}`)
    failures.push(`the adapter has ${lanes ?? "no"} lanes whatever LP_NATIVE_VECTOR_WIDTH says: this setting was not tried`);
  return { setting, passed: Number(total?.[1] ?? 0), failed: Number(total?.[2] ?? 0) + (total ? 0 : 1), failures };
}
