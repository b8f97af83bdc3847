// What commands share with the terminal: progress on one line (plain lines where there is no terminal), Ctrl-C as an AbortSignal, numbers as
// options, and errors as one sentence with exit code 1.
import { InvalidArgumentError } from "commander";
import type { Progress } from "../world/codes.ts";

const live = process.stderr.isTTY === true;
let open = false;
let quietUntil = 0;

/** Shows text on the progress line; without a terminal at most one line every five seconds. */
export function status(text: string): void {
  if (live) {
    process.stderr.write(`\r\x1b[2K${text.slice(0, (process.stderr.columns ?? 120) - 1)}`);
    open = true;
  } else if (performance.now() >= quietUntil) {
    process.stderr.write(`${text}\n`);
    quietUntil = performance.now() + 5000;
  }
}

/** Prints a line that stays. */
export function say(text: string): void {
  if (open) process.stderr.write("\r\x1b[2K");
  open = false;
  quietUntil = 0;
  process.stderr.write(`${text}\n`);
}

/** A progress callback under a label, with the time left from its second call on: what was done before the first may be an earlier run's work. */
export function progress(label: string): Progress {
  let first: { done: number; at: number } | undefined;
  return (done, total, note = "") => {
    const now = performance.now();
    first ??= { done, at: now };
    const left = ((now - first.at) / 1000 / (done - first.done)) * (total - done);
    const shown = done > first.done && done < total && left > 2 ? `, ${duration(left)} left` : "";
    status(`${label} ${done}/${total}${note && `, ${note}`}${shown}`);
  };
}

/** Seconds as people read them. */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const s = Math.round(seconds);
  return s < 3600 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${Math.floor(s / 3600)} h ${Math.round((s % 3600) / 60)} min`;
}

/** Aborts on the first Ctrl-C or SIGTERM, so that work can be saved; the second one ends the process at once. */
export function interruption(): AbortSignal {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(130);
    say("stopping; what is done is kept, run the same command again to go on (Ctrl-C once more to leave at once)");
    controller.abort(new Interrupted());
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  return controller.signal;
}

/** The reason of an interrupted command. */
export class Interrupted extends Error {
  override name = "Interrupted";

  constructor() {
    super("interrupted");
  }
}

/** An option parser for numbers in a range. */
export function number(low: number, high: number, whole = false): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === "" || !Number.isFinite(value) || value < low || value > high || (whole && !Number.isInteger(value))) {
      throw new InvalidArgumentError(`a ${whole ? "whole " : ""}number from ${low} to ${high} is needed.`);
    }
    return value;
  };
}

/** An option parser for whole numbers. */
export const count = (low: number, high: number) => number(low, high, true);
