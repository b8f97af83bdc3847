// The package as others get it: packed, unpacked beside an application of its own, type-checked by it, imported, and its command run.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { scratchFolder } from "./tiny_model.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const app = scratchFolder();
const home = join(app, "node_modules", "worldline");

function run(cwd: string, command: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  assert.is(status, 0, `${command} ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

test("a packed package has its entry points: an application's types and calls, and the lab with kernels of its own", () => {
  run(root, "npm", "pack", "--pack-destination", app);
  const packed = readdirSync(app).filter((name) => name.endsWith(".tgz"));
  assert.is(packed.length, 1);
  mkdirSync(home, { recursive: true });
  run(app, "tar", "-xzf", packed[0], "-C", home, "--strip-components", "1");
  // What it depends on, as npm would install it.
  symlinkSync(join(root, "node_modules"), join(home, "node_modules"));
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { version: string };
  const worldline = (...args: string[]) => run(app, process.execPath, join(home, "dist/cli/main.js"), ...args);
  assert.ok(worldline("--version").includes(version));
  assert.match(worldline("inspect", join(home, "dist/world/tabletop/base")), /parameters/);

  writeFileSync(
    join(app, "app.ts"),
    `import { openDevice } from "worldline/engine/node";
import { Tape } from "worldline/engine/tape";
import { linear } from "worldline/engine/ops/index";
import { check, kernel } from "worldline/kernel";

if (typeof kernel !== "function" || typeof check !== "function") throw new Error("worldline/kernel is empty");
const device = await openDevice();
const w = device.tensor([2, 4], { name: "w", data: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8) });
const tape = new Tape(device);
const y = linear(tape.input("x", [1, 4]), w);
tape.keep(y);
const plan = await tape.plan();
plan.write("x", Float32Array.of(1, 1, 1, 1)).run();
const [values] = await plan.read(y);
console.log([...values].join());
process.exit();
`,
  );
  writeFileSync(join(app, "package.json"), '{ "type": "module" }');
  const flags = [
    "--strict",
    "--target",
    "es2023",
    "--lib",
    "es2023",
    "--module",
    "nodenext",
    "--types",
    "node",
    "--typeRoots",
    join(root, "node_modules/@types"),
  ];
  run(app, process.execPath, join(root, "node_modules/typescript/bin/tsc"), ...flags, "app.ts");
  assert.is(run(app, process.execPath, "app.js").trim(), "10,26");

  worldline("bench", "new", "my_op", "--in", "kernels");
  assert.match(worldline("bench", "check", "my_op", "--kernels", "kernels"), /\n4 passed, 0 failed\n$/);
  const inside = spawnSync(process.execPath, [join(home, "dist/cli/main.js"), "bench", "new", "my_op"], { cwd: app, encoding: "utf8" });
  assert.is(inside.status, 1);
  assert.match(inside.stderr, /^bench new: give --in, a folder of your own for my_op/);
});

test.run();
