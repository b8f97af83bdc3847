// worldline bench: the kernel lab. Without a verb it times kernels; `check`, `source`, `compare`, `new`, `watch`, `tune`, `profile`, `model` and
// `peers` are its verbs. A kernel is named as kernel[:variant[:case]], as in `worldline bench matmul:tile`.
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Command, Option } from "commander";
import { comparable, judge, reruns } from "../bench/baseline.ts";
import { measureCeilings } from "../bench/ceilings.ts";
import { runCheck } from "../bench/check.ts";
import { comparisonLines } from "../bench/compare.ts";
import { coldBytes, load, processorTime, root } from "../bench/machine.ts";
import { type Cache, defaults, measureCheck, type Options, type Row } from "../bench/measure.ts";
import { charts, htmlPage, svgChart } from "../bench/plots.ts";
import { cells, columns, header, headerLines, line, markdown, parseReport, type Report } from "../bench/report.ts";
import { commitHere } from "../bench/rerun.ts";
import { choiceOf } from "../bench/source.ts";
import { Timer } from "../bench/timer.ts";
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { registerModels } from "./bench_models.ts";
import { checkReport, find, needSoftware, wantedOf, withKernels } from "./bench_shared.ts";
import { registerMore } from "./bench_verbs.ts";
import { count, duration, number, say, status } from "./terminal.ts";
import { versions } from "./versions.ts";

interface RunFlags {
  kernels?: string[];
  json?: string | true;
  markdown?: string | true;
  html?: string;
  svg?: string;
  cache: Cache | "both";
  cacheBytes?: number;
  seconds: number;
  spread: number;
  seed: number;
  batches?: boolean;
  cpu?: boolean;
  baseline?: string;
  reruns: number;
}

async function run(filter: string | undefined, flags: RunFlags): Promise<void> {
  const wanted = wantedOf(filter);
  const found = await find(wanted, flags.kernels);
  const baseline = flags.baseline === undefined ? undefined : readBaseline(flags.baseline);
  for (const path of [flags.json, flags.markdown, flags.html, flags.svg]) if (typeof path === "string") await checkReport(path);
  const device = await openDevice();
  if (flags.cpu) needSoftware(device);
  const timer = new Timer(device, flags.cpu ? "processor" : flags.batches ? "batches" : "timestamps", processorTime);
  const before = load();
  const toStdout = flags.json === true || flags.markdown === true;
  const print = (text: string) => void (toStdout ? say(text) : process.stdout.write(`${text}\n`));
  status("measuring the ceilings");
  const ceilings = await measureCeilings(device, timer);
  const options: Options = {
    ...defaults,
    cache: flags.cache === "warm" ? "warm" : "cold",
    cacheBytes: flags.cacheBytes ?? coldBytes(device.capabilities.software),
    seconds: flags.seconds,
    spread: flags.spread,
    seed: flags.seed,
  };
  const head = header(device, timer.kind, ceilings, options, { worldline: versions().worldline, load: before, commit: commitHere() });
  if (baseline) comparable(baseline, head, flags.baseline!);
  print(headerLines(head).join("\n"));
  print(`\n${line(columns)}`);
  const rows: Row[] = [];
  const began = performance.now();
  for (const [i, { name, check }] of found.entries()) {
    status(`${name} (${i + 1} of ${found.length}, ${duration((performance.now() - began) / 1000)})`);
    for (const cache of flags.cache === "both" ? (["cold", "warm"] as const) : [options.cache]) {
      for await (const some of measureCheck(device, timer, check, ceilings, { ...options, cache }, wanted)) {
        rows.push(...some);
        for (const row of some) print(line(cells(row)));
      }
    }
  }
  if (rows.length === 0)
    throw new WorldlineError(`nothing to time: no case of ${filter ?? "these kernels"} is marked \`bench\` for this adapter`);
  const report: Report = { ...head, rows };
  print("* the variant that the engine takes");
  write(report, flags);
  if (baseline) {
    const names = new Set(found.map((f) => f.name));
    const left = (r: Row) =>
      !names.has(r.kernel) ||
      (wanted.variant !== undefined && r.variant !== wanted.variant) ||
      (wanted.case !== undefined && r.case !== wanted.case) ||
      (flags.cache !== "both" && r.cache !== flags.cache);
    compareWith(baseline, report, left, flags, print);
  }
  const wrong = rows.filter((r) => typeof r.error === "string");
  if (wrong.length)
    throw new WorldlineError(
      `${wrong.length} of ${rows.length} rows are wrong, the first: ${wrong[0].kernel}:${wrong[0].variant} ${wrong[0].case}: ${wrong[0].error}`,
    );
}

function readBaseline(file: string): Report {
  if (!existsSync(file) || !statSync(file).isFile())
    throw new WorldlineError(`--baseline ${file}: there is no such file; save one with \`worldline bench --json ${file}\``);
  return parseReport(readFileSync(file, "utf8"), `--baseline ${file}`);
}

/** Prints how this run stands to the baseline; exit code 1 where something is slower or wrong. */
function compareWith(baseline: Report, report: Report, left: (row: Row) => boolean, flags: RunFlags, print: (text: string) => void): void {
  const passed = [
    ["--seconds", flags.seconds],
    ["--seed", flags.seed],
    ["--cache", flags.cache],
    ["--spread", flags.spread],
  ].flatMap(([name, value]) => [`${name}`, `${value}`]);
  const clock = [flags.cpu ? "--cpu" : "", flags.batches ? "--batches" : ""].filter(Boolean);
  const bytes = flags.cacheBytes ? ["--cache-bytes", `${flags.cacheBytes}`] : [];
  // Kernels outside the checkout have no commit that could be run again.
  const again =
    flags.reruns && !flags.kernels && existsSync(join(root, "cli/bench.ts"))
      ? reruns(flags.reruns, [...passed, ...clock, ...bytes], status)
      : undefined;
  const { comparison, untested } = judge(baseline, report, again, left);
  print(`\nagainst ${flags.baseline}, ${baseline.date}${baseline.commit ? `, commit ${baseline.commit.slice(0, 10)}` : ""}`);
  for (const l of comparisonLines(comparison)) print(l);
  if (untested) print(untested);
  if (comparison.worse) process.exitCode = 1;
}

