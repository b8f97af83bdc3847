// Experiments: the shipped files are read, mistakes are said, tables hold what hand-made outcomes say, and a tiny grid that is stopped at every stage ends with
// the same files as one that is not, its numbers being those of its predictions judged anew; experiments in one folder train each distinct model once.
// Run: node --import tsx test/experiment.test.ts
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { Device } from "../engine/device.ts";
import { openDevice } from "../engine/node.ts";
import { type PickedPrediction, runExperiments, type SeedOutcome } from "../world/experiment.ts";
import { type ExperimentConfig, parseExperiment, readExperiment, resized } from "../world/experiment_config.ts";
import { type ExperimentHooks, type ExperimentPlace, testedWorld } from "../world/experiment_data.ts";
import {
  difference,
  experimentHtml,
  inPercent,
  labelLines,
  labelRows,
  overSeeds,
  systemLines,
  systemRows,
  t95,
} from "../world/experiment_report.ts";
import { loadModel } from "../world/model.ts";
import { readRecords, type TripletRecord } from "../world/records.ts";
import { verdictOn } from "../world/tabletop/evaluate.ts";
import { explains, type Verdict } from "../world/tabletop/oracle.ts";
import { presets, shippedBase } from "../world/tabletop/presets.ts";
import { triplet } from "../world/tabletop/samples.ts";
import { defaultWorld, type Tabletop } from "../world/tabletop/world.ts";

import { scratchFolder } from "./tiny_model.ts";

const folder = fileURLToPath(new URL("../examples/experiments/", import.meta.url));

test("the shipped experiments are read, and their test worlds can be made", async () => {
  const files = readdirSync(folder).sort();
  assert.equal(files, ["annotation_quality.toml", "figure4.toml", "spatial_count.toml", "table4.toml", "transfer.toml", "verifier.toml"]);
  for (const file of files) {
    const config = await readExperiment(folder + file);
    assert.is(config.seeds.length, 3, file);
    testedWorld(defaultWorld, config);
  }
  const { system } = await readExperiment(`${folder}figure4.toml`);
  assert.equal(
    system.map((s) => s.k),
    [1, 2, 4, 8],
  );
  const half = resized(await readExperiment(`${folder}figure4.toml`), 0.5, [7]);
  assert.equal([half.labels, half.clips, half.cdm_steps, half.cwm_steps, half.test, half.seeds], [1000, 150, 1000, 600, 200, [7]]);
});

test("scenes unlike the training ones are judged by their own rules", async () => {
  const config = await readExperiment(`${folder}transfer.toml`);
  const tested = testedWorld(defaultWorld, config);
  const list = Array.from({ length: 200 }, (_, i) => triplet(tested, 3000 + i));
  const right = (world: Tabletop) => list.filter((t) => explains(world, t.text, t.before, t.after)).length;
  assert.is(right(tested), 200);
  assert.ok(right(defaultWorld) < 190, "the training world's rules would do as well here");
  assert.throws(() => testedWorld(defaultWorld, { ...config, transfer: { noize: 1 } }), /unknown setting "noize"/);
});

const head = 'title = "t"\nquestion = "q"\nseeds = [0, 1]\nlabels = 1\ntest = 10\nclips = 1\ncdm_steps = 1\ncwm_steps = 1\n';

test("mistakes are said in one sentence with the field's name", () => {
  const wrong = (text: string, message: RegExp) => assert.throws(() => parseExperiment(text, "e.toml"), message);
  wrong("title =", /^e\.toml is no TOML/);
  wrong(head, /e\.toml: system: /);
  wrong(`${head}[[system]]\nname = "a"\nkeeps = 1\n`, /e\.toml: system\.0: .*keeps/);
  wrong(`${head}[[system]]\nname = "a"\nkeep = 2\n`, /e\.toml: system\.0\.keep: /);
  wrong(`${head}[[system]]\nname = "a"\n[[system]]\nname = "a"\n`, /two systems are called "a"/);
  wrong(`${head}[[system]]\nname = "a"\nk = 4\n`, /"a" draws 4 pictures but has no verifier to pick one/);
  wrong(`${head}families = ["walk"]\n[[system]]\nname = "a"\n`, /e\.toml: families\.0: /);
});

