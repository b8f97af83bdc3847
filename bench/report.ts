// A run of the lab as data, and as text: a table for a terminal, markdown for a page, JSON for programs.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import type { Ceilings } from "./ceilings.ts";
import type { Options, Row } from "./measure.ts";
import type { TimerKind } from "./timer.ts";

export interface Report {
  readonly format: 1;
  readonly date: string;
  readonly worldline: string;
  readonly adapter: string;
  readonly software: boolean;
  readonly lanes: number;
  readonly features: readonly string[];
  readonly timer: TimerKind;
  /** Load average of the machine when the run began, per core; absent where it is not known. */
  readonly load?: number;
  /** The commit that was measured, where the checkout had no change of its own. */
  readonly commit?: string;
  readonly options: Options;
  readonly ceilings: Ceilings;
  readonly rows: readonly Row[];
}

/** Everything about the run but its rows. */
export function header(
  device: Device,
  timer: TimerKind,
  ceilings: Ceilings,
  options: Options,
  versions: { worldline: string; load?: number; commit?: string },
): Omit<Report, "rows"> {
  const { capabilities } = device;
  return {
    format: 1,
    date: new Date().toISOString(),
    ...versions,
    adapter: device.adapter.info.description || device.adapter.info.device || device.adapter.info.vendor,
    software: capabilities.software,
    lanes: capabilities.lanes,
    features: [...capabilities.features].filter((f) => ["shader-f16", "subgroups", "timestamp-query"].includes(f)),
    timer,
    options,
    ceilings,
  };
}

/** Reads a report that `--json` wrote. */
export function parseReport(text: string, name: string): Report {
  let value: Partial<Report> | undefined;
  try {
    value = JSON.parse(text) as Partial<Report>;
  } catch {}
  if (value?.format !== 1 || !Array.isArray(value.rows) || !value.ceilings)
    throw new WorldlineError(`${name} is not a report of \`worldline bench --json\`; write one with \`worldline bench --json FILE\``);
  return value as Report;
}

/** Three significant digits, without an exponent. */
export const digits = (v: number): string => (v >= 100 ? v.toFixed(0) : v >= 10 ? v.toFixed(1) : v >= 1 ? v.toFixed(2) : v.toPrecision(2));

/** Microseconds with a unit. */
export function duration(us: number): string {
  return us >= 1e6 ? `${digits(us / 1e6)} s` : us >= 1e3 ? `${digits(us / 1e3)} ms` : `${digits(us)} us`;
}

const timerNames = {
  timestamps: "GPU timestamps",
  batches: "batched launches",
  processor: "processor time of all threads (two that run for 1 ms count 2 ms, in the ceilings too)",
};

/** The lines above a table. */
export function headerLines(r: Omit<Report, "rows">): string[] {
  const { ceilings: c } = r;
  const arithmetic = Object.entries(c.arithmetic).map(([type, v]) => `${type} ${digits(v)} GFLOP/s`);
  const load =
    r.load === undefined
      ? ""
      : `, load ${digits(r.load)} a core${r.load > 0.5 && r.timer !== "processor" ? ": the machine is busy, compare ratios only (on a software adapter, try --cpu)" : ""}`;
  return [
    `${r.adapter}${r.software ? " (software adapter: compare with itself only)" : ""}, ${r.lanes || "varying"} lanes, ${r.features.join(" ") || "no optional features"}`,
    `${timerNames[r.timer]}, ${r.options.cache} cache${r.options.cache === "cold" ? ` (${Math.round(r.options.cacheBytes / 2 ** 20)} MiB between uses)` : ""}, seed ${r.options.seed}, worldline ${r.worldline}, ${r.date}${load}`,
    `ceilings now: copy ${digits(c.copy)} GB/s, multiply-add ${arithmetic.join(", ")}; launch ${duration(c.launch)}, submit ${duration(c.submit)}, readback ${duration(c.readback)}`,
  ];
}

export const columns = ["kernel", "case", "min", "median", "p95", "+-", "GB/s", "GFLOP/s", "share", "first", "error"] as const;

/** The cells of a row, in the order of `columns`. */
export function cells(row: Row): string[] {
  const consts = row.consts
    ? ` {${Object.entries(row.consts)
        .map(([k, v]) => `${k}=${v}`)
        .join(",")}}`
    : "";
  const name = `${row.kernel}:${row.variant}${consts}${row.types ? ` ${row.types}` : ""}${row.cache === "warm" ? " warm" : ""}${row.chosen ? " *" : ""}`;
  if (row.median === undefined) return [name, row.case, "", "", "", "", "", "", "", "", `${row.error}`];
  const share =
    row.share === undefined
      ? ""
      : `${Math.round(row.share * 100)}% ${row.bound === "arithmetic" ? "mul" : row.bound === "memory" ? "mem" : "launch"}`;
  return [
    name,
    row.case,
    duration(row.min!),
    duration(row.median),
    duration(row.p95!),
    Number.isFinite(row.spread) ? `${Math.round(row.spread! * 100)}%` : "",
    row.gbs ? digits(row.gbs) : "",
    row.gflops ? digits(row.gflops) : "",
    share,
    row.first ? duration(row.first) : "",
    typeof row.error === "number" ? row.error.toExponential(1) : row.error,
  ];
}

const widths = [40, 44, 8, 8, 8, 4, 6, 7, 8, 8, 8];

/** One line of a terminal's table; long names push the rest to the right. */
export const line = (texts: readonly string[]): string =>
  texts
    .map((t, i) => (i < 2 ? t.padEnd(widths[i]) : t.padStart(widths[i])))
    .join(" ")
    .trimEnd();

/** The report as markdown. */
export function markdown(r: Report): string {
  const head = headerLines(r).map((l) => `- ${l}`);
  return [...head, "", ...markdownTable(columns, r.rows.map(cells)), "", "`*` marks the variant that the engine takes."].join("\n");
}

/** A markdown table whose columns after the first two are right-aligned. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const row = (texts: readonly string[]) => `| ${texts.map((t) => t.replaceAll("|", "\\|")).join(" | ")} |`;
  return [row(head), row(head.map((_, i) => (i < 2 ? "---" : "--:"))), ...rows.map(row)];
}
