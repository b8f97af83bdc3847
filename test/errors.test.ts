// The text of errors that people meet in code: shapes, dtypes and arguments, shaders that do not compile, the first NaN. Those of commands are in
// errors_cli.test.ts.

import { writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { ShapeError, WorldlineError } from "../engine/errors.ts";
import { openDevice } from "../engine/node.ts";
import { add, crossEntropy, linear, matmul, rmsnorm, scale, sum } from "../engine/ops/index.ts";
import { Tape } from "../engine/tape.ts";
import { add as addKernel } from "../kernels/elementwise/elementwise.ts";
import { kernel } from "../kernels/kernel.ts";
import { openLogged, scratchFolder } from "./tiny_model.ts";

const device = await openDevice();

/** Asserts that `fn` throws a WorldlineError with this text; a pattern may stand for it. */
async function says(fn: () => unknown, want: string | RegExp, type: new (...args: never[]) => Error = WorldlineError): Promise<void> {
  let thrown: unknown;
  try {
    await fn();
  } catch (error) {
    thrown = error;
  }
  assert.instance(thrown, type);
  const { message } = thrown as Error;
  if (typeof want === "string") assert.is(message, want);
  else assert.match(message, want);
}

const inputs = (...shapes: number[][]) => {
  const tape = new Tape(device);
  return { tape, t: shapes.map((shape, i) => tape.input(`input ${i}`, shape)) };
};

test("shapes that do not fit are refused while recording, with names, shapes and what is needed", async () => {
  const { t } = inputs([4, 128], [256, 64], [100], [4, 10], [3, 5], [4]);
  const [x, w, short, logits, other, four] = t;
  await says(() => linear(x, w), "linear: x (4, 128) and w (256, 64): w must be (out, 128), one column for each of x", ShapeError);
  await says(() => linear(x, short), /^linear: x \(4, 128\) and w \(100\): w must be/, ShapeError);
  await says(
    () => matmul(x, logits),
    /^matmul: a \(4, 128\) and b \(4, 10\): the inner sizes 128 and 4 differ; is one of them to be transposed\?$/,
    ShapeError,
  );
  await says(() => rmsnorm(x, short), "rmsnorm: x (4, 128) and w (100): w needs 128 values, one per column of x", ShapeError);
  await says(() => add(x, other), "add: a (4, 128) and b (3, 5): both must have the same shape", ShapeError);
  const scored = () => crossEntropy(logits, inputs([3]).t[0], four, { denominator: "weights" });
  await says(
    scored,
    "crossEntropy: logits (4, 10) and targets (3) and weights (4): targets and weights need 4 values, one per row of logits",
    ShapeError,
  );
});

test("the stack of a shape error points at the line that recorded the op", () => {
  const { t } = inputs([4, 8], [3, 9]);
  try {
    linear(t[0], t[1]);
    assert.unreachable();
  } catch (error) {
    assert.match((error as Error).stack ?? "", basename(import.meta.url));
  }
});

test("tape.launch refuses missing tensors and numbers, wrong element types, and writing what it reads", async () => {
  const { tape, t } = inputs([4], [4]);
  const [a, b] = t;
  const launch = (tensors: object, numbers: object = { n: 4 }) => tape.launch(addKernel, tensors as never, numbers as never);
  await says(() => launch({ a, b }), 'add: no tensor given for "y"');
  await says(() => launch({ a, b, y: a }), 'add: "y" and "a" are the same tensor; a launch cannot read what it writes');
  await says(() => launch({ a, b: b.reshape(2, 2), y: b }), /"y" and "b" are the same tensor/);
  await says(() => launch({ a, b, y: tape.empty([4]) }, {}), 'add: parameter "n" is missing or not a number');
  await says(() => launch({ a, b, y: tape.empty([4]) }, { n: Number.NaN }), 'add: parameter "n" is missing or not a number');
  await says(() => launch({ a, b: tape.empty([4], "u32"), y: tape.empty([4]) }), /^add: "b" is u32 but must be f32.*; cast it first$/);
});

test("tapes and plans name what they have when asked for something else", async () => {
  const { tape, t } = inputs([4], [4]);
  const y = tape.keep(add(t[0], t[1]));
  tape.scalar("lr", 1);
  await says(() => tape.input("input 0", [4]), 'tape.input: "input 0" is taken; give each input its own name');
  await says(() => tape.backward(y), "backward: sum (4) must be a single value; reduce it first");
  await says(
    () => tape.backward(sum(y)),
    /^backward: nothing trainable led to .*; mark parameters as trainable and make the tape with \{ training: true \}$/,
  );
  await says(() => y.reshape(3, 2), /^reshape: sum \(4\) has 4 values, \(3, 2\) needs another number$/);
  await says(() => tape.empty([2, 0]), /shape \(2, 0\) needs whole numbers of at least 1/);
  const plan = await tape.plan();
  await says(() => plan.write("input 7", new Float32Array(4)), 'plan.write: there is no input "input 7"; this plan has input 0, input 1');
  await says(() => plan.write("input 0", new Float32Array(5)), 'plan.write: "input 0" (4) takes 4 values but 5 were given');
  await says(() => plan.set("rate", 1), 'plan.set: there is no scalar "rate"; this plan has lr');
  const stranger = new Tape(device).empty([4]);
  await says(() => plan.read(stranger), /^activation is not part of this plan; record it on the same tape before planning$/);
});

/** A kernel of one output whose shader is given. */
function kernelOf(name: string, wgsl: string) {
  const path = join(scratchFolder(), `${name}.wgsl`);
  writeFileSync(path, wgsl);
  return kernel({ name, source: pathToFileURL(path), reads: [], writes: ["y"], params: { n: "u32" }, grid: () => [1] });
}

const shader = (body: string) => `// A shader for a test.
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> p: Params;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  ${body}
}
`;

async function planOf(...kernels: ReturnType<typeof kernelOf>[]) {
  const tape = new Tape(device);
  const y = tape.keep(tape.empty([4]));
  for (const k of kernels) tape.launch(k, { y }, { n: 4 });
  const plan = await tape.plan();
  return (await plan.run().read(y))[0];
}

test("a shader that does not compile names file, line, column and message, and quotes the line", async () => {
  const wrong = kernelOf("wrong", shader("y[id.x] = nonsense(p.n);"));
  await says(
    () => planOf(wrong),
    /^wrong:plain does not compile: [^\s:]+\/wrong\.wgsl:7:13: .*unresolved.*nonsense.*\n {4}y\[id\.x\] = nonsense\(p\.n\);$/,
  );
});

test("all shaders that do not compile are named together, each once, and the device goes on", async () => {
  const first = kernelOf("first_wrong", shader("y[id.x] = nonsense;"));
  const second = kernelOf("second_wrong", shader("y[id.x] = 1u;"));
  const fine = kernelOf("fine", shader("if (id.x < p.n) { y[id.x] = f32(id.x); }"));
  await says(
    () => planOf(first, fine, second, first),
    /^first_wrong:plain does not compile: [^\n]*\n[^\n]*\nsecond_wrong:plain does not compile: [^\n]*\n[^\n]*1u;$/,
  );
  assert.equal([...(await planOf(fine))], [0, 1, 2, 3]);
});

test("a shader file that is not there is named", async () => {
  const k = { ...kernelOf("absent", ""), name: "absent" };
  const gone = { ...k, variants: k.variants.map((v) => ({ ...v, source: pathToFileURL(join(scratchFolder(), "absent.wgsl")) })) };
  await says(() => planOf(gone), /absent\.wgsl cannot be read: ENOENT/);
});

test("GPU_DEBUG=4 names the launch that made the first NaN and the line that recorded it", async () => {
  const { device: watched } = await openLogged(4);
  const tape = new Tape(watched);
  const x = tape.input("x", [2, 3]);
  const doubled = scale(x, 2);
  const normed = tape.scope("block7", () => rmsnorm(doubled, watched.tensor([3], { name: "w", data: Float32Array.of(1, Number.NaN, 1) })));
  const line = Number(/errors\.test\.ts:(\d+)/.exec(new Error("here").stack ?? "")?.[1]) - 1;
  const y = tape.keep(add(normed, doubled));
  const plan = await tape.plan();
  plan.write("x", Float32Array.of(1, 2, 3, 4, 5, 6)).run();
  const want = `^the first NaN or infinity came from launch 1, rmsnorm:\\S+ \\[[\\dx]+\\] block7: x \\(2, 3\\) w \\(3\\) y \\(2, 3\\) rstd \\(2\\) .*, recorded at .*errors\\.test\\.ts:${line}:\\d+`;
  await says(() => plan.read(y), new RegExp(want));
  watched.destroy();
});

test("GPU_DEBUG=4 finds infinities, and says nothing where all is finite", async () => {
  const { device: watched } = await openLogged(4);
  const tape = new Tape(watched);
  const y = tape.keep(scale(tape.input("x", [2]), 1e38));
  const plan = await tape.plan();
  assert.ok(Math.abs((await plan.write("x", Float32Array.of(1, 2)).run().read(y))[0][1] / 2e38 - 1) < 1e-6);
  plan.write("x", Float32Array.of(1, 10)).run();
  await says(() => plan.read(y), /^the first NaN or infinity came from launch 0, accumulate:/);
  watched.destroy();
});

test("GPU_DEBUG=2 and 3 print launches and shader text", async () => {
  const { device: loud, lines } = await openLogged(3);
  assert.match(lines[0], /subgroups/);
  const tape = new Tape(loud);
  const y = tape.keep(add(tape.input("a", [4]), tape.input("b", [4])));
  const plan = await tape.plan();
  await plan.run().read(y);
  assert.ok(
    lines.some((l) => l.startsWith("--- add:") && l.includes("fn main")),
    "no shader text",
  );
  assert.ok(
    lines.some((l) => /^add:\S+ \[1\] a \(4\) b \(4\) y \(4\) n=4$/.test(l)),
    lines.filter((l) => !l.startsWith("---")).join("\n"),
  );
  loud.destroy();
});

test("a forced variant that does not exist is refused with those that do", async () => {
  process.env.KERNEL = "add:fastest";
  const forced = await openDevice();
  delete process.env.KERNEL;
  const tape = new Tape(forced);
  const message = /^KERNEL=add:fastest: there is no such variant; choose one of (\w+, )*plain$/;
  await says(() => add(tape.input("a", [4]), tape.input("b", [4])), message);
  forced.destroy();
});

test.run();
