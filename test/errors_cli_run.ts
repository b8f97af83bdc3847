// Runs commands as people run them and holds what they say against what they must: exit code 1, one sentence on stderr, no stack trace.

import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";

/** A command that must fail. */
export interface Case {
  readonly name: string;
  readonly args: readonly string[];
  /** The whole sentence, with {} for the scratch folder, or a pattern. */
  readonly want: string | RegExp;
  readonly env?: Record<string, string>;
  /** Lines before the sentence. */
  readonly before?: RegExp;
  /** The hint that commander puts below usage errors. */
  readonly usage?: true;
  readonly skip?: boolean;
}

const main = fileURLToPath(new URL("../cli/main.ts", import.meta.url));
const tsx = import.meta.resolve("tsx");
export interface Outcome {
  readonly code: number | null;
  readonly out: string;
  /** Lines of stderr but those that Dawn and the Vulkan loader write from native code. */
  readonly said: string[];
}

const native = /^(Warning: (maxDynamic|vk|loader_|Couldn't|DriverLoader|.*libvulkan)|\s+at \S+ \(.*third_party\/dawn)/;

/** One command in a folder. */
export function runCommand(folder: string, args: readonly string[], env: Record<string, string> = {}): Promise<Outcome> {
  return new Promise((done, fail) => {
    const child = spawn(process.execPath, ["--import", tsx, main, ...args], {
      cwd: folder,
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let [out, err] = ["", ""];
    child.stdout.setEncoding("utf8").on("data", (text: string) => void (out += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => void (err += text));
    const timer = setTimeout(() => child.kill("SIGKILL"), 120_000);
    child.on("error", fail).on("close", (code) => {
      clearTimeout(timer);
      done({ code, out, said: err.split("\n").filter((line) => line.trim() && !native.test(line)) });
    });
  });
}

/** Three at a time: a command spends most of its start waiting for the disk and the compiler. */
async function sideBySide<T>(work: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async () => {
    while (next < work.length) {
      const i = next++;
      results[i] = await work[i]();
    }
  };
  await Promise.all([worker(), worker(), worker()]);
  return results;
}

/** What a command that goes on may say first: the memory it takes, and progress where the machine is slow. */
const progress = /^(loading|writing|encoding) |^.+: weights [\d.]+ [KMG]iB as \w+/;

/** Runs the cases in a folder and adds a test for each. */
export async function testCases(folder: string, cases: readonly Case[]): Promise<void> {
  const wanted = cases.filter((c) => !c.skip);
  const outcomes = await sideBySide(wanted.map((c) => () => runCommand(folder, c.args, c.env)));
  for (const [i, c] of wanted.entries()) {
    test(c.name, () => {
      const { code, out, said } = outcomes[i];
      const words = `exit code ${code}, said:\n${said.join("\n")}`;
      assert.is(code, 1, words);
      const lines = said.filter((line) => !progress.test(line));
      if (c.usage) assert.is(lines.pop(), "(see --help)", words);
      const sentence = lines.pop() ?? "";
      if (typeof c.want === "string") assert.is(sentence, c.want.replaceAll("{}", folder), words);
      else assert.match(sentence, c.want, words);
      if (c.before) assert.match(lines.pop() ?? "", c.before, words);
      assert.equal(lines, [], "more than one sentence");
      assert.not.match(out, /\n\s+at /);
    });
  }
}
