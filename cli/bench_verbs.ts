// The verbs of worldline bench that do more than time or check: compare, new, watch, tune.
import type { Command } from "commander";
import { compare, comparisonLines } from "../bench/compare.ts";
import { checkUnder, settings } from "../bench/everywhere.ts";
import { processorTime } from "../bench/machine.ts";
import { defaults } from "../bench/measure.ts";
import { profileCommand, recordingLines } from "../bench/profile.ts";
import { sideOf, takeTurns } from "../bench/rerun.ts";
import { scaffold } from "../bench/scaffold.ts";
import { Timer } from "../bench/timer.ts";
import { explain, tuneKernel } from "../bench/tune.ts";
import { watch } from "../bench/watch.ts";
import { WorldlineError } from "../engine/errors.ts";
import { nodeHost } from "../engine/host_node.ts";
import { openDevice } from "../engine/node.ts";
import { type TunedKernel, Tuning, type TuningFile, tuningFileName } from "../engine/tuning.ts";
import { find, needSoftware, wantedOf, withKernels } from "./bench_shared.ts";
import { count, number, say, status } from "./terminal.ts";

interface CompareFlags {
  runs: number;
  threshold: number;
  filter?: string;
  seconds: number;
  cpu?: boolean;
  json?: boolean;
}

/** Compares two sides and sets the exit code: 1 where something is slower or wrong. */
export function compareSides(before: string, after: string, flags: CompareFlags): void {
  const args = [...(flags.filter ? [flags.filter] : []), "--seconds", `${flags.seconds}`, ...(flags.cpu ? ["--cpu"] : [])];
  const [a, b] = takeTurns(sideOf(before), sideOf(after), flags.runs, args, status);
  for (const what of ["adapter", "timer"] as const) {
    const kinds = [...new Set([...a, ...b].map((r) => r[what]))];
    if (kinds.length > 1)
      throw new WorldlineError(
        `bench compare: the runs are of more than one ${what} (${kinds.join(", ")}); compare runs of one${what === "timer" ? ", with or without --cpu" : ""}`,
      );
  }
  const result = compare(a, b, flags.threshold);
  process.stdout.write(flags.json ? `${JSON.stringify(result)}\n` : `${comparisonLines(result).join("\n")}\n`);
  if (result.worse) process.exitCode = 1;
}

async function tune(
  filter: string | undefined,
  flags: { kernels?: string[]; explain?: boolean; seconds: number; forget?: boolean; cpu?: boolean },
): Promise<void> {
  // What is measured is the engine's own choice against the others, so earlier choices must not stand in for it.
  process.env.WORLDLINE_TUNING = "off";
  const device = await openDevice();
  const without = (process.env.WORLDLINE_WITHOUT ?? "").split(",").filter(Boolean);
  const name = tuningFileName(device.adapter.info, without);
  const known = (await Tuning.load(nodeHost, name))?.file;
  const file: TuningFile = { format: 1, adapter: device.describe(), kernels: flags.forget ? {} : { ...known?.kernels } };
  if (flags.forget) await nodeHost.cache!.write(name, JSON.stringify(file));
  if (flags.explain || flags.forget) {
    const lines = explain(file, filter);
    process.stdout.write(`${file.adapter}\n${lines.join("\n") || "nothing is tuned on this adapter; `worldline bench tune` does it"}\n`);
    return;
  }
  const found = await find(wantedOf(filter), flags.kernels);
  if (flags.cpu) needSoftware(device);
  const timer = new Timer(device, flags.cpu ? "processor" : "timestamps", processorTime);
  for (const [i, one] of found.entries()) {
    if (!one.check.bench?.length) continue;
    status(`tuning ${one.name} (${i + 1} of ${found.length})`);
    const before: TunedKernel | undefined = file.kernels[one.name];
    const options = { ...defaults, cache: "warm" as const, seconds: flags.seconds };
    const tuned = await tuneKernel(device, timer, one.check, options, (kernelClass, choice) => {
      const lines = explain({ ...file, kernels: { [one.name]: { description: "", sources: {}, classes: { [kernelClass]: choice } } } });
      process.stdout.write(`${lines[0]} (of ${choice.trials.length}${refusedText(choice.trials)})\n`);
    });
    const same = before?.description === tuned.description;
    file.kernels[one.name] = { ...tuned, classes: { ...(same ? before.classes : {}), ...tuned.classes } };
    // Written after every kernel: an interrupted run keeps what it has found.
    await nodeHost.cache!.write(name, JSON.stringify(file));
  }
  say("the engine takes these choices from now on; `worldline bench tune --explain` says why, WORLDLINE_TUNING=off leaves them out");
}

