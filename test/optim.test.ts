// AdamW against the written formula in f64, over parameters of one buffer with a frozen one between them; and going on from saved moments.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parameters, setTrainable, trainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { add, dot, linear } from "../engine/ops/index.ts";
import { adamw, optimizerState } from "../engine/optim.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import { fromBfloat, fromHalf, toBfloat, toHalf } from "../engine/tensor.ts";

const device = await openDevice();
const rng = new Rng(8, "optimizer");

/** Largest difference relative to the size of what is wanted. */
function distance(got: ArrayLike<number>, want: Float64Array): number {
  assert.is(got.length, want.length);
  const rms = Math.sqrt(want.reduce((a, v) => a + v * v, 0) / want.length) || 1;
  return want.reduce(
    (worst, v, i) => (Number.isFinite(got[i]) ? Math.max(worst, Math.abs(got[i] - v) / (Math.abs(v) + rms)) : Infinity),
    0,
  );
}

/** A toy of four parameters in one buffer, one frozen, and a plan whose gradients are its inputs. */
async function toy(data: Float32Array[], clip: number | undefined) {
  const names = ["a", "frozen", "bias", "b"];
  const shapes = [[5, 7], [9], [3], [16, 16]];
  const tensors = device.arena(
    shapes.map((shape, i) => ({ name: names[i], shape })),
    "weights",
    "toy",
  );
  tensors.forEach((t, i) => {
    device.write(t, data[i]);
    t.trainable = names[i] !== "frozen";
  });
  const module = Object.fromEntries(tensors.map((t, i) => [names[i], t]));
  const tape = new Tape(device, { training: true });
  const parts = tensors.map((t, i) => dot(tape.bring(t), tape.input(names[i], shapes[i])));
  tape.backward(parts.reduce((a, b) => add(a, b)));
  const options = { betas: [0.9, 0.95], eps: 1e-5, weightDecay: 0.1, clip, noDecay: (name: string) => name === "bias" } as const;
  const { norm } = adamw(tape, parameters(module), { ...options, lr: tape.scalar("lr", 2e-3), step: tape.scalar("step", 1) });
  tape.keep(norm);
  return { names, tensors, module, norm, plan: await tape.plan() };
}

/** Gradients of parameter i at step t; the same each time. */
const gradientAt = (i: number, t: number, n: number) => new Rng(t, `gradient ${i}`).normals(n, i === 1 ? 5 : 1);

async function runSteps(m: Awaited<ReturnType<typeof toy>>, from: number, to: number): Promise<number> {
  for (let t = from; t <= to; t++) {
    for (const [i, w] of m.tensors.entries()) m.plan.write(m.names[i], gradientAt(i, t, w.size));
    m.plan.set("step", t).run();
  }
  return m.plan.readNumber(m.norm);
}

for (const clip of [undefined, 0.5]) {
  test(`adamw follows the formula for five steps${clip ? " with clipping" : ""}`, async () => {
    const start = [35, 9, 3, 256].map((n) => rng.normals(n));
    const m = await toy(start, clip);
    const norm = await runSteps(m, 1, 5);
    const want = start.map((d) => ({ w: Float64Array.from(d), m: new Float64Array(d.length), v: new Float64Array(d.length) }));
    let n = 0;
    for (let t = 1; t <= 5; t++) {
      const g = want.map((p, i) => gradientAt(i, t, p.w.length));
      n = Math.sqrt([0, 2, 3].reduce((a, i) => a + g[i].reduce((s, v) => s + v * v, 0), 0));
      const factor = clip ? Math.min(1, clip / (n + 1e-6)) : 1;
      for (const i of [0, 2, 3]) {
        const p = want[i];
        for (let k = 0; k < p.w.length; k++) {
          const d = g[i][k] * factor;
          p.m[k] = 0.9 * p.m[k] + 0.1 * d;
          p.v[k] = 0.95 * p.v[k] + 0.05 * d * d;
          p.w[k] *= 1 - (i === 2 ? 0 : 2e-3 * 0.1);
          p.w[k] -= (2e-3 * (p.m[k] / (1 - 0.9 ** t))) / (Math.sqrt(p.v[k]) / Math.sqrt(1 - 0.95 ** t) + 1e-5);
        }
      }
    }
    const got = await device.read(...m.tensors);
    for (const [i, w] of got.entries()) assert.ok(distance(w, want[i].w) < 3e-6, `${m.names[i]} is ${distance(w, want[i].w)} off`);
    assert.equal([...got[1]], [...start[1]], "a frozen parameter must not move");
    assert.ok(Math.abs(norm - n) < 1e-5 * n, `the norm is ${norm} but must be ${n}`);
    const state = optimizerState(device, parameters(m.module));
    const [mean, square] = await device.read(state.get("b.exp_avg")!, state.get("b.exp_avg_sq")!);
    assert.ok(distance(mean, want[3].m) < 3e-6 && distance(square, want[3].v) < 3e-6, "moments are named and in place");
    m.plan.destroy();
  });
}

