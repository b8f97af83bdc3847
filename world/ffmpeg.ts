// ffmpeg and ffprobe as child processes: where they are, what they said when they failed, and raw bytes in pieces of one frame.
// FFMPEG_PATH and FFPROBE_PATH override the programs on PATH. No temporary files; a pipe holds ffmpeg back while nobody reads.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { WorldlineError } from "../engine/errors.ts";

/** ffmpeg or ffprobe is not here or does not start. */
export class MissingProgramError extends WorldlineError {
  override name = "MissingProgramError";
}

/** The program to start: the path in the environment, for ffprobe also the one beside FFMPEG_PATH, else the name, to be found on PATH. */
export function programPath(name: "ffmpeg" | "ffprobe"): string {
  const { FFMPEG_PATH: ffmpeg, FFPROBE_PATH: ffprobe } = process.env;
  if (name === "ffmpeg") return ffmpeg || name;
  const beside = ffmpeg && join(dirname(ffmpeg), process.platform === "win32" ? "ffprobe.exe" : "ffprobe");
  return ffprobe || (beside && existsSync(beside) ? beside : name);
}

function missing(name: "ffmpeg" | "ffprobe"): MissingProgramError {
  const variable = `${name.toUpperCase()}_PATH`;
  if (process.env[variable])
    return new MissingProgramError(`${variable} is "${process.env[variable]}", which does not start as ${name}; correct it or unset it`);
  return new MissingProgramError(
    `${name} was not found, and videos cannot be read without it: install FFmpeg (apt install ffmpeg, brew install ffmpeg or winget install ffmpeg) or set ${variable}`,
  );
}

/** The last line a program wrote, without addresses and the file's own name. */
export function lastLine(text: string, path: string): string {
  const line = text.trim().split(/\r?\n/).at(-1) ?? "";
  return line
    .replaceAll(`file:${path}: `, "")
    .replace(/^\[([^\]@]+?) @ 0x[0-9a-f]+\] /i, (_, part: string) => (part === "NULL" ? "" : `${part}: `))
    .trim()
    .slice(0, 200);
}

const keptErrors = 4096;

class Running {
  readonly child: ChildProcess;
  /** The exit code, null after a signal; rejects where the program does not start. */
  readonly ended: Promise<number | null>;
  errors = "";

  constructor(name: "ffmpeg" | "ffprobe", args: readonly string[]) {
    this.child = spawn(programPath(name), args, { stdio: ["ignore", "pipe", "pipe"], windowsHide: true });
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.errors = (this.errors + text).slice(-keptErrors);
    });
    this.ended = new Promise((resolve, reject) => {
      this.child.on("error", () => reject(missing(name)));
      this.child.on("close", (code) => resolve(code));
    });
    this.ended.catch(() => undefined);
  }

  stop = (): void => {
    this.child.kill("SIGKILL");
    this.child.stdout!.destroy();
  };
}

/** What ffprobe prints and its exit code. Throws MissingProgramError, or the signal's reason when aborted. */
export async function askFfprobe(
  args: readonly string[],
  signal?: AbortSignal,
): Promise<{ code: number | null; out: string; errors: string }> {
  signal?.throwIfAborted();
  const running = new Running("ffprobe", args);
  signal?.addEventListener("abort", running.stop, { once: true });
  try {
    let out = "";
    running.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    const code = await running.ended;
    signal?.throwIfAborted();
    return { code, out, errors: running.errors };
  } finally {
    signal?.removeEventListener("abort", running.stop);
  }
}

/**
 * Runs ffmpeg and yields its standard output in pieces of `size` bytes, each an array of its own. The child is ended when the reader stops
 * early or the signal aborts. Throws `failure(last line)` when ffmpeg fails or stops inside a piece.
 */
export async function* readPieces(
  args: readonly string[],
  size: number,
  failure: (errors: string) => Error,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  signal?.throwIfAborted();
  const running = new Running("ffmpeg", args);
  signal?.addEventListener("abort", running.stop, { once: true });
  let filled = 0;
  try {
    let piece = new Uint8Array(size);
    for await (const chunk of running.child.stdout as AsyncIterable<Uint8Array>) {
      for (let at = 0; at < chunk.length; ) {
        const part = chunk.subarray(at, at + size - filled);
        piece.set(part, filled);
        filled += part.length;
        at += part.length;
        if (filled < size) continue;
        yield piece;
        piece = new Uint8Array(size);
        filled = 0;
      }
    }
    if ((await running.ended) !== 0 || filled > 0) throw failure(running.errors);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener("abort", running.stop);
    running.stop();
    await running.ended.catch(() => undefined);
  }
}
