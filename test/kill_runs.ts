// Kills a command with kill -9 at random moments and starts it again until it ends by itself, to show that what it leaves is what an undisturbed run
// leaves. WORLDLINE_KILLS sets how many kills a test makes (5 where absent).
import { spawn } from "node:child_process";
import { Rng } from "../engine/rng.ts";

export const kills = Number(process.env.WORLDLINE_KILLS) || 5;

/**
 * Runs a script of this repository once; kills it `after` so many milliseconds of its first line on stdout, or once `after` says so. Resolves to whether it
 * ended by itself.
 */
export function runOnce(
  args: readonly string[],
  after?: number | (() => boolean),
): Promise<{ ended: boolean; code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ["--import", "tsx", ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let killed = false;
    const kill = () => {
      killed = child.kill("SIGKILL");
    };
    let timer: NodeJS.Timeout | undefined;
    const poll = typeof after === "function" ? setInterval(() => !killed && after() && kill(), 2) : undefined;
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      // Not at the first word on stderr: Dawn warns long before a script's work begins.
      if (typeof after === "number") timer ??= setTimeout(kill, after);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      clearInterval(poll);
      resolve({ ended: !killed, code, output });
    });
  });
}

/** Kills and restarts, at most `most` times, until the command ends by itself; returns how often it was killed. */
export async function killedRun(
  args: readonly string[],
  longest: number,
  seed: number,
  most = kills,
): Promise<{ killed: number; output: string }> {
  const rng = new Rng(seed, "kills");
  for (let killed = 0; ; ) {
    const { ended, code, output } = await runOnce(args, killed < most ? longest * rng.uniform() : undefined);
    if (!ended) killed++;
    else if (code !== 0) throw new Error(`exit code ${code}: ${output}`);
    else return { killed, output };
  }
}