const refusedText = (trials: readonly { refused?: string }[]) => {
  const refused = trials.filter((t) => t.refused).length;
  return refused ? `, ${refused} refused as wrong` : "";
};

function everywhere(filter: string | undefined, flags: { kernels?: string[] }): void {
  const args = [...(filter ? [filter] : []), ...(flags.kernels ? ["--kernels", ...flags.kernels] : [])];
  let bad = 0;
  for (const [i, setting] of settings.entries()) {
    status(`${setting.name} (${i + 1} of ${settings.length})`);
    const { passed, failed, failures } = checkUnder(setting, args);
    process.stdout.write(`${setting.name.padEnd(20)} ${passed} passed, ${failed} failed\n`);
    for (const failure of failures) process.stdout.write(`    ${failure}\n`);
    bad += failed;
  }
  if (bad) process.exitCode = 1;
}

/** Adds the verbs. */
export function registerMore(bench: Command): void {
  bench
    .command("compare")
    .description(
      "compares two reports, checkouts or git references; checkouts are run in turns. Exit code 1 where something is slower or wrong",
    )
    .argument("<before>", "report(s) of --json joined by commas, a checkout's folder, or a git reference")
    .argument("[after]", "the same; this checkout unless given", ".")
    .option("--filter <kernel>", "only these kernels, as in `worldline bench`")
    .option("--runs <n>", "runs of each checkout; four or more can be tested", count(1, 100), 5)
    .option("--threshold <share>", "smaller differences count as none", number(0, 10), 0.05)
    .option("--seconds <s>", "time per variant and case", number(0.001, 600), defaults.seconds)
    .option("--cpu", "processor time instead of the clock, as in `worldline bench`")
    .option("--json", "print the comparison as JSON")
    .action(compareSides);
  bench
    .command("new")
    .description("writes the files of a new kernel that passes its check")
    .argument("<name>", "as in row_sum")
    .option("--in <folder>", "the folder to make it in: kernels/ of this checkout unless given; anywhere works with --kernels")
    .action((name: string, flags: { in?: string }) => {
      const files = scaffold(name, flags.in);
      process.stdout.write(`${files.join("\n")}\n`);
      say(`next: worldline bench check ${name}${flags.in ? ` --kernels ${flags.in}` : ""}`);
    });
  bench
    .command("watch")
    .description("checks and times a shader at every save")
    .argument("<file.wgsl>")
    .option("--seconds <s>", "time per case", number(0.001, 600), 0.2)
    .action(async (file: string, flags: { seconds: number }) => {
      const end = new AbortController();
      process.once("SIGINT", () => end.abort());
      await watch(file, { ...defaults, seconds: flags.seconds }, (text) => void process.stdout.write(`${text}\n`), end.signal);
    });
  bench
    .command("profile")
    .description("runs a command and shows where its time went: by kernel, by plan, on the host, and in gaps")
    .argument("<command...>", "a worldline command behind --, or `node script ...` for a program that uses engine/node.ts")
    .option("--every <n>", "time launch by launch in every n-th run of a plan", count(1, 1e9), 10)
    .option("--json", "print the recording as JSON")
    .passThroughOptions()
    .action(async (words: string[], flags: { every: number; json?: boolean }) => {
      const { recording, status: code } = await profileCommand(words, flags.every);
      process.stdout.write(flags.json ? `${JSON.stringify(recording)}\n` : `\n${recordingLines(recording).join("\n")}\n`);
      if (code !== 0) process.exitCode = code;
    });
  withKernels(
    bench
      .command("tune")
      .description("measures variants on this adapter and lets the engine take the fastest right one")
      .argument("[kernel]"),
  )
    .option("--explain", "say what was chosen and why, without measuring")
    .option("--forget", "drop all choices for this adapter")
    .option("--seconds <s>", "time per candidate", number(0.001, 600), 0.2)
    .option("--cpu", "processor time instead of the clock: for a software adapter on a busy machine")
    .action(tune);
  withKernels(
    bench
      .command("everywhere")
      .description("the check suite at 4, 8 and 16 lanes (software driver) and without subgroups and f16")
      .argument("[filter]"),
  ).action(everywhere);
}