test("adamw goes on from saved parameters and moments bit for bit", async () => {
  const start = [35, 9, 3, 256].map((n) => rng.normals(n));
  const whole = await toy(start, 0.5);
  await runSteps(whole, 1, 3);
  const saved = await device.read(...whole.tensors);
  const state = optimizerState(device, parameters(whole.module));
  const moments = new Map((await device.read(...state.values())).map((d, i) => [[...state.keys()][i], d]));
  await runSteps(whole, 4, 5);
  const resumed = await toy(saved as Float32Array[], 0.5);
  for (const [name, t] of optimizerState(device, parameters(resumed.module))) device.write(t, moments.get(name)!);
  await runSteps(resumed, 4, 5);
  const [a, b] = [await device.read(...whole.tensors), await device.read(...resumed.tensors)];
  for (const [i, w] of a.entries()) assert.equal([...w], [...b[i]], whole.names[i]);
  whole.plan.destroy();
  resumed.plan.destroy();
});

test("a pattern of parameters: what is frozen has no gradient and no moments, and runs of trained ones share buffers", async () => {
  const tensors = device.arena(
    ["a.weight", "a.norm", "b.weight", "b.norm", "c.weight"].map((name) => ({ name, shape: [name.includes("norm") ? 8 : 4096] })),
    "weights",
    "patterned",
  );
  const module = { a: { weight: tensors[0], norm: tensors[1] }, b: { weight: tensors[2], norm: tensors[3] }, c: { weight: tensors[4] } };
  setTrainable(module, [/norm$/, /^c\./]);
  assert.equal([...trainable(module).keys()], ["a.norm", "b.norm", "c.weight"]);
  const before = device.memory();
  const tape = new Tape(device, { training: true });
  const parts = tensors.map((t, i) => dot(tape.bring(t), tape.input(`g${i}`, t.shape)));
  tape.backward(parts.reduce((x, y) => add(x, y)));
  const options = { lr: tape.scalar("lr", 1), step: tape.scalar("step", 1), betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0 } as const;
  adamw(tape, parameters(module), { ...options, rate: (name) => (name === "c.weight" ? 0.5 : 1) });
  const bytes = 256 + (256 + 4096 * 4);
  assert.is((device.memory().gradients ?? 0) - (before.gradients ?? 0), bytes);
  assert.is((device.memory().moments ?? 0) - (before.moments ?? 0), 2 * bytes);
  assert.equal([...optimizerState(device, parameters(module)).keys()].length, 6);
  const plan = await tape.plan();
  for (const [i, t] of tensors.entries()) plan.write(`g${i}`, new Float32Array(t.size).fill(3));
  plan.run();
  const [a, norm, , , c] = await device.read(...tensors);
  assert.equal(
    [a[0], norm[0], c[0]].map((v) => Math.round(v * 1e6) / 1e6),
    [0, -1, -0.5],
  );
  plan.destroy();
});

