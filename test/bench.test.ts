// The kernel lab: statistics on known samples, verdicts of comparisons, choices by measurement (a wrong variant must never win), kernels that
// lie outside the repository, and the shape of what is written.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { measureCeilings } from "../bench/ceilings.ts";
import { runCheck } from "../bench/check.ts";
import { compare, comparisonLines } from "../bench/compare.ts";
import { findChecks } from "../bench/find.ts";
import { processorTime } from "../bench/machine.ts";
import { defaults, measureCheck, type Row, shareOf } from "../bench/measure.ts";
import { charts, htmlPage, svgChart } from "../bench/plots.ts";
import { recordingLines } from "../bench/profile.ts";
import { cells, columns, header, markdown, parseReport, type Report } from "../bench/report.ts";
import { scaffold } from "../bench/scaffold.ts";
import { choiceOf } from "../bench/source.ts";
import { geometricMean, powerFit, quantile, rankTest, summarize } from "../bench/statistics.ts";
import { Timer } from "../bench/timer.ts";
import { explain, pick, tuneKernel } from "../bench/tune.ts";
import { usersOf, watchOnce } from "../bench/watch.ts";
import { compareSides } from "../cli/bench_verbs.ts";
import { Device } from "../engine/device.ts";
import { nodeHost } from "../engine/host_node.ts";
import { openDevice } from "../engine/node.ts";
import { add, softmax as softmaxOp } from "../engine/ops/index.ts";
import { Recorder, union } from "../engine/recorder.ts";
import { Tape } from "../engine/tape.ts";
import { shapeClass, sourceHashes, Tuning, type TuningFile } from "../engine/tuning.ts";
import { check, kernel, type Numbers, storedTypes, type Values } from "../kernels/kernel.ts";
import { matmul } from "../kernels/matmul/matmul.ts";
import { softmax } from "../kernels/softmax/softmax.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const device = await openDevice();
const timer = new Timer(device);
const quick = { ...defaults, seconds: 0.02, cacheBytes: 1 << 20 };
const folder = mkdtempSync(join(tmpdir(), "worldline-kernels-"));
test.after(() => rmSync(folder, { recursive: true, force: true }));

test("quantiles, spread, means and fits of known samples", () => {
  assert.is(quantile([1, 2, 3, 4], 0.5), 2.5);
  assert.is(quantile([5], 0.95), 5);
  const s = summarize([3, 1, 2, 4, 100]);
  assert.equal([s.samples, s.min, s.median], [5, 1, 3]);
  assert.ok(s.p95 > 4 && s.p95 <= 100);
  assert.ok(Math.abs(s.spread - (1.82 * 2) / Math.sqrt(5) / 3) < 1e-12);
  assert.is(summarize([7]).spread, Number.POSITIVE_INFINITY);
  assert.ok(Math.abs(geometricMean([2, 8]) - 4) < 1e-12);
  const fit = powerFit([1, 2, 4, 8], [3, 12, 48, 192]);
  assert.ok(Math.abs(fit.exponent - 2) < 1e-12 && Math.abs(fit.factor - 3) < 1e-12);
  assert.ok(fit.error < 1e-12);
  // Logarithms 0, 2, 1 at 0, 1, 2: the line 0.5 + 0.5 u leaves -0.5, 1, -0.5, whose squares sum to 1.5 over a width of 2.
  const rough = powerFit([1, Math.E, Math.E ** 2], [1, Math.E ** 2, Math.E]);
  assert.ok(Math.abs(rough.exponent - 0.5) < 1e-12 && Math.abs(rough.error - Math.sqrt(0.75)) < 1e-12);
  assert.is(powerFit([1, 2], [1, 2]).error, Number.POSITIVE_INFINITY);
});

