// One batch of real AURORA pairs is learnt by heart, drawn and named, through the command and its example configuration: loss under 0.01. Skipped
// without the pictures.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { scratchFolder } from "./tiny_model.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const config = join(root, "examples/overfit_aurora.toml");
const there = existsSync(join(root, "../shared/data/aurora-bench/test.json"));
if (!there) console.log("skipped: ../shared/data/aurora-bench is not there");

for (const role of ["cft", "cdm"])
  (there ? test : test.skip)(`eight real pairs are learnt by heart (${role})`, () => {
    const out = join(scratchFolder(), "run");
    const file = config;
    const args = ["--import", "tsx", "cli/main.ts", "train", role, "--config", file, "--out", out];
    const run = spawnSync(process.execPath, args, { cwd: root, encoding: "utf8" });
    assert.is(run.status, 0, run.stderr);
    assert.match(run.stderr, /test\.json: 8 triplets, \d+ left out by max_samples/);
    const log = readFileSync(join(out, "log.jsonl"), "utf8").trim().split("\n");
    const { loss } = JSON.parse(log[log.length - 1]) as { loss: number };
    assert.ok(loss < 0.01, `the loss is ${loss}`);
  });

test.run();