/** Writes the report as the flags ask. */
function write(report: Report, flags: Pick<RunFlags, "json" | "markdown" | "html" | "svg">): void {
  const put = (target: string | true, text: string) =>
    target === true ? process.stdout.write(`${text}\n`) : writeFileSync(target, `${text}\n`);
  if (flags.json) put(flags.json, JSON.stringify(report));
  if (flags.markdown) put(flags.markdown, markdown(report));
  if (flags.html) writeFileSync(flags.html, htmlPage(report));
  if (flags.svg) writeFileSync(flags.svg, charts(report).map(svgChart)[0] ?? "");
}

async function check(filter: string | undefined, flags: { kernels?: string[]; timed?: boolean }): Promise<void> {
  const wanted = wantedOf(filter);
  const found = await find(wanted, flags.kernels);
  const device = await openDevice();
  process.stdout.write(`${device.describe()}\n`);
  let [passed, failed] = [0, 0];
  for (const [i, one] of found.entries()) {
    status(`${one.name} (${i + 1} of ${found.length})`);
    const v = await runCheck(device, one, { ...wanted, timed: flags.timed, kernels: flags.kernels });
    passed += v.passed;
    failed += v.failures.length;
    if (v.passed + v.failures.length === 0 && !v.skipped.length) continue;
    const skipped = v.skipped.length && !wanted.variant ? `, not used on this adapter: ${v.skipped.join(", ")}` : "";
    process.stdout.write(
      `${v.failures.length ? "WRONG" : "right"} ${v.name.padEnd(24)} ${String(v.passed).padStart(4)} runs, worst error ${v.worst.toExponential(1)}${skipped}\n`,
    );
    for (const failure of v.failures) process.stdout.write(`      ${failure}\n`);
  }
  process.stdout.write(`${passed} passed, ${failed} failed\n`);
  if (passed + failed === 0) throw new WorldlineError(`no case is called "${filter}"; \`worldline bench check\` runs them all`);
  if (failed) process.exitCode = 1;
}

async function source(filter: string, flags: { kernels?: string[]; backend?: boolean }): Promise<void> {
  const wanted = wantedOf(filter);
  const found = await find(wanted, flags.kernels);
  // Dawn prints what it hands to the driver by itself when the toggle is on.
  const device = await openDevice(flags.backend ? { toggles: ["dump_shaders", "disable_symbol_renaming"] } : {});
  const choice = choiceOf(device, found, wanted);
  if (flags.backend) await device.compile(choice);
  else process.stdout.write(await describedText(device, choice));
}

async function describedText(device: Device, choice: ReturnType<typeof choiceOf>): Promise<string> {
  const consts = Object.entries(choice.consts).map(([k, v]) => `${k} = ${v}`);
  const code = await device.shaderText(choice);
  return `// ${choice.key}, grid ${choice.grid.join(" x ")}${consts.length ? `; overrides ${consts.join(", ")}` : ""}\n${code}\n`;
}

/** Adds the command to the program. */
export function register(program: Command): void {
  const bench = withKernels(
    program
      .command("bench")
      .description("the kernel lab: times every kernel, variant and case beside its error and the adapter's ceilings")
      .argument("[filter]", "kernel[:variant[:case]]; the beginning of a kernel's name is enough"),
  )
    .option("--json [file]", "write the report as JSON, to standard output without a file")
    .option("--markdown [file]", "the same as markdown")
    .option("--html <file>", "write a page with roofline, speed over size and the table")
    .option("--svg <file>", "write the first plot alone")
    .addOption(
      new Option("--cache <mode>", "rotate buffers past the last-level cache, or not").choices(["cold", "warm", "both"]).default("cold"),
    )
    .option("--cache-bytes <bytes>", "bytes between two uses of a buffer when cold", number(1, 2 ** 32))
    .option("--seconds <s>", "time per variant and case at most", number(0.001, 600), defaults.seconds)
    .option("--spread <share>", "stop when the median's 95% interval is this narrow", number(0, 1), defaults.spread)
    .option("--seed <n>", "seed of the data", number(0, 2 ** 32 - 1, true), defaults.seed)
    .option("--batches", "batched launches by wall time although there are timestamps")
    .option("--cpu", "processor time instead of the clock: for a software adapter on a busy machine")
    .option("--baseline <file>", "compare with a report of --json; exit code 1 where something is slower or wrong")
    .option(
      "--reruns <n>",
      "with --baseline: runs of its commit and of this checkout, in turns, where rows seem to differ",
      count(0, 100),
      5,
    )
    .action(run);
  withKernels(
    bench
      .command("check")
      .description("numbers and guard words only: every case against its f64 reference")
      .argument("[filter]", "kernel[:variant[:case]]"),
  )
    .option("--timed", "the sizes that `bench` times as well, minutes more")
    .action(check);
  withKernels(
    bench.command("source").description("prints a variant's WGSL as compiled").argument("<kernel:variant>", "kernel[:variant[:case]]"),
  )
    .option("--backend", "what Dawn hands to the driver instead (SPIR-V, HLSL or MSL)")
    .action(source);
  // Flags behind a verb belong to the verb, although the bare command has some of the same name.
  bench.enablePositionalOptions();
  registerMore(bench);
  registerModels(bench);
}
