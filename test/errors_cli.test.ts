// What commands say when something is wrong: run as people run them, each must end with exit code 1, one sentence on stderr, no stack trace and
// nothing half-written. Also what a command says and goes on.

import { spawnSync } from "node:child_process";
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { cases, folder, linux, noAdapter } from "./errors_cli_cases.ts";
import { runCommand, testCases } from "./errors_cli_run.ts";

/** Everything below the scratch folder. */
const listing = () => readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();

const kept = listing();
await testCases(folder, cases);
const left = listing();

test("no command that failed left anything behind", () => {
  const made = left.filter((name) => !kept.includes(name) && !name.startsWith("frames"));
  assert.equal(made, []);
  assert.equal(
    kept.filter((name) => !left.includes(name)),
    [],
  );
});

test("an action with unknown words is carried out, and said", async () => {
  const { code, said } = await runCommand(folder, [
    "edit",
    "--cwm",
    "model",
    "--image",
    "picture.png",
    "--action",
    "frobnicate the zebra",
    "--out",
    "zebra.png",
    "--candidates",
    "2",
  ]);
  assert.is(code, 0, said.join("\n"));
  assert.is(said[0], 'note: the model\'s vocabulary has no whole token for "frobnicate", "zebra"; spelled out, expect poor results');
  assert.match(said[said.length - 1], /^zebra\.png: 48 x 48, candidate 1 of 2$/);
  assert.equal(
    [...readFileSync(join(folder, "zebra.png")).subarray(1, 4)],
    [..."PNG"].map((c) => c.charCodeAt(0)),
  );
});

if (existsSync("/dev/full"))
  test("standard output that cannot be written is said, with exit code 1", () => {
    const full = openSync("/dev/full", "w");
    const args = [
      "--import",
      "tsx",
      fileURLToPath(new URL("../cli/main.ts", import.meta.url)),
      "tokenize",
      "-m",
      "world/tabletop/base",
      "one",
    ];
    const { status, stderr } = spawnSync(process.execPath, args, {
      stdio: ["ignore", full, "pipe"],
      encoding: "utf8",
      cwd: fileURLToPath(new URL("..", import.meta.url)),
    });
    closeSync(full);
    assert.equal([status, stderr], [1, "standard output: not written, the disk is full; make room\n"]);
  });

if (linux) {
  test("doctor says what is missing and how to mend it", async () => {
    const { code, out, said } = await runCommand(folder, ["doctor"], noAdapter);
    assert.is(code, 1);
    assert.equal(said, []);
    assert.match(out, /^tried +system drivers: no (driver|loader) /m);
    assert.match(out, /^result +no WebGPU adapter$/m);
    assert.match(out, /^to mend it +npm run doctor -- --install$/m);
  });

  test("doctor --adapter hardware does not take a software adapter", async () => {
    const { code, out } = await runCommand(folder, ["doctor", "--adapter", "hardware", "--json"], noAdapter);
    assert.is(code, 1);
    const { ok, adapter, remedy } = JSON.parse(out) as { ok: boolean; adapter: unknown; remedy: string };
    assert.equal(
      { ok, adapter, remedy },
      { ok: false, adapter: null, remedy: "install the graphics card's Vulkan driver, or use --adapter software" },
    );
  });
}

test.run();