test("the rank test is exact for few runs, with ties, and near its normal form for many", () => {
  assert.ok(Math.abs(rankTest([1, 2, 3, 4], [5, 6, 7, 8]) - 2 / 70) < 1e-12);
  assert.ok(Math.abs(rankTest([1, 2, 3], [4, 5, 6]) - 0.1) < 1e-12);
  assert.is(rankTest([1, 2], [1, 2]), 1);
  assert.is(rankTest([5, 5, 5, 5], [5, 5, 5, 5]), 1);
  const [even, odd] = [0, 1].map((k) => Array.from({ length: 12 }, (_, i) => 2 * i + k));
  assert.ok(rankTest(even, odd) > 0.5);
  assert.ok(
    rankTest(
      even,
      odd.map((v) => v + 100),
    ) < 1e-3,
  );
});

const row = (name: string, times: number[], more: Partial<Row> = {}): Row => {
  const [k, variant] = name.split(":");
  return { kernel: k, variant, case: "n=1", types: "", cache: "cold", chosen: true, error: 1e-7, ...summarize(times), times, ...more };
};
const report = (rows: Row[]): Report => ({
  ...header(device, "timestamps", { copy: 10, copyBytes: 1, arithmetic: { f32: 100 }, launch: 5, submit: 50, readback: 90 }, quick, {
    worldline: "0",
  }),
  rows,
});

test("comparisons: runs that took turns decide by rank, others by their middle halves, and what is wrong is worse", () => {
  const runs = (name: string, medians: number[]) => medians.map((m) => report([row(name, [m, m, m])]));
  const slower = compare(runs("a:plain", [10, 11, 10.5, 10.2]), runs("a:plain", [14, 15, 14.5, 14.2]));
  assert.equal([slower.differences[0].verdict, slower.worse, slower.tested], ["slower", true, true]);
  assert.ok(Math.abs(slower.differences[0].p! - 2 / 70) < 1e-12);
  const faster = compare(runs("a:plain", [14, 15, 14.5, 14.2]), runs("a:plain", [10, 11, 10.5, 10.2]));
  assert.equal([faster.differences[0].verdict, faster.worse], ["faster", false]);
  assert.ok(Math.abs(faster.overall - 14.35 / 10.35) < 1e-9);
  assert.is(compare(runs("a:plain", [10, 14, 10.5, 14.1]), runs("a:plain", [11, 15, 10.2, 16])).worse, false);
  assert.is(compare(runs("a:plain", [10, 10.1, 10.2, 10.3]), runs("a:plain", [10.4, 10.5, 10.6, 10.7])).differences[0].verdict, "same");
  const one = compare([report([row("a:plain", [10, 10, 11, 11])])], [report([row("a:plain", [20, 20, 21, 21])])]);
  assert.equal([one.differences[0].verdict, one.tested], ["slower", false]);
  assert.match(comparisonLines(one).join("\n"), /fewer than four runs a side/);
  const noisy = compare([report([row("a:plain", [10, 30, 11, 40])])], [report([row("a:plain", [25, 12, 35, 41])])]);
  assert.is(noisy.differences[0].verdict, "unclear");
  const wrong: Row = { ...row("a:plain", [1]), median: undefined, error: "error 1 is over the limit" };
  const broken = compare([report([row("a:plain", [10])])], [report([wrong])]);
  assert.equal([broken.worse, broken.broken.length], [true, 1]);
});

test("a share names the nearer ceiling", () => {
  const c = { copy: 10, copyBytes: 1, arithmetic: { f32: 100 }, launch: 5, submit: 50, readback: 90 };
  assert.equal(shareOf(1e6, 1e4, 20, c), { bound: "arithmetic", share: 0.5 });
  assert.equal(shareOf(1e3, 1e5, 20, c), { bound: "memory", share: 0.5 });
  assert.equal(shareOf(1, 1, 10, c), { bound: "launch", share: 0.5 });
  assert.equal(shareOf(undefined, undefined, 10, c), {});
});

// y = 2 x by three variants: one writes nothing into the last element, which only the check's odd cases see, one is right, one does not compile.
const text = (body: string) =>
  new URL(
    `data:text/plain,${encodeURIComponent(`struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;
@compute @workgroup_size(WG) fn main(@builtin(global_invocation_id) id: vec3u) { let i = id.x; ${body} }`)}`,
  );
