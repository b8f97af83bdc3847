// Experiments: the shipped files are read, mistakes are said, and tables hold what hand-made outcomes say.
// Run: node --import tsx test/experiment.test.ts
import { readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import type { SeedOutcome } from "../world/experiment.ts";
import { parseExperiment, readExperiment } from "../world/experiment_config.ts";
import { annotationRows, experimentHtml, experimentRows, overSeeds, t95 } from "../world/experiment_report.ts";
import { defaultWorld, makeWorld, type Tabletop } from "../world/tabletop/world.ts";

const folder = fileURLToPath(new URL("../examples/experiments/", import.meta.url));

test("the shipped experiments are read, and their test worlds can be made", async () => {
  const files = readdirSync(folder).sort();
  assert.equal(files, ["annotation_quality.toml", "figure4.toml", "spatial_count.toml", "table4.toml", "transfer.toml", "verifier.toml"]);
  for (const file of files) {
    const config = await readExperiment(folder + file);
    assert.is(config.seeds.length, 3, file);
    makeWorld({ ...defaultWorld, ...config.transfer } as Partial<Tabletop>);
  }
  const { system } = await readExperiment(`${folder}figure4.toml`);
  assert.equal(
    system.map((s) => s.k),
    [1, 2, 4, 8],
  );
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
  assert.is(overSeeds([0.5], 100), "50.0 (40.4 to 59.6)");
  assert.is(overSeeds([0.2, 0.4], 10), "30.0 (-97.1 to 157.1)");
  const config = parseExperiment(`${head}[[system]]\nname = "a"\n[[system]]\nname = "b"\nsynthetic = false\n`, "e.toml");
  const outcome = (seed: number, a: number, b: number): SeedOutcome => ({
    seed,
    test: 10,
    cdm: 0.5,
    annotations: 0.4,
    pairs: 20,
    kept: { a: { pairs: 8, valid: 0.9 } },
    systems: [
      { system: "a", success: a, done: a, minimal: 1, families: { move: a } },
      { system: "b", success: b, done: b, minimal: 1, families: { move: b } },
    ],
  });
  const outcomes = [outcome(0, 0.6, 0.4), outcome(1, 0.8, 0.6)];
  const { head: titles, rows } = experimentRows(config, outcomes);
  assert.equal(titles, ["system", "right %", "minus a", "edit done %", "nothing else %", "move"]);
  assert.equal([rows[0][2], rows[1][0], rows[1][5]], ["", "b", "50.0"]);
  assert.match(rows[1][2], /^-20\.0 \(-20\.0 to -20\.0\)$/);
  assert.equal(annotationRows(outcomes)[2], ["kept for a", "90.0 (90.0 to 90.0)", "8"]);
  const page = experimentHtml({ ...config, title: "<i>" }, outcomes, { command: "worldline experiment" });
  assert.ok(page.includes("&#60;i&#62;") && page.includes("Student") && !/https?:\/\//.test(page));
});

test.run();
