// The whole method once through, from data to report.html: the quick preset of the demo as people run it; then that a rerun has nothing to do,
// and, at a smaller size, that the same seed gives the same report twice and that an interrupted run goes on to the same end.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import type { Report } from "../world/report.ts";
import { runSeed } from "../world/tabletop/demo.ts";
import { demoReport } from "../world/tabletop/demo_report.ts";
import { presets } from "../world/tabletop/presets.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const base = join(root, "world/tabletop/base");
const folder = mkdtempSync(join(tmpdir(), "worldline-demo-"));
const quick = ["--import", "tsx", "cli/main.ts", "demo", "--preset", "quick", "--out", join(folder, "quick")];

test("the quick preset goes from data to report, and its losses fall", () => {
  const run = spawnSync(process.execPath, quick, { cwd: root, encoding: "utf8" });
  assert.is(run.status, 0, run.stderr);
  const report = JSON.parse(readFileSync(join(folder, "quick", "report.json"), "utf8")) as Report;
  for (const system of ["copy", "ft", "ft_weighted", "ft_synthetic", "cwm", "cwm_k4", "cwm_k8"] as const) {
    const r = report.success[system]!;
    assert.is(r.n, presets.quick.demo.test, system);
    assert.ok(r.low <= r.value && r.value <= r.high, system);
  }
  assert.is(report.success.copy!.value, 0);
  assert.ok(report.oracle.vq_error.value < 0.05, "the oracle misjudges reconstructed truths");
  assert.ok(report.oracle.vq_cell_error.value < 0.02, "the oracle misreads reconstructed truths");
  for (const name of ["cdm", "ft", "ft_weighted", "ft_synthetic", "cwm"]) {
    const losses = report.curves[name].map((c) => c.loss);
    assert.ok(losses[losses.length - 1] < 0.8 * losses[0], `${name}: ${losses.join(" ")}`);
    assert.ok(report.training[name].host_share < 0.5);
  }
  for (const model of ["base", "cdm", "cwm"] as const) assert.ok(Object.keys(report.probe[model]!).length >= 5, model);
  assert.is(report.data.key_frames.found, report.data.key_frames.true);
  const html = readFileSync(join(folder, "quick", "report.html"), "utf8");
  assert.ok(html.includes("data:image/png;base64,") && !/(src|href)="http/.test(html));
});

test("a rerun finds every stage done", () => {
  const before = statSync(join(folder, "quick", "seed-0", "models", "cwm", "model.safetensors")).mtimeMs;
  const run = spawnSync(process.execPath, quick, { cwd: root, encoding: "utf8" });
  assert.is(run.status, 0, run.stderr);
  assert.not.ok(/^\* /m.test(run.stderr), run.stderr);
  assert.is(statSync(join(folder, "quick", "seed-0", "models", "cwm", "model.safetensors")).mtimeMs, before);
});

const { demo, ...rest } = presets.quick;
const small = {
  ...demo,
  labels: 20,
  test: 5,
  clips: 2,
  clipActions: [3, 4] as const,
  cdm: { ...demo.cdm, steps: 6, batch: 8 },
  cwm: { ...demo.cwm, steps: 6, batch: 8 },
  candidates: 4,
  ablations: false,
};
const preset = { ...rest, demo: small };
const silent = { say: () => undefined, progress: () => () => undefined };
const about = { worldline: "", preset: "", command: "", versions: {} };

/** A report without its times; the run is stopped at the first progress of each of the works. */
async function timeless(out: string, stops: string[] = []): Promise<unknown> {
  const device = await openDevice();
  for (const work of stops) {
    const stop = new AbortController();
    const progress = (name: string) => () => name === work && stop.abort(new Error(`stopped in ${work}`));
    const end = await runSeed({ device, preset, base, hooks: { ...silent, progress, signal: stop.signal } }, out, 3).catch(
      (e: Error) => e.message,
    );
    assert.is(end, `stopped in ${work}`);
  }
  const context = { device, preset, base, hooks: silent };
  const report = await demoReport(context, [await runSeed(context, out, 3)], about);
  return { ...report, seconds: {}, training: {} };
}

test("the same seed gives the same report, also when it was interrupted on the way", async () => {
  const first = await timeless(join(folder, "a"));
  assert.equal(await timeless(join(folder, "b")), first);
  assert.equal(await timeless(join(folder, "c"), ["clips", "encoding", "cdm", "pairs", "cwm"]), first);
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