const grid = ({ n }: Record<string, number>, { WG }: Record<string, number>) => [Math.ceil(n / WG)] as const;
const right = "if (i < p.n) { var v = x[i]; for (var k = 0u; k < 2000u; k++) { v = v * 0.5 + x[i]; } y[i] = 2.0 * x[i] + (v - v); }";
const planted = kernel({
  name: "planted",
  source: text(right),
  reads: ["x"],
  writes: ["y"],
  params: { n: "u32" },
  consts: { WG: 64 },
  tries: { WG: [32] },
  grid,
  variants: [
    { name: "wrong", source: text("if (i < (p.n & ~1u)) { y[i] = 2.0 * x[i]; }"), consts: { WG: 64 }, grid },
    { name: "broken", source: text("y[i] = nonsense;"), consts: { WG: 64 }, grid },
  ],
});
const plantedCheck = check({
  kernel: planted,
  cases: [{ n: 64 }, { n: 77 }],
  bench: [{ n: 4096 }],
  inputs: ({ n }, rng) => ({ x: rng.normals(n) }),
  outputs: ({ n }) => ({ y: n }),
  reference: (_, { x }) => ({ y: Float64Array.from(x as Float32Array, (v) => 2 * v) }),
  tolerance: { f32: 1e-6 },
});

test("tuning refuses a fast variant that is wrong and one that does not compile, and says so", async () => {
  const tuned = await tuneKernel(device, timer, plantedCheck, quick);
  const [[name, choice]] = Object.entries(tuned.classes);
  assert.is(name, "n~4096");
  assert.is(choice.variant, "plain");
  const refused = choice.trials.filter((t) => t.refused);
  assert.equal(refused.map((t) => t.variant).sort(), ["broken", "wrong"]);
  assert.match(refused.find((t) => t.variant === "wrong")!.refused!, /^n=77: /);
  assert.ok(refused.every((t) => t.median === undefined));
  assert.equal(
    choice.trials.filter((t) => t.median).map((t) => t.consts),
    [{}, { WG: 32 }],
  );
  const lines = explain({ format: 1, adapter: "x", kernels: { planted: tuned } }).join("\n");
  assert.match(lines, /planted n~4096 \(timed at n=4096\): plain/);
  assert.match(lines, /wrong +refused: n=77/);
  assert.match(lines, /chosen/);
});

test("the limit grows with the root of the terms of a sum from 256 on, and timed sizes are checked on demand", async () => {
  const off = (Ks: number[], bench: number[]) => {
    const wrongBy = 7e-6;
    return {
      ...plantedCheck,
      kernel: { ...planted, variants: planted.variants.filter((v) => v.name === "plain") },
      cases: Ks.map((K) => ({ n: 64, K })),
      bench: bench.map((K) => ({ n: 4096, K })),
      reference: (_: unknown, { x }: Values) => ({ y: Float64Array.from(x as Float32Array, (v) => 2 * v * (1 + wrongBy)) }),
      tolerance: { f32: 2e-6 },
      terms: ({ K }: Numbers) => K,
    };
  };
  const few = await runCheck(device, { name: "few", check: off([1, 256, 1024], [1, 4096]) });
  assert.is(few.passed, 0);
  assert.match(few.failures[0], /error 4\.\d+e-6 is over the limit 0.0000020/);
  assert.match(few.failures[2], /over the limit 0.0000040/);
  const many = await runCheck(device, { name: "many", check: off([2500, 4096], [1, 4096]) }, { timed: true });
  assert.equal([many.passed, many.failures.length], [3, 1]);
});

