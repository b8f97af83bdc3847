// Runs `worldline bench` of two checkouts in turns, so that drift of the machine hits both alike. A git reference becomes a copy of its files in a
// temporary folder that shares node_modules; it is no worktree, so a run that is interrupted leaves nothing behind in the repository.
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { WorldlineError } from "../engine/errors.ts";
import { root } from "./machine.ts";
import { parseReport, type Report } from "./report.ts";

/** One side of a comparison: reports on disk, or a checkout to run. */
export type Side = { readonly reports: readonly Report[] } | { readonly folder: string; readonly remove?: () => void };

/** What an argument names: files of reports joined by commas, a folder, or a git reference of this checkout. */
export function sideOf(text: string): Side {
  const files = text.split(",");
  if (files.every((f) => existsSync(f) && statSync(f).isFile()))
    return { reports: files.map((f) => parseReport(readFileSync(f, "utf8"), f)) };
  if (existsSync(text) && statSync(text).isDirectory()) {
    if (existsSync(join(text, "cli/bench.ts"))) return { folder: resolve(text) };
    throw new WorldlineError(`${text} is no checkout of worldline (it has no cli/bench.ts); name one, a report, or a git reference`);
  }
  return checkout(text);
}

const git = (...args: string[]) =>
  execFileSync("git", ["-C", root, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();

/** The commit of this checkout; undefined outside one, or when files of it were changed since. */
export function commitHere(): string | undefined {
  // An installed package may lie in somebody else's repository.
  if (!existsSync(join(root, "cli/bench.ts"))) return undefined;
  try {
    return git("status", "--porcelain", "--untracked-files=no", "--", root) === "" ? git("rev-parse", "HEAD") : undefined;
  } catch {
    return undefined;
  }
}

function checkout(reference: string): Side {
  let commit: string;
  try {
    commit = git("rev-parse", "--verify", "--quiet", `${reference}^{commit}`);
  } catch {
    throw new WorldlineError(`"${reference}" is neither a report, nor a checkout, nor a git reference; give one of these`);
  }
  const folder = join(mkdtempSync(join(tmpdir(), "worldline-bench-")), "checkout");
  const remove = () => rmSync(join(folder, ".."), { recursive: true, force: true });
  mkdirSync(folder);
  const files = execFileSync("git", ["-C", root, "archive", "--format=tar", commit], { maxBuffer: 2 ** 31 });
  execFileSync("tar", ["-x", "-C", folder], { input: files });
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"), "junction");
  if (!existsSync(join(folder, "cli/bench.ts"))) {
    remove();
    throw new WorldlineError(`${reference} is from before \`worldline bench\` could write reports; compare with a later commit`);
  }
  return { folder, remove };
}

/** Runs both sides `runs` times in turns and gives the reports of each. */
export function takeTurns(a: Side, b: Side, runs: number, args: readonly string[], told: (text: string) => void): [Report[], Report[]] {
  const sides = [a, b];
  const out: [Report[], Report[]] = [[], []];
  const folder = mkdtempSync(join(tmpdir(), "worldline-bench-"));
  try {
    sides.forEach((s, i) => void ("reports" in s && out[i].push(...s.reports)));
    for (let r = 0; r < runs; r++) {
      // The side that begins changes from round to round.
      for (const i of r % 2 ? [1, 0] : [0, 1]) {
        const side = sides[i];
        if ("reports" in side) continue;
        told(`run ${r + 1} of ${runs}, ${i === 0 ? "before" : "after"}`);
        out[i].push(runOnce(side.folder, join(folder, `${r}-${i}.json`), args));
      }
    }
    return out;
  } finally {
    rmSync(folder, { recursive: true, force: true });
    for (const s of sides) if ("remove" in s) s.remove?.();
  }
}

function runOnce(folder: string, file: string, args: readonly string[]): Report {
  const done = spawnSync(process.execPath, ["--import", "tsx", "cli/main.ts", "bench", ...args, "--json", file], {
    cwd: folder,
    encoding: "utf8",
    stdio: ["ignore", "ignore", "pipe"],
    maxBuffer: 1 << 26,
  });
  if (!existsSync(file))
    throw new WorldlineError(`\`worldline bench ${args.join(" ")}\` in ${folder} gave no report: ${lastLine(done.stderr)}`);
  return parseReport(readFileSync(file, "utf8"), file);
}

const lastLine = (text: string) => text.trim().split("\n").pop() ?? "";
