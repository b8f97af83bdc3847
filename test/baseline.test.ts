// `bench --baseline`: what counts as slower when rows are measured again in turns, what the filter leaves out, and which reports are refused.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { comparable, filtersFor, judge, type Reruns } from "../bench/baseline.ts";
import { defaults, type Row } from "../bench/measure.ts";
import { parseReport, type Report } from "../bench/report.ts";
import { summarize } from "../bench/statistics.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "worldline-baseline-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

const row = (name: string, times: number[], more: Partial<Row> = {}): Row => {
  const [kernel, variant] = name.split(":");
  return { kernel, variant, case: "n=1", types: "", cache: "cold", chosen: true, error: 1e-7, ...summarize(times), times, ...more };
};
const report = (rows: Row[], commit?: string): Report => ({
  format: 1,
  date: "2026-01-01T00:00:00.000Z",
  worldline: "0",
  adapter: "an adapter",
  software: true,
  lanes: 8,
  features: [],
  timer: "timestamps",
  commit,
  options: defaults,
  ceilings: { copy: 10, copyBytes: 1, arithmetic: { f32: 100 }, launch: 5, submit: 50, readback: 90 },
  rows,
});
const runs = (name: string, medians: number[]) => medians.map((m) => report([row(name, [m, m, m])]));
const all = () => false;

test("rows that seem slower are measured again in turns, and the reruns decide", () => {
  const baseline = report([row("a:plain", [10, 10.1]), row("b:plain", [10, 10.1])], "abc");
  const now = report([row("a:plain", [20, 20.1]), row("b:plain", [10, 10.1])]);
  const asked: string[] = [];
  const same: Reruns = (commit, filter) => {
    asked.push(`${commit} ${filter}`);
    return [runs("a:plain", [20, 21, 20.5, 20.2]), runs("a:plain", [20.1, 20.9, 20.4, 20.3])];
  };
  const drift = judge(baseline, now, same, all);
  assert.equal(asked, ["abc a:plain"]);
  assert.equal([drift.comparison.worse, drift.comparison.tested, drift.comparison.differences.length], [false, true, 2]);
  const slower: Reruns = () => [runs("a:plain", [10, 11, 10.5, 10.2]), runs("a:plain", [20, 21, 20.5, 20.2])];
  const real = judge(baseline, now, slower, all).comparison;
  assert.equal([real.worse, real.differences.find((d) => d.name === "a:plain")!.verdict], [true, "slower"]);
  assert.ok(Math.abs(real.differences.find((d) => d.name === "a:plain")!.p! - 2 / 70) < 1e-12);
  const none: Reruns = () => {
    throw new Error("nothing seemed to differ");
  };
  assert.is(judge(baseline, baseline, none, all).comparison.worse, false);
});

test("no kernel is measured again twice, and no variant that is not meant", () => {
  assert.equal(filtersFor(["softmax:rows", "softmax:rows", "softmax_dx:rows"]), ["softmax:rows"]);
  assert.equal(filtersFor(["softmax_dx:rows", "softmax:held", "fill:plain"]), ["softmax", "fill:plain"]);
  assert.equal(filtersFor(["matmul:tile", "matmul:gemv"]), ["matmul"]);
});

test("without a commit, or without reruns, the saved samples decide and it is said", () => {
  const now = report([row("a:plain", [20, 20.1])]);
  const never: Reruns = () => {
    throw new Error("there is no commit to run");
  };
  const { comparison, untested } = judge(report([row("a:plain", [10, 10.1])]), now, never, all);
  assert.equal([comparison.worse, comparison.tested], [true, false]);
  assert.match(untested!, /not taken from a clean checkout/);
  assert.is(judge(report([row("a:plain", [10, 10.1])], "abc"), now, undefined, all).untested, undefined);
});

test("rows that the filter leaves out are not missing; a variant that is gone is", () => {
  const baseline = report([row("a:plain", [10]), row("a:fast", [5]), row("b:plain", [10])]);
  const now = report([row("a:plain", [10])]);
  const { comparison } = judge(baseline, now, undefined, (r) => r.kernel !== "a");
  assert.equal(comparison.missing, ["a:fast n=1 cold is only before"]);
});

test("another adapter or another clock is refused", () => {
  const now = report([]);
  assert.not.throws(() => comparable(report([]), now, "x.json"));
  assert.throws(
    () => comparable({ ...now, adapter: "a card" }, now, "x.json"),
    /--baseline x.json: its adapter is a card, this run's is an ad/,
  );
  assert.throws(() => comparable({ ...now, timer: "processor" }, now, "x.json"), /its timer is processor, this run's is timestamps/);
});

test("on the command line: exit code 1 where something is slower, 0 where not; what is no report is refused", () => {
  const bench = (...args: string[]) =>
    spawnSync(process.execPath, ["--import", "tsx", "cli/main.ts", "bench", "fill", "--cpu", "--seconds", "0.1", ...args], {
      encoding: "utf8",
      cwd: root,
    });
  const file = join(folder, "base.json");
  const saved = bench("--json", file);
  assert.is(saved.status, 0, saved.stderr);
  const base = parseReport(readFileSync(file, "utf8"), file);
  // Hundredfold factors, so that no noise of the machine turns the verdict.
  const scaled = (by: number) => {
    const path = join(folder, `${by}.json`);
    const rows = base.rows.map((r) => ({ ...r, median: r.median! * by, times: r.times!.map((t) => t * by) }));
    writeFileSync(path, JSON.stringify({ ...base, rows }));
    return path;
  };
  const worse = bench("--baseline", scaled(0.01), "--reruns", "0");
  assert.match(worse.stdout, /\nslower +fill:plain/);
  assert.match(worse.stdout, /geometric mean x0\.0\d+ over/);
  assert.is(worse.status, 1);
  const better = bench("--baseline", scaled(100), "--reruns", "0");
  assert.match(better.stdout, /\nfaster +fill:plain/);
  assert.is(better.status, 0);
  const nothing = bench("--baseline", join(folder, "none.json"));
  assert.match(nothing.stderr, /--baseline \S+none\.json: there is no such file; save one with `worldline bench --json/);
  writeFileSync(file, "{}");
  assert.match(bench("--baseline", file).stderr, /base\.json is not a report of `worldline bench --json`/);
});

test.run();