test("the engine's own choice stays unless another is clearly faster", () => {
  const own = row("a:plain", [10, 10, 10]);
  assert.equal(pick([own, row("a:fast", [5, 5, 5])], "plain"), { variant: "fast", consts: {} });
  assert.equal(pick([own, row("a:fast", [9.9, 9.9, 9.9])], "plain"), { variant: "plain", consts: {} });
  assert.equal(pick([own, row("a:noisy", [4, 9, 30, 8])], "plain"), { variant: "plain", consts: {} });
  assert.equal(pick([own, row("a:wrong", [1, 1, 1], { error: "wrong" })], "plain"), { variant: "plain", consts: {} });
  assert.equal(pick([own, row("a:plain", [5, 5, 5], { consts: { WG: 32 } })], "plain"), { variant: "plain", consts: { WG: 32 } });
});

test("tuned choices hang on every helper file that a kernel's matrices may need", async () => {
  const sources = Object.keys(await sourceHashes(nodeHost, matmul));
  for (const dtype of storedTypes) assert.ok(sources.includes(`lib/stored_${dtype}.wgsl`), dtype);
  assert.equal(
    sources.filter((name) => name.startsWith("lib/packed")),
    ["lib/packed_int8.wgsl", "lib/packed_int4.wgsl"],
  );
});

test("the engine takes a tuned choice for its class of shapes only, and forgets it when a shader changes", async () => {
  const params = { rows: 1000, C: 1024 };
  const dtypes = { x: "f32", y: "f32" } as const;
  assert.is(shapeClass(softmax, params, dtypes), "rows~1024,C~1024");
  assert.is(shapeClass(softmax, { rows: 3, C: 99 }, dtypes), "rows=3,C~128!");
  const [cached] = await findChecks("attention_cached");
  const { kernel, cases } = cached.check;
  assert.ok(kernel.running.includes("base"));
  assert.is(
    shapeClass(kernel, { ...cases[0], base: 40 }, {}),
    shapeClass(kernel, { ...cases[0], base: 0 }, {}),
    "numbers of a run are no sizes",
  );
  const found = (await findChecks("softmax")).find((f) => f.name === "softmax")!;
  const small = { ...found.check, cases: [{ rows: 3, C: 8 }], bench: [{ rows: 1024, C: 1024 }] };
  const stored = await tuneKernel(device, timer, small, quick);
  stored.classes["rows~1024,C~1024"] = { variant: "plain", consts: { WG: 32 }, shape: "", trials: [] };
  const file: TuningFile = { format: 1, adapter: "x", kernels: { softmax: stored } };
  const cache = { read: async () => JSON.stringify(file), write: async () => {} };
  const open = async (host = { ...nodeHost, cache }, force?: string) => {
    const adapter = await device.gpu.requestAdapter();
    return Device.open({ host, gpu: device.gpu, adapter: adapter!, force, tuning: await Tuning.load(host, "x") });
  };
  const tuned = await open();
  assert.is(tuned.choose(softmax, params, dtypes).key, "softmax:plain{WG=32}");
  assert.is(tuned.choose(softmax, { rows: 8, C: 1024 }, dtypes).key, device.choose(softmax, { rows: 8, C: 1024 }, dtypes).key);
  assert.match((await open(undefined, "softmax:rows")).choose(softmax, params, dtypes).key, /rows|plain\{WG=64\}/);
  const edited = { ...nodeHost, cache, readText: async (url: URL) => `${await nodeHost.readText(url)}// edited` };
  assert.is((await open(edited)).choose(softmax, params, dtypes).key, device.choose(softmax, params, dtypes).key);
  const damaged = { ...nodeHost, cache: { ...cache, read: async () => "{" } };
  assert.is((await open(damaged)).choose(softmax, params, dtypes).key, device.choose(softmax, params, dtypes).key);
});