test("a gradient or a loss that is not finite changes nothing and is counted", async () => {
  const w = device.tensor([6], { name: "w", data: new Float32Array(6).fill(2) });
  w.trainable = true;
  const tape = new Tape(device, { training: true });
  const loss = dot(tape.bring(w), tape.input("g", [6]));
  tape.backward(loss);
  const other = tape.input("loss", [1]);
  const options = {
    lr: tape.scalar("lr", 0.1),
    step: tape.scalar("step", 1),
    betas: [0.9, 0.95],
    eps: 1e-8,
    weightDecay: 0.1,
    loss: other,
  } as const;
  const { skips } = adamw(tape, new Map([["w", w]]), options);
  const plan = await tape.plan();
  const state = [...optimizerState(device, new Map([["w", w]])).values()];
  const after = async (g: number, l: number) => {
    plan.write("g", new Float32Array(6).fill(g)).write("loss", Float32Array.of(l)).run();
    const [values, m, v, counts] = await device.read(w, ...state, skips);
    return { bits: [...values, ...m, ...v], counts: [...counts] };
  };
  const first = await after(1, 1);
  assert.equal(first.counts, [0, 0]);
  assert.equal(await after(Number.NaN, 1), { bits: first.bits, counts: [1, 1] });
  assert.equal(await after(Number.POSITIVE_INFINITY, 1), { bits: first.bits, counts: [2, 2] });
  assert.equal(await after(1, Number.NaN), { bits: first.bits, counts: [3, 3] });
  const last = await after(1, 1);
  assert.equal(last.counts, [3, 0]);
  assert.not.equal(last.bits, first.bits);
  plan.destroy();
});

const halves = { bf16: (v: number) => fromBfloat(toBfloat(v)), f16: (v: number) => fromHalf(toHalf(v)) };
for (const [dtype, rounded] of Object.entries(halves) as ["bf16" | "f16", (v: number) => number][])
  test(`weights stored as ${dtype} are updated on an f32 master: steps too small for it add up, and a saved master goes on bit for bit`, async () => {
    const start = rng.normals(6 * 8).map(rounded);
    const make = async () => {
      const w = device.matrix([6, 8], { dtype, name: "w" });
      device.write(w, start);
      w.trainable = true;
      const tape = new Tape(device, { training: true });
      tape.backward(dot(linear(tape.input("x", [4, 8]), w), tape.input("dy", [4, 6])));
      const options = { lr: tape.scalar("lr", 1e-5), step: tape.scalar("step", 1), betas: [0.9, 0.95], eps: 1e-8, weightDecay: 0 } as const;
      adamw(tape, new Map([["w", w]]), options);
      const plan = await tape.plan();
      plan.write("x", new Rng(1).normals(32)).write("dy", new Rng(2).normals(24));
      const state = optimizerState(device, new Map([["w", w]]));
      const run = (from: number, to: number) => {
        for (let t = from; t <= to; t++) plan.set("step", t).run();
      };
      return { w, state, run };
    };
    const whole = await make();
    assert.equal([...whole.state.keys()], ["w.exp_avg", "w.exp_avg_sq", "w.master"]);
    whole.run(1, 40);
    const [w, master] = await device.read(whole.w, whole.state.get("w.master")!);
    // A gradient that stays the same moves every weight by the rate, whatever its size.
    for (const [i, v] of start.entries())
      assert.ok(Math.abs(Math.abs(master[i] - v) - 40 * 1e-5) < 2e-6, `weight ${i} moved by ${master[i] - v}`);
    assert.equal(w, master.map(rounded), "what the model reads is the rounded master");
    const half = await make();
    half.run(1, 15);
    const saved = (await device.read(half.w, ...half.state.values())) as Float32Array[];
    const resumed = await make();
    device.write(resumed.w, saved[0]);
    [...resumed.state.values()].forEach((t, i) => void device.write(t, saved[i + 1]));
    resumed.run(16, 40);
    assert.equal(await device.read(resumed.w, ...resumed.state.values()), await device.read(whole.w, ...whole.state.values()));
  });

test.run();
