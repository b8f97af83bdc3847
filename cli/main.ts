#!/usr/bin/env node
// The `worldline` command. Each command is one file that reads flags, calls one function and prints. Errors are one sentence, exit code 1.
import { Command } from "commander";
import { WorldlineError } from "../engine/errors.ts";
import { NoAdapterError } from "../engine/host.ts";
import { reasonOf } from "../weights/file_source.ts";
import { Interrupted, say } from "./terminal.ts";
import { versions } from "./versions.ts";

const commands = [
  "demo",
  "doctor",
  "scale",
  "dtypes",
  "train",
  "plan",
  "annotate",
  "filter",
  "weights",
  "edit",
  "probe",
  "aurora",
  "eval",
  "oracle",
  "study",
  "jobs",
  "experiment",
  "frames",
  "pretrain",
  "tabletop",
  "generate",
  "score",
  "encode",
  "decode",
  "goldens",
  "inspect",
  "bench",
  "tokenize",
  "convert",
];

const program = new Command("worldline")
  .description(
    "Trains and runs world models on WebGPU: a dynamics model says the action between two pictures, a world model draws the next picture.",
  )
  .version(versions().worldline)
  .enablePositionalOptions()
  .showHelpAfterError("(see --help)");

// Only the wanted command is loaded: a start stays quick, and a broken part cannot take `doctor` down.
const wanted = process.argv.slice(2).find((word) => !word.startsWith("-"));
for (const name of commands.includes(wanted ?? "") ? [wanted] : commands) {
  const module = (await import(`./${name}.ts`)) as { register(program: Command): void };
  module.register(program);
}

// A reader that has seen enough (`| head`) is no fault.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  say(`standard output: not written, ${reasonOf(error)}`);
  process.exit(1);
});

try {
  await program.parseAsync();
} catch (cause) {
  if (cause instanceof Interrupted) process.exitCode = 130;
  else if (cause instanceof WorldlineError || cause instanceof NoAdapterError) {
    say(cause.message);
    process.exitCode = 1;
  } else {
    say(`this should not have happened; please report it with the command you ran:\n${(cause as Error).stack ?? cause}`);
    process.exitCode = 1;
  }
}
// What was printed last may still have failed, or be on its way: hear of it before the end.
await new Promise<void>((done) => process.stdout.write("", () => done()));
await new Promise((done) => setImmediate(done));
process.exit();