test("a new kernel outside the repository passes its check and works with every part of the lab", async () => {
  scaffold("scaled_copy", folder);
  assert.throws(() => scaffold("scaled_copy", folder), /exists already/);
  assert.throws(() => scaffold("Bad Name", folder), /no name for a kernel/);
  const found = await findChecks("scaled", [folder]);
  assert.equal(
    found.map((f) => f.name),
    ["scaled_copy"],
  );
  const verdict = await runCheck(device, found[0]);
  assert.equal([verdict.passed, verdict.failures, verdict.skipped], [4, [], []]);
  assert.match(await device.shaderText(choiceOf(device, found, { variant: "vec4" })), /array<vec4f>[\s\S]*fn group_index/);
  assert.throws(() => choiceOf(device, found, { variant: "none" }), /there are scaled_copy:vec4, scaled_copy:plain/);
  const tuned = await tuneKernel(device, timer, { ...found[0].check, bench: [{ n: 65536 }] }, quick);
  assert.equal(Object.keys(tuned.classes), ["n~65536"]);
  assert.is(tuned.classes["n~65536"].trials.filter((t) => t.refused).length, 0);
});

test("on the command line: verbs take flags of their own, wrong kernels give exit code 1 and the line that reruns them", () => {
  const bench = (...args: string[]) =>
    spawnSync(process.execPath, ["--import", "tsx", join(root, "cli/main.ts"), "bench", ...args, "--kernels", folder], {
      encoding: "utf8",
      cwd: root,
    });
  const passed = bench("check");
  assert.match(passed.stdout, /^right scaled_copy +4 runs.*\n4 passed, 0 failed\n$/m);
  assert.is(passed.status, 0);
  const unknown = bench("check", "nonsense");
  assert.match(unknown.stderr, /no kernel is called "nonsense"; there are scaled_copy/);
  const path = join(folder, "scaled_copy", "scaled_copy.wgsl");
  const original = readFileSync(path, "utf8");
  writeFileSync(path, original.replace("i < p.n", "i <= p.n"));
  const wrong = bench("check");
  writeFileSync(path, original);
  assert.match(
    wrong.stdout,
    /WRONG scaled_copy[\s\S]*written behind the end of "y"\n +rerun: worldline bench check scaled_copy:plain:n=1 --kernels \S+\n/,
  );
  const description = join(folder, "scaled_copy", "scaled_copy.ts");
  const text = readFileSync(description, "utf8");
  writeFileSync(description, `${text}\nexport const typed: number = 1 as number;\n`);
  assert.match(bench("check").stdout, /^4 passed, 0 failed$/m, "types in the kernel's own files");
  writeFileSync(description, `${text}\nnowhere();\n`);
  const broken = bench("check");
  writeFileSync(description, text);
  assert.match(
    broken.stderr,
    /^\S*scaled_copy\.check\.ts cannot be loaded: ReferenceError: nowhere is not defined \(scaled_copy\.ts:\d+\); correct the kernel's files\n$/m,
  );
  assert.equal([unknown.status, wrong.status, broken.status], [1, 1, 1]);
});

test("watching a shader: rows when it is right, the line when it does not compile, the case when it is wrong", async () => {
  const path = join(folder, "scaled_copy", "scaled_copy_vec4.wgsl");
  const users = await usersOf(path);
  const said: string[] = [];
  const rows = await watchOnce(users, quick, [], (l) => void said.push(l));
  assert.ok(rows!.length >= 2 && rows!.every((r) => r.median! > 0));
  const original = readFileSync(path, "utf8");
  writeFileSync(path, original.replace("p.scale * x[i]", "p.scale * x[i] + 1.0"));
  assert.is(await watchOnce(users, quick, rows!, (l) => void said.push(l)), undefined);
  assert.match(said.pop()!, /scaled_copy:vec4 is wrong in 1 of 1 runs/);
  writeFileSync(path, original.replace("p.scale *", "p.scaled *"));
  assert.is(await watchOnce(users, quick, rows!, (l) => void said.push(l)), undefined);
  assert.match(said.pop()!, /scaled_copy_vec4\.wgsl:11:\d+: .*scaled/);
  writeFileSync(path, original);
  await watchOnce(users, quick, rows!, (l) => void said.push(l));
  assert.match(said.pop()!, /x[\d.]+ of the last save$/);
});

