// Child processes for set-up: output kept back, a sign of life while they run, a time limit, and one line when they fail.
import { spawn } from "node:child_process";

/** Prints a line for the person waiting. */
export type Say = (line: string) => void;

export interface RunOptions {
  say: Say;
  limit: number;
  env?: NodeJS.ProcessEnv;
}

const SIGN_OF_LIFE_MS = 15_000;

/** Runs a program without input and gives its stdout; throws a sentence with the program's last error line if it fails or passes `limit` ms. */
export function runQuietly(file: string, args: string[], { say, limit, env = process.env }: RunOptions): Promise<string> {
  return new Promise((done, fail) => {
    const began = performance.now();
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...env, LC_ALL: "C" }, shell: file.endsWith(".cmd") });
    let out = "";
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (said += text));
    const seconds = () => Math.round((performance.now() - began) / 1000);
    const alive = setInterval(() => say(`still busy with ${file} (${seconds()} s).`), SIGN_OF_LIFE_MS);
    const timer = setTimeout(() => {
      said += `\nno end after ${seconds()} s`;
      child.kill("SIGKILL");
    }, limit);
    const settle = (error: Error | null) => {
      clearInterval(alive);
      clearTimeout(timer);
      if (error) fail(error);
      else done(out);
    };
    child.on("error", (error) => settle(new Error(`${file} could not be started: ${error.message}`)));
    child.on("close", (code) =>
      settle(code === 0 ? null : new Error(`${file} failed: ${lastLine(said) || lastLine(out) || `exit code ${code}`}`)),
    );
  });
}

/** The line that says most: the last one marked as an error, else the last one. */
function lastLine(text: string): string {
  const lines = text.split("\n").filter((line) => line.trim());
  return (lines.filter((line) => /^(E:|npm error)/.test(line)).pop() ?? lines.pop() ?? "").trim();
}
