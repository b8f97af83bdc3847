// Runs every test/*.test.ts in a process of its own, one after another, and ends with one line: `N passed, N failed[, N skipped]`.
// `npm test -- <word...>`: a word that is part of a file's name selects the file; any other word is handed to the files in
// WORLDLINE_TEST_FILTER (the kernel tests read it: `rmsnorm:rows=3,C=100`) and, if alone, runs the kernel tests.
import { spawn } from "node:child_process";
import { existsSync, readdirSync, realpathSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const LIMIT_MS = Number(process.env.WORLDLINE_TEST_LIMIT_MS) || 10 * 60_000;
const SIGN_OF_LIFE_MS = 30_000;
const FILTERED = "kernels.test.ts";

/** Divides words into the files they select and the filter for the kernel tests; files null means all. */
export function choose(words, files) {
  const naming = words.filter((word) => files.some((file) => file.includes(word)));
  const filter = words.filter((word) => !naming.includes(word)).join(" ");
  const named = files.filter((file) => naming.some((word) => file.includes(word)));
  if (named.length > 0) return { chosen: named, filter };
  if (!filter) return { chosen: files, filter };
  return { chosen: files.filter((file) => file === FILTERED), filter };
}

/** Reads uvu's summary at the end of a file's output; null if there is none. */
export function summary(output) {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: uvu colours its output with escape codes
  const plain = output.replace(/\x1b\[[0-9;]*m/g, "");
  const last = (name) => [...plain.matchAll(new RegExp(`^ {2}${name}: +(\\d+)`, "gm"))].pop()?.[1];
  const [total, passed, skipped] = [last("Total"), last("Passed"), last("Skipped")].map((text) =>
    text === undefined ? null : Number(text),
  );
  return total === null || passed === null ? null : { total, passed, skipped: skipped ?? 0 };
}

/**
 * What a file's run counts as. A file that crashed, hung, or printed no summary is one failure more than it reported,
 * so that it can never pass by dying early.
 */
export function judge({ code, timedOut, output }) {
  const said = summary(output);
  if (!said)
    return { passed: 0, failed: 1, skipped: 0, note: timedOut ? "timed out" : code === 0 ? "ran no test" : `crashed (exit code ${code})` };
  const failed = said.total - said.passed - said.skipped;
  if (timedOut) return { passed: said.passed, failed: failed + 1, skipped: said.skipped, note: "timed out" };
  if (code !== 0 && failed <= 0) return { passed: said.passed, failed: 1, skipped: said.skipped, note: `crashed (exit code ${code})` };
  return { passed: said.passed, failed: Math.max(0, failed), skipped: said.skipped, note: "" };
}

/** The last line: what CI and people count. */
export function totalLine({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`;
}

let running = null;

// The file's own group of processes is ended with it, so that nothing it started outlives it.
function endGroup(child) {
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    child.kill("SIGKILL");
  }
}

function runFile(path, env, alive) {
  return new Promise((done) => {
    const child = spawn(process.execPath, ["--import", "tsx", path], {
      env,
      stdio: ["ignore", "pipe", "pipe"],
      detached: process.platform !== "win32",
    });
    running = child;
    let output = "";
    let timedOut = false;
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
    const beat = setInterval(alive, SIGN_OF_LIFE_MS);
    const timer = setTimeout(() => {
      timedOut = true;
      endGroup(child);
    }, LIMIT_MS);
    const end = (code) => {
      clearInterval(beat);
      clearTimeout(timer);
      running = null;
      done({ code, timedOut, output });
    };
    child.on("error", (error) => {
      output += error.message;
      end(1);
    });
    child.on("exit", () => endGroup(child));
    child.on("close", (code, signal) => end(code ?? signal));
  });
}

async function main(words) {
  const folder = fileURLToPath(new URL(".", import.meta.url));
  const files = readdirSync(folder)
    .filter((name) => name.endsWith(".test.ts"))
    .sort((a, b) => Number(b === "first.test.ts") - Number(a === "first.test.ts") || a.localeCompare(b));
  const { chosen, filter } = choose(words, files);
  const env = { ...process.env, FORCE_COLOR: "0", WORLDLINE_TUNING: "off", ...(filter ? { WORLDLINE_TEST_FILTER: filter } : {}) };
  const sum = { passed: 0, failed: 0, skipped: 0 };
  if (chosen.length === 0)
    console.log(words.length ? `No test file is called ${words.join(" or ")}; there are ${files.join(", ")}.` : "There are no test files.");
  for (const [i, name] of chosen.entries()) {
    const began = performance.now();
    const seconds = () => `${((performance.now() - began) / 1000).toFixed(1)} s`;
    const label = `[${i + 1}/${chosen.length}] ${name.padEnd(26)}`;
    const result = await runFile(join(folder, name), env, () => console.log(`${label} still running, ${seconds()}`));
    const verdict = judge(result);
    console.log(`${label} ${totalLine(verdict)}${verdict.note ? `, ${verdict.note}` : ""} (${seconds()})`);
    if (verdict.failed) console.log(`${result.output.trimEnd()}\n`);
    else for (const line of result.output.split("\n")) if (/^skipped\b/i.test(line)) console.log(`        ${line}`);
    for (const key of Object.keys(sum)) sum[key] += verdict[key];
  }
  console.log(totalLine(sum));
  return sum.failed > 0 || sum.passed + sum.skipped === 0 ? 1 : 0;
}

if (process.argv[1] && existsSync(process.argv[1]) && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  for (const [signal, number] of [
    ["SIGINT", 2],
    ["SIGTERM", 15],
    ["SIGHUP", 1],
  ]) {
    process.on(signal, () => {
      if (running) endGroup(running);
      process.exit(128 + number);
    });
  }
  process.exitCode = await main(process.argv.slice(2));
}