test("a report survives JSON, and its table, markdown and page are whole and load nothing", async () => {
  const ceilings = await measureCeilings(device, timer, 2);
  assert.ok(ceilings.copy > 0 && ceilings.arithmetic.f32! > 0 && ceilings.readback > 0);
  const [found] = await findChecks("fill");
  const [matmul] = await findChecks("matmul");
  const rows: Row[] = [];
  for await (const some of measureCheck(device, timer, { ...found.check, bench: [{ n: 4096 }] }, ceilings, quick)) rows.push(...some);
  const small = { ...matmul.check, bench: matmul.check.cases.slice(4, 5) };
  for await (const some of measureCheck(device, timer, small, ceilings, quick)) rows.push(...some);
  assert.ok(rows.some((r) => r.kernel === "matmul" && r.chosen && r.gflops! > 0 && r.share! > 0 && typeof r.error === "number"));
  assert.ok(rows.every((r) => r.min! <= r.median! && r.median! <= r.p95! && r.times!.length > 0));
  const whole: Report = { ...header(device, timer.kind, ceilings, quick, { worldline: "0.1.0" }), rows };
  assert.equal(parseReport(JSON.stringify(whole), "x"), JSON.parse(JSON.stringify(whole)));
  assert.throws(() => parseReport("{}", "x.json"), /x\.json is not a report/);
  for (const r of rows) assert.is(cells(r).length, columns.length);
  const table = markdown(whole)
    .split("\n")
    .filter((l) => l.startsWith("|"));
  assert.is(table.length, rows.length + 2);
  const page = htmlPage({ ...whole, rows: [...rows, row("odd<&>:plain", [1], { flops: 1, bytes: 1, gflops: 1, gbs: 1 })] });
  assert.not(/<script|<link|<img|src=|url\(|https?:\/\/(?!www\.w3\.org\/2000\/svg)/.test(page), "the page loads something");
  assert.match(page, /odd&lt;&amp;&gt;:plain/);
  assert.ok(charts(whole).length >= 2);
  for (const chart of charts(whole)) assert.is(balance(svgChart(chart)), "");
  assert.is(balance(page.slice(page.indexOf("<body>"), page.indexOf("</html>"))), "");
});

/** The first tag that is not closed in order, or "". */
function balance(markup: string): string {
  const open: string[] = [];
  for (const [tag, close, name, self] of markup.matchAll(/<(\/?)([a-z]\w*)[^<>]*?(\/?)>/g)) {
    if (self) continue;
    if (!close) open.push(name);
    else if (open.pop() !== name) return tag;
  }
  return open.join(" ");
}

test("a recorder counts every launch, times some one by one, and finds the gaps between runs", async () => {
  assert.equal(union([]), { busy: 0, span: 0 });
  const spans = [
    [5000, 9000],
    [0, 2000],
    [1000, 3000],
    [6000, 7000],
  ] as const;
  assert.equal(union(spans), { busy: 7, span: 9 });
  const every = new Recorder(1);
  const recorder = new Recorder(2);
  const adapter = await device.gpu.requestAdapter();
  const recorded = await Device.open({ host: nodeHost, gpu: device.gpu, adapter: adapter!, recorder });
  const tape = new Tape(recorded);
  const x = tape.input("x", [64, 64]);
  const y = tape.keep(softmaxOp(add(x, x)));
  const plan = await tape.plan();
  for (let i = 0; i < 5; i++) await plan.write("x", new Float32Array(4096).fill(i)).run().read(y);
  const r = recorder.recording();
  assert.equal([r.runs, r.launches, r.plans.length, r.detailed.runs], [5, 10, 1, 2]);
  assert.equal(
    r.kernels.map((k) => [k.key.split(":")[0], k.count, k.timed, k.bytes]),
    [
      ["add", 5, 2, 2 * 3 * 16384],
      ["softmax", 5, 2, 2 * 2 * 16384],
    ],
  );
  assert.ok(r.busy > 0 && r.busy < r.span && r.span < r.wall && r.detailed.sum <= r.detailed.span * 1.001, JSON.stringify(r));
  assert.is(r.hostLaunches, 6);
  const lines = recordingLines(r).join("\n");
  assert.match(lines, /^softmax\S* +5 /m);
  assert.match(lines, /5 runs, 10 launches/);
  plan.destroy();
  recorded.destroy();
  const always = await Device.open({ host: nodeHost, gpu: device.gpu, adapter: (await device.gpu.requestAdapter())!, recorder: every });
  const again = new Tape(always);
  const twice = again.keep(add(again.input("x", [64]), again.input("y", [64])));
  const small = await again.plan();
  for (let i = 0; i < 5; i++) await small.run().read(twice);
  assert.equal([every.recording().detailed.runs, every.recording().kernels[0].timed], [4, 4]);
  always.destroy();
});

test("cold rows take another copy at every launch, those of a batch too", async () => {
  const groups: unknown[] = [];
  const pass = { setPipeline() {}, setBindGroup: (_: number, group: unknown) => void groups.push(group), dispatchWorkgroups() {} };
  const fake = {
    device,
    kind: "batches",
    time: async (launches: ((p: unknown) => void)[]) => {
      for (const launch of launches) for (let i = 0; i < 5; i++) launch(pass);
      return launches.map(() => 1);
    },
  } as unknown as Timer;
  const [fill] = await findChecks("fill");
  const cold = { ...quick, cacheBytes: 3 * 4096 * 4 };
  for await (const _ of measureCheck(device, fake, { ...fill.check, bench: [{ n: 4096 }] }, undefined, cold, { variant: "plain" }));
  assert.ok(groups.length > 20 && new Set(groups).size >= 4, `${groups.length} launches of ${new Set(groups).size} copies`);
  assert.ok(groups.every((g, i) => i === 0 || g !== groups[i - 1]));
});

test("bytes of a launch that touches a part of a binding follow the types of what it touches", async () => {
  const [, write] = (await findChecks("attention_cached")).map((f) => f.check);
  const { R, T, C } = write.bench![0];
  for await (const rows of measureCheck(device, timer, { ...write, bench: write.bench!.slice(0, 1) }, undefined, quick))
    for (const r of rows)
      if (/cache=(f16|f32)$|^$/.test(r.types))
        assert.is(r.bytes, R * T * C * (r.types.includes("cache=f16") ? 2 : 4) + R * T * C * (r.types.includes("x=f16") ? 2 : 4), r.types);
});

test("reports of two timers or adapters are not compared", () => {
  const paths = ["a", "b"].map((name, i) => {
    const path = join(folder, `${name}.json`);
    writeFileSync(path, JSON.stringify({ ...report([row("a:plain", [10])]), timer: i ? "processor" : "timestamps" }));
    return path;
  });
  const flags = { runs: 1, threshold: 0.05, seconds: 1 };
  assert.throws(
    () => compareSides(paths[0], paths[1], flags),
    /more than one timer \(timestamps, processor\); compare runs of one, with or without --cpu/,
  );
});

test("rows of one case with cold and with warm caches are told apart", () => {
  const [cold, warm] = (["cold", "warm"] as const).map((cache) => row("a:plain", [1], { cache, gbs: 1, flops: 1 }));
  assert.is.not(cells(cold)[0], cells(warm)[0]);
});

test("batches, timestamps and processor time agree that more work takes longer", async () => {
  const [, found] = await findChecks("ceiling");
  for (const kind of ["timestamps", "batches", ...(device.capabilities.software ? (["processor"] as const) : [])] as const) {
    const t = new Timer(device, kind, processorTime);
    const sizes = [
      { n: 4096, steps: 1 },
      { n: 4096, steps: 512 },
    ].map((c) => ({ ...c, a: 0.5, b: 1 }));
    const times: number[] = [];
    const f32 = { ...found.check, dtypes: [], bench: sizes };
    for await (const [r] of measureCheck(device, t, f32, undefined, { ...quick, cache: "warm" })) times.push(r.min!);
    assert.ok(times[1] > 4 * times[0], `${kind}: ${times}`);
  }
});

test.run();