test("tables: means over seeds with Student's interval, one seed with Wilson's, differences paired by seed", () => {
  for (const [df, t] of [
    [1, 12.7062],
    [2, 4.302653],
    [9, 2.262157],
  ])
    assert.ok(Math.abs(t95(df) - t) < 1e-4, `t of ${df}: ${t95(df)}`);
  assert.is(inPercent(overSeeds([0.5], 100)), "50.0 (40.4 to 59.6)");
  assert.is(inPercent(overSeeds([0.2, 0.4], 10)), "30.0 (0.0 to 100.0)");
  assert.is(inPercent(overSeeds([0.3, 0.31, 0.32], 10)), "31.0 (28.5 to 33.5)");
  const third = '[[system]]\nname = "c"\nkeep = 0.5\n';
  const config = parseExperiment(`${head}[[system]]\nname = "a"\n[[system]]\nname = "b"\nk = 2\nverifier = "self"\n${third}`, "e.toml");
  const system = (name: string, success: number) => ({
    ...{ system: name, success, done: success, minimal: 1, families: { move: success } },
    right: Array.from({ length: 10 }, (_, i) => i < 10 * success),
  });
  const outcome = (seed: number, a: number, b: number): SeedOutcome => ({
    ...{ seed, test: 10, cdm: 0.5, annotations: 0.4, pairs: 20 },
    kept: { a: { pairs: 8, valid: 0.9 }, b: { pairs: 8, valid: 0.9 }, c: { pairs: 10, valid: 0.6 } },
    systems: [system("a", a), system("b", b), system("c", 0)],
  });
  const outcomes = [outcome(0, 0.6, 0.4), outcome(1, 0.8, 0.6)];
  const { head: titles, lines } = systemLines(systemRows(config, outcomes));
  assert.equal(titles, ["system", "right %", "minus the first", "edit done %", "nothing else %", "move"]);
  assert.equal([lines[0][2], lines[1][0], lines[1][5]], ["", "b", "50.0"]);
  assert.is(lines[1][2], "-20.0 (-20.0 to -20.0)");
  assert.equal(labelLines(labelRows(config, outcomes)).lines.slice(2), [
    ["kept for a, b", "90.0 (90.0 to 90.0)", "8"],
    ["kept for c", "60.0 (60.0 to 60.0)", "10"],
  ]);
  // A filter that keeps nothing on one seed, whichever it is.
  for (const gone of [0, 1]) {
    const some = outcomes.map((o, i) => (i === gone ? { ...o, kept: { a: o.kept.a, b: o.kept.b } } : o));
    assert.equal(labelLines(labelRows(config, some)).lines.slice(3), [["kept for c", "60.0 (31.3 to 83.2)", "10"]]);
  }
  // Ten records, two of them right by a alone and none by b alone: -0.2 with a standard error of sqrt(0.16 / 9) and t = 2.262.
  assert.is(inPercent(difference([system("b", 0.4)], [system("a", 0.6)])), "-20.0 (-50.2 to 10.2)");
  const page = experimentHtml({ ...config, title: "<i>" }, outcomes, { command: "worldline experiment" });
  assert.ok(page.includes("&#60;i&#62;") && page.includes("paired by seed") && !/https?:\/\//.test(page));
  assert.ok(page.includes("<b>\u221220.0</b>"), "a difference whose interval leaves out 0 is in bold");
  const single = experimentHtml(config, outcomes.slice(0, 1), {});
  assert.ok(single.includes("paired by scene") && single.includes("\u221220.0 <span") && !single.includes("<b>\u221220.0"));
});

test("a chart over the number of drawings is drawn where systems differ in nothing else", async () => {
  const config = await readExperiment(`${folder}figure4.toml`);
  const systems = config.system.map(({ name }, i) => ({
    ...{ system: name, right: [true, i > 1], success: (1 + i) / 5, done: 1, minimal: 1, families: { move: 1 } },
  }));
  const outcomes = [{ seed: 0, test: 2, cdm: 1, annotations: 1, pairs: 1, kept: {}, systems }];
  const chart = (system: ExperimentConfig["system"]) =>
    /aria-label="Right, by[^"]*"/.exec(experimentHtml({ ...config, system }, outcomes, {}))?.[0];
  assert.match(chart(config.system)!, /right 20\.0% at 1, 40\.0% at 2, 60\.0% at 4, 80\.0% at 8"/);
  assert.is(chart(config.system.map((s, i) => (i === 2 ? { ...s, verifier: "oracle" as const } : s))), undefined);
  assert.is(chart(config.system.map((s, i) => (i === 0 ? { ...s, weights: true } : s))), undefined);
});

const tiny = `title = "t"
question = "q"
seeds = [3]
labels = 12
test = 10
clips = 2
clip_actions = [3, 4]
cdm_steps = 4
cwm_steps = 3
[[system]]
name = "one"
[[system]]
name = "own"
k = 3
verifier = "self"
[[system]]
name = "most"
k = 3
verifier = "oracle"
[[system]]
name = "plain, other"
synthetic = false
weights = false
k = 2
verifier = "other-seed"
`;

const base = fileURLToPath(shippedBase("default"));
const quiet = () => () => undefined;
const place = (folder: string): ExperimentPlace => ({ folder, world: presets.default.world, base });

async function outcomesOf(device: Device, config: ExperimentConfig, at: ExperimentPlace, hooks: ExperimentHooks): Promise<SeedOutcome[]> {
  for await (const outcomes of runExperiments(device, [config], at, hooks)) return outcomes;
  throw new Error("no outcome");
}

test("a tiny grid stopped after every stage ends as an undisturbed one, and its numbers are those of its own predictions", async () => {
  const device = await openDevice();
  const config = parseExperiment(tiny, "tiny.toml");
  const [calm, stopped] = [scratchFolder(), scratchFolder()];
  let titles = 0;
  const [outcome] = await outcomesOf(device, config, place(calm), { say: () => titles++, progress: quiet });

  // Each run of the second folder is stopped as its second stage is announced.
  let runs = 0;
  let last: SeedOutcome[] | undefined;
  for (; !last && runs < 3 * titles; runs++) {
    const stop = new AbortController();
    let stages = 0;
    const say = (text: string) => {
      if (text.startsWith("*") && ++stages === 2) stop.abort(new Error("stopped"));
      if (stages === 2) throw new Error("stopped");
    };
    last = await outcomesOf(device, config, place(stopped), { say, progress: quiet, signal: stop.signal }).catch((error: Error) => {
      assert.is(error.message, "stopped");
      return undefined;
    });
  }
  assert.ok(runs > 10, `stopped ${runs - 1} times`);
  assert.equal(last, [outcome]);

  const seed = (place: string, file: string) => readFileSync(join(place, "seed-3", file), "utf8");
  const lists = readdirSync(join(calm, "seed-3")).filter((name) => name.startsWith("drawn"));
  assert.is(lists.length, 7, lists.join());
  for (const file of lists) assert.is(seed(stopped, file), seed(calm, file), file);

  // The oracle judges the kept choices anew, scene by scene.
  const model = await loadModel(device, base);
  const name = lists[0].split(" ")[1];
  const records = await readRecords<TripletRecord>(join(calm, "seed-3", "tests", `${name}.jsonl`));
  assert.is(outcome.test, records.length);
  const ends = [
    /^drawn \S+ cwm-synthetic-0\.4-0\.8-\w+ k1 t0\.85 by none\.jsonl$/,
    /^drawn \S+ cwm-synthetic-0\.4-0\.8-\w+ k3 t0\.85 by cdm-\w+\.jsonl$/,
    /^drawn \S+ cwm-synthetic-0\.4-0\.8-\w+ k3 t0\.85 by oracle\.jsonl$/,
    /^drawn \S+ plain-labels-\w+ k2 t0\.85 by cdm-\w+-other-seed\.jsonl$/,
  ];
  for (const [i, { system, success, done, minimal, families }] of outcome.systems.entries()) {
    const { k, verifier } = config.system[i];
    const file = lists.find((f) => ends[i].test(f));
    assert.ok(file, `${system}: ${lists.join(", ")}`);
    const lines = seed(calm, file).trim().split("\n");
    const list = lines.map((line) => JSON.parse(line) as PickedPrediction);
    const verdicts: Verdict[] = [];
    for (const [r, p] of list.entries()) {
      assert.is(p.candidates.length, k);
      const pictures = await model.pictures.decode(p.candidates, p.columns);
      const all = pictures.map((picture) => verdictOn(presets.default.world, records[r], picture));
      if (verifier === "self" || verifier === "other-seed") assert.is(p.scores[p.best], Math.max(...p.scores));
      if (verifier === "oracle")
        assert.is(
          all[p.best].success,
          all.some((v) => v.success),
        );
      verdicts.push(all[p.best]);
    }
    const share = (key: "success" | "done" | "minimal") => verdicts.filter((v) => v[key]).length / verdicts.length;
    assert.equal([success, done, minimal], [share("success"), share("done"), share("minimal")], system);
    const mean = Object.values(families).reduce((a, b) => a + b, 0) / Object.keys(families).length;
    assert.ok(Math.abs(mean - success) < 1e-9, "families come in equal shares");
  }
  const annotated = readdirSync(join(calm, "seed-3")).find((f) => f.startsWith("annotated"))!;
  const kept = seed(calm, annotated).trim().split("\n").length;
  assert.equal([outcome.pairs, outcome.kept.one.pairs, outcome.kept["plain, other"]], [kept, Math.round(0.4 * kept), undefined]);

  // Another experiment uses what is there; another world is refused.
  const more = parseExperiment(`${tiny}[[system]]\nname = "two"\nk = 2\nverifier = "self"\n`, "more.toml");
  const said: string[] = [];
  const [second] = await outcomesOf(device, more, place(calm), { say: (text) => said.push(text), progress: quiet });
  assert.equal(second.systems.slice(0, 4), outcome.systems);
  assert.equal(
    said.filter((text) => text.startsWith("*")).map((text) => text.replace(/-[0-9a-f]{8}/, "")),
    ["* cwm-synthetic-0.4-0.8: 2 drawings a scene", "* two: picked by self and judged"],
  );
  const other = { ...place(calm), world: { ...presets.default.world, noise: 0.02 } };
  let refused = "";
  await outcomesOf(device, config, other, { say: () => undefined, progress: quiet }).catch((error: Error) => {
    refused = error.message;
  });
  assert.match(refused, /holds a run with other settings/);
});

test("experiments of one run train each distinct model once, and make data, clips, labels and drawings once", async () => {
  const device = await openDevice();
  const small = (c: ExperimentConfig): ExperimentConfig => ({
    ...c,
    seeds: [1],
    ...{ labels: 6, test: 5, clips: 1, clip_actions: [8, 9], cdm_steps: 2, cwm_steps: 1 },
    system: c.system.map((s) => ({ ...s, k: Math.min(s.k, 2), threshold: s.threshold && -100 })),
  });
  const files = ["verifier", "annotation_quality", "figure4", "table4", "transfer", "spatial_count"];
  const configs: ExperimentConfig[] = [];
  for (const file of files) configs.push(small(await readExperiment(`${folder}${file}.toml`)));
  // The same labels and dynamics model, longer training of the world model.
  configs.push({ ...small({ ...configs[0], system: configs[0].system.slice(0, 1) }), cwm_steps: 2 });
  const said: string[] = [];
  const seen: SeedOutcome[][] = [];
  const hooks = { say: (text: string) => said.push(text), progress: quiet };
  for await (const outcomes of runExperiments(device, configs, place(scratchFolder()), hooks)) seen.push(outcomes);
  assert.equal(
    seen.map(([o]) => o.systems.length),
    configs.map((c) => c.system.length),
  );
  const stages = said.filter((text) => text.startsWith("* ")).map((text) => text.slice(2));
  assert.equal(
    stages
      .flatMap((text) => /^training (.*)$/.exec(text)?.[1] ?? [])
      .map((name) => name.replace(/-[0-9a-f]{8}/, ""))
      .sort(),
    [
      "cdm",
      "cdm-other-seed",
      "cwm-labels-0.8",
      "cwm-synthetic-0.15-0.8",
      "cwm-synthetic-0.4-0.8",
      "cwm-synthetic-0.4-0.8",
      "cwm-synthetic-0.7-0.8",
      "cwm-synthetic-1-0.8",
      "cwm-synthetic-1-100-0.8",
      "plain-labels",
      "plain-synthetic-0.4",
    ],
  );
  const count = (what: RegExp) => stages.filter((text) => what.test(text)).length;
  assert.equal(
    [
      /labelled triplets/,
      /triplets for testing/,
      /^1 clips/,
      /key frames/,
      /names the actions of clips/,
      /names the actions of the test/,
    ].map(count),
    [1, 3, 1, 1, 1, 3],
  );
  // On the plain scenes nine world models draw once and two of them twice; on those of transfer and of spatial edits two draw once and one twice.
  assert.equal([count(/ 1 drawing a scene/), count(/ 2 drawings a scene/)], [9 + 2 + 2, 2 + 1 + 1]);
  // By both dynamics models and the oracle in the first file, once for figure4's three equal systems, once in each of the last two.
  assert.is(count(/picked by/), 3 + 1 + 1 + 1);
});

test.run();
