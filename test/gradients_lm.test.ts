// Gradients of the language model's small ops: the f64 gradients against central differences of the f64 forward, then each op through a
// training tape against the f64 gradients. The loss is the dot product with random numbers.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import {
  add,
  cast,
  crossEntropy,
  dot,
  embedding,
  gatherRows,
  headNormRope,
  layerNorm,
  permute,
  rmsnorm,
  rope,
  ropeTable,
  scale,
  swiglu,
  swigluLinear,
} from "../engine/ops/index.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { gatherLoops, scatterLoops } from "../kernels/embedding/embedding.check.ts";
import type { Values } from "../kernels/kernel.ts";
import { layerNormDwLoops, layerNormDxLoops, layerNormLoops } from "../kernels/layer_norm/layer_norm.check.ts";
import { rmsnormDwLoops, rmsnormDxLoops, rmsnormLoops } from "../kernels/rmsnorm/rmsnorm.check.ts";
import { ropeLoops } from "../kernels/rope/rope.check.ts";
import { gatedProductLoops, swigluBackwardLoops, swigluLoops } from "../kernels/swiglu/swiglu.check.ts";

const device = await openDevice();
const rng = new Rng(8, "gradients of small ops");

type Arrays = Record<string, Float64Array>;
interface Case {
  readonly shapes: Record<string, readonly number[]>;
  /** The result in f64. */
  readonly forward: (x: Arrays) => Float64Array;
  /** The part of the result that gradients see, where that is less than all. */
  readonly seen?: (x: Arrays) => Float64Array;
  /** Gradient of every input for the gradient dy of the result, in f64. */
  readonly gradient: (x: Arrays, dy: Float64Array) => Arrays;
  /** The op under test on trainable tensors that were brought onto the tape. */
  readonly op: (x: Record<string, Tensor>) => Tensor;
  readonly tolerance?: number;
}

/** The checks' loops read any array of numbers; here they get f64. */
const as = (x: Record<string, Float64Array | Uint32Array | number>) => x as unknown as Values;
const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const sum = (n: number, of: (i: number) => number) => Array.from({ length: n }, (_, i) => of(i)).reduce((a, v) => a + v, 0);
const weigh = (y: Float64Array, w: Float64Array) => y.reduce((sum, v, i) => sum + v * w[i], 0);
/** Drawn in f32, so that device and reference start from the same numbers. */
const draw = (n: number) => Float64Array.from(rng.normals(n));
const words = (name: string, data: Uint32Array) => device.tensor([data.length], { dtype: "u32", name, data });

/** Largest difference relative to the size of what is wanted. */
function distance(got: ArrayLike<number>, want: Float64Array): number {
  assert.is(got.length, want.length);
  const rms = Math.sqrt(want.reduce((a, v) => a + v * v, 0) / want.length) || 1;
  return want.reduce(
    (worst, v, i) => (Number.isFinite(got[i]) ? Math.max(worst, Math.abs(got[i] - v) / (Math.abs(v) + rms)) : Infinity),
    0,
  );
}

function differences(c: Case, x: Arrays, dy: Float64Array): Arrays {
  const h = 1e-5;
  const at = (name: string, i: number, step: number) => {
    const moved = { ...x, [name]: x[name].slice() };
    moved[name][i] += step;
    return weigh((c.seen ?? c.forward)(moved), dy);
  };
  return Object.fromEntries(
    Object.entries(x).map(([name, values]) => [name, values.map((_, i) => (at(name, i, h) - at(name, i, -h)) / (2 * h))]),
  );
}

async function judge(c: Case): Promise<void> {
  const x: Arrays = Object.fromEntries(Object.entries(c.shapes).map(([name, shape]) => [name, draw(sizeOf(shape))]));
  const y = c.forward(x);
  const dy = draw(y.length);
  const want = c.gradient(x, dy);
  const measured = differences(c, x, dy);
  for (const name of Object.keys(x)) assert.ok(distance(measured[name], want[name]) < 1e-6, `f64 gradient of ${name}`);
  const tape = new Tape(device, { training: true });
  const stored: Record<string, Tensor> = {};
  const brought: Record<string, Tensor> = {};
  for (const [name, shape] of Object.entries(c.shapes)) {
    stored[name] = device.tensor(shape, { name, data: Float32Array.from(x[name]) });
    stored[name].trainable = true;
    brought[name] = tape.bring(stored[name]);
  }
  const out = tape.keep(c.op(brought));
  const weights = device.tensor(out.shape, { name: "weights", data: Float32Array.from(dy) });
  tape.backward(dot(out, weights));
  const plan = await tape.plan();
  const names = Object.keys(x);
  // Twice: a gradient that wrongly adds to what the first run left would be doubled.
  const [gotY, ...got] = await plan
    .run()
    .run()
    .read(out, ...names.map((name) => tape.grad(stored[name])));
  const limit = c.tolerance ?? 1e-5;
  assert.ok(distance(gotY, y) < limit, `forward is ${distance(gotY, y)} off`);
  for (const [i, name] of names.entries()) {
    assert.ok(distance(got[i], want[name]) < limit, `gradient of ${name} is ${distance(got[i], want[name])} off`);
  }
  plan.destroy();
}

test("embedding, with a padding id and repeated ids", () => {
  const ids = Uint32Array.of(3, 1, 3, 0, 2, 3, 1);
  const c = { rows: 7, C: 8, V: 5, skip: 1, acc: 0 };
  return judge({
    shapes: { table: [5, 8] },
    forward: ({ table }) => gatherLoops(c, as({ table, ids })).y,
    seen: ({ table }) => gatherLoops(c, as({ table, ids })).y.map((v, i) => (ids[Math.floor(i / 8)] === 1 ? 0 : v)),
    gradient: (_, dy) => ({ table: scatterLoops(c, as({ dy, ids })).dtable }),
    op: ({ table }) => embedding(table, table.tape.bring(words("ids", ids)), { skip: 1 }),
  });
});

test("gatherRows of an activation that is used twice", () => {
  const ids = Uint32Array.of(4, 0, 4);
  const c = { rows: 3, C: 6, V: 5, skip: 0xffffffff, acc: 0 };
  return judge({
    shapes: { x: [5, 6] },
    forward: ({ x }) => gatherLoops(c, as({ table: x.map((v) => 3 * v), ids })).y.map((v) => 2 * v),
    gradient: (_, dy) => ({ x: scatterLoops(c, as({ dy: dy.map((v) => 6 * v), ids })).dtable }),
    op: ({ x }) => {
      const [a, index] = [scale(x, 3), words("rows", ids)];
      return add(gatherRows(a, x.tape.bring(index)), gatherRows(a, x.tape.bring(index)));
    },
  });
});

for (const [rows, C] of [
  [3, 10],
  [40, 16],
]) {
  test(`rmsnorm of ${rows} x ${C}`, () => {
    const c = { rows, C, eps: 1e-3, acc: 0 };
    return judge({
      shapes: { x: [rows, C], w: [C] },
      forward: (x) => rmsnormLoops(c, as(x)).y,
      gradient: ({ x, w }, dy) => {
        const { rstd } = rmsnormLoops(c, as({ x, w }));
        return { x: rmsnormDxLoops(c, as({ x, w, rstd, dy })).dx, w: rmsnormDwLoops(c, as({ x, rstd, dy })).dw };
      },
      op: ({ x, w }) => rmsnorm(x, w, 1e-3),
    });
  });
}

for (const [heads, rowsOfWeights] of [
  [3, 3],
  [3, 1],
]) {
  test(`layerNorm of ${heads} heads with ${rowsOfWeights} rows of weights`, () => {
    const c = { rows: 6 * heads, D: 8, heads: rowsOfWeights, eps: 1e-3, acc: 0, accw: 0, accb: 0 };
    return judge({
      shapes: { x: [2, 3, heads, 8], w: [rowsOfWeights, 8], b: [rowsOfWeights, 8] },
      forward: (x) => layerNormLoops(c, as(x)).y,
      gradient: ({ x, w, b }, dy) => {
        const { mean, rstd } = layerNormLoops(c, as({ x, w, b }));
        const { dw, db } = layerNormDwLoops(c, as({ x, mean, rstd, dy }));
        return { x: layerNormDxLoops(c, as({ x, w, mean, rstd, dy })).dx, w: dw, b: db };
      },
      op: ({ x, w, b }) => layerNorm(x, w, b, 1e-3),
    });
  });
}

test("rope, against tables made in f64", async () => {
  const [theta, D, H] = [100, 8, 2];
  const positions = Uint32Array.of(0, 5, 9, 2);
  const table = ropeTable(device, { theta, headDim: D, positions: 10 });
  const angles = Float64Array.from({ length: (10 * D) / 2 }, (_, i) => Math.floor(i / 4) * theta ** ((-2 * (i % 4)) / D));
  const tables = { cos: angles.map(Math.cos), sin: angles.map(Math.sin), positions };
  const c = { rows: 4, H, D, sign: 1, acc: 0 };
  await judge({
    shapes: { x: [1, 4, H, D] },
    forward: ({ x }) => ropeLoops(c, as({ x, ...tables })).y,
    gradient: (_, dy) => ({ x: ropeLoops({ ...c, sign: -1 }, as({ x: dy, ...tables })).y }),
    op: ({ x }) => rope(x, table, words("positions", positions)),
  });
});

test("headNormRope has the gradients of layerNorm and rope; without one, or into a cache, it is one launch with their result", async () => {
  const [R, T, H, D, cap] = [2, 3, 2, 8, 5];
  const positions = words("positions", Uint32Array.of(4, 5, 6, 0, 1, 2));
  const table = ropeTable(device, { theta: 100, headDim: D, positions: 10 });
  const [cos, sin] = (await device.read(table.cos, table.sin)) as Float32Array[];
  const tables = { cos: Float64Array.from(cos), sin: Float64Array.from(sin), positions: Uint32Array.of(4, 5, 6, 0, 1, 2) };
  const norm = { rows: R * T * H, D, heads: H, eps: 1e-3, acc: 0, accw: 0, accb: 0 };
  const turn = { rows: R * T, H, D, sign: 1, acc: 0 };
  const forward = (x: Arrays) => ropeLoops(turn, as({ x: layerNormLoops(norm, as(x)).y, ...tables })).y;
  await judge({
    shapes: { x: [R, T, H, D], w: [H, D], b: [H, D] },
    forward,
    gradient: ({ x, w, b }, dy) => {
      const { mean, rstd } = layerNormLoops(norm, as({ x, w, b }));
      const back = ropeLoops({ ...turn, sign: -1 }, as({ x: dy, ...tables })).y;
      const { dw, db } = layerNormDwLoops(norm, as({ x, mean, rstd, dy: back }));
      return { x: layerNormDxLoops(norm, as({ x, w, mean, rstd, dy: back })).dx, w: dw, b: db };
    },
    op: ({ x, w, b }) => headNormRope(x, { weight: w, bias: b, eps: 1e-3, table, positions }),
  });
  const data = { x: draw(R * T * H * D), w: draw(H * D), b: draw(H * D) };
  const want = forward(data);
  const stored = (name: "w" | "b") => device.tensor([H, D], { name, data: Float32Array.from(data[name]) });
  const cache = device.tensor([R, cap, H, D], { name: "cache" });
  const tape = new Tape(device);
  const x = tape.input("x", [R, T, H, D]);
  const options = { weight: stored("w"), bias: stored("b"), eps: 1e-3, table, positions };
  const fresh = tape.keep(headNormRope(x, options));
  headNormRope(x, { ...options, into: { cache, base: tape.scalar("base") } });
  assert.is(tape.launches.length, 2);
  assert.throws(() => headNormRope(x, { ...options, weight: words("w", new Uint32Array(D)) }), /w and b must be \(2, 8\)/);
  const narrow = device.tensor([R, 2, H, D]);
  assert.throws(() => headNormRope(x, { ...options, into: { cache: narrow, base: 0 } }), /the cache must be \(2, at least 3, 2, 8\)/);
  const plan = await tape.plan();
  plan.write("x", Float32Array.from(data.x)).set("base", 1).run();
  const [got] = await plan.read(fresh);
  assert.ok(distance(got, want) < 1e-5);
  plan.set("base", 3).run();
  const [held] = await device.read(cache);
  const token = (r: number, t: number) => want.subarray((r * T + t) * H * D, (r * T + t + 1) * H * D);
  const empty = new Float64Array(H * D);
  // Tokens of the first run, of which two were overwritten by the second's; its third is past the end.
  const rows = [0, 1].flatMap((r) => [empty, token(r, 0), token(r, 1), token(r, 0), token(r, 1)]);
  assert.ok(distance(held, Float64Array.from(rows.flatMap((row) => [...row]))) < 1e-5);
});

test("rope scaling: linear divides positions, dynamic grows theta past the trained length", async () => {
  const angle = async (o: Parameters<typeof ropeTable>[1]) => {
    const { cos, sin } = ropeTable(device, o);
    const [c, s] = await device.read(cos, sin);
    return (p: number, j: number) => Math.atan2(s[(p * o.headDim) / 2 + j], c[(p * o.headDim) / 2 + j]);
  };
  const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-6, `${a} and ${b}`);
  const linear = await angle({ theta: 10000, headDim: 8, positions: 5, scaling: { type: "linear", factor: 4 } });
  near(linear(4, 0), 1);
  const o = { theta: 10000, headDim: 8, maxPositions: 8, scaling: { type: "dynamic", factor: 2 } } as const;
  near((await angle({ ...o, positions: 8 }))(1, 1), 10000 ** (-2 / 8));
  near((await angle({ ...o, positions: 16 }))(1, 1), (10000 * 3 ** (8 / 6)) ** (-2 / 8));
});

test("swiglu", () => {
  const c = { n: 24, accg: 0, accu: 0 };
  return judge({
    shapes: { g: [3, 8], u: [3, 8] },
    forward: (x) => swigluLoops(c, as(x)).h,
    gradient: ({ g, u }, dh) => {
      const { dg, du } = swigluBackwardLoops(c, as({ g, u, dh }));
      return { g: dg, u: du };
    },
    op: ({ g, u }) => swiglu(g, u),
  });
});

test("add of a tensor to itself and to another", () =>
  judge({
    shapes: { a: [3, 5], b: [3, 5] },
    forward: ({ a, b }) => a.map((v, i) => 2 * v + b[i]),
    gradient: (_, dy) => ({ a: dy.map((v) => 2 * v), b: dy }),
    op: ({ a, b }) => add(add(a, b), a),
  }));

test("permute of four axes, and a transpose", async () => {
  const order = [2, 0, 3, 1];
  const shape = [2, 5, 4, 3];
  const places = Array.from({ length: 120 }, (_, i) => {
    const at = [Math.floor(i / 30), Math.floor(i / 15) % 2, Math.floor(i / 5) % 3, i % 5];
    const source = [0, 0, 0, 0];
    order.forEach((axis, k) => {
      source[axis] = at[k];
    });
    return ((source[0] * 5 + source[1]) * 4 + source[2]) * 3 + source[3];
  });
  await judge({
    shapes: { x: shape },
    forward: ({ x }) => Float64Array.from(places, (p) => x[p]),
    gradient: (_, dy) => {
      const dx = new Float64Array(120);
      places.forEach((p, i) => {
        dx[p] = dy[i];
      });
      return { x: dx };
    },
    op: ({ x }) => permute(x, order),
  });
  await judge({
    shapes: { x: [3, 4] },
    forward: ({ x }) => Float64Array.from({ length: 12 }, (_, i) => x[(i % 3) * 4 + Math.floor(i / 3)]),
    gradient: (_, dy) => ({ x: Float64Array.from({ length: 12 }, (_, i) => dy[(i % 4) * 3 + Math.floor(i / 4)]) }),
    op: ({ x }) => permute(x, [1, 0]),
  });
});

if (device.capabilities.features.has("shader-f16")) {
  test("cast to f16 and back", () =>
    judge({
      shapes: { x: [3, 8] },
      forward: ({ x }) => x,
      gradient: (_, dy) => ({ x: dy }),
      op: ({ x }) => cast(cast(x, "f16"), "f32"),
      tolerance: 1e-3,
    }));
} else console.log("skipped: cast to f16, this adapter has none");

for (const denominator of ["weights", 7] as const) {
  test(`crossEntropy divided by ${denominator}`, () => {
    const [R, V] = [5, 12];
    const targets = Uint32Array.of(3, 0, 11, 7, 7);
    const weights = Float32Array.of(1, 0.5, 0, 2, 0.25);
    const by = denominator === "weights" ? 3.75 : denominator;
    const row = (x: Float64Array, r: number) => x.subarray(r * V, r * V + V);
    const sum = (x: Float64Array) => x.reduce((a, v) => a + Math.exp(v), 0);
    return judge({
      shapes: { logits: [R, V] },
      forward: ({ logits }) =>
        Float64Array.of(weights.reduce((a, w, r) => a + (w * (Math.log(sum(row(logits, r))) - logits[r * V + targets[r]])) / by, 0)),
      gradient: ({ logits }, dy) => ({
        logits: logits.map((v, i) => {
          const r = Math.floor(i / V);
          return ((dy[0] * weights[r]) / by) * (Math.exp(v) / sum(row(logits, r)) - (i % V === targets[r] ? 1 : 0));
        }),
      }),
      op: ({ logits }) => {
        const w = device.tensor([R], { name: "row weights", data: weights });
        return crossEntropy(logits, words("targets", targets), w, { denominator }).loss;
      },
    });
  });
}

for (const M of [1, 3]) {
  test(`swigluLinear of ${M} rows has the gradients of its parts; without them one row is one launch`, async () => {
    const [N, K] = [8, 12];
    const row = (x: Float64Array, m: number) => x.subarray(m * K, (m + 1) * K);
    const forward = ({ x, gate, up }: Arrays) =>
      Float64Array.from(Array.from({ length: M }, (_, m) => [...gatedProductLoops({ N, K }, as({ x: row(x, m), gate, up })).h]).flat());
    const product = (x: Float64Array, w: Float64Array) =>
      Float64Array.from({ length: M * N }, (_, i) => row(x, Math.floor(i / N)).reduce((sum, v, k) => sum + v * w[(i % N) * K + k], 0));
    const c = { n: M * N, accg: 0, accu: 0 };
    const data = { x: draw(M * K), gate: draw(N * K), up: draw(N * K) };
    await judge({
      shapes: { x: [M, K], gate: [N, K], up: [N, K] },
      forward,
      gradient: ({ x, gate, up }, dh) => {
        const { dg, du } = swigluBackwardLoops(c, as({ g: product(x, gate), u: product(x, up), dh }));
        const weights = (d: Float64Array) =>
          Float64Array.from({ length: N * K }, (_, i) => sum(M, (m) => d[m * N + Math.floor(i / K)] * x[m * K + (i % K)]));
        const back = (d: Float64Array, w: Float64Array, i: number) => sum(N, (n) => d[Math.floor(i / K) * N + n] * w[n * K + (i % K)]);
        return { x: x.map((_, i) => back(dg, gate, i) + back(du, up, i)), gate: weights(dg), up: weights(du) };
      },
      op: ({ x, gate, up }) => swigluLinear(x, gate, up),
    });
    const tape = new Tape(device);
    const stored = (name: "gate" | "up") => device.tensor([N, K], { name, data: Float32Array.from(data[name]) });
    const h = tape.keep(swigluLinear(tape.input("x", [M, K]), stored("gate"), stored("up")));
    assert.is(tape.launches.length, M === 1 && device.capabilities.lanes >= 4 ? 1 : 3);
    const plan = await tape.plan();
    const [got] = await plan.write("x", Float32Array.from(data.x)).run().read(h);
    assert.ok(distance(got, forward(data)) < 1e-5);
    const packed = (name: string) => device.matrix([N, 16], { dtype: "int8", name, groupSize: 8 });
    const other = new Tape(device);
    swigluLinear(other.input("x", [M, 16]), packed("gate"), packed("up"));
    assert.is(other.launches.length, 3);
  });
}

test("SwiGLU of a tensor by itself", async () => {
  const values = draw(64);
  const w = device.tensor([64], { name: "w", data: Float32Array.from(values) });
  w.trainable = true;
  const tape = new Tape(device, { training: true });
  const x = tape.bring(w);
  const h = swiglu(x, x);
  const dy = draw(64);
  const loss = dot(h, device.tensor([64], { name: "dy", data: Float32Array.from(dy) }));
  tape.backward(loss);
  (await tape.plan()).run();
  const logistic = (v: number) => 1 / (1 + Math.exp(-v));
  const want = values.map((v, i) => dy[i] * (2 * v * logistic(v) + v * v * logistic(v) * (1 - logistic(v))));
  const [got] = await device.read(tape.grad(w));
  assert.ok(distance(got, want) < 1e-5);
});

test("a tape records its gradients once", () => {
  const w = device.tensor([4], { name: "w", data: Float32Array.of(1, 2, 3, 4) });
  w.trainable = true;
  const tape = new Tape(device, { training: true });
  const x = scale(tape.bring(w), 2);
  const [a, b] = [dot(x, x), dot(x, x)];
  tape.backward(a);
  assert.throws(() => tape.backward(b), /gradients were recorded already; sum the losses with weightedSum and call backward once/);
});

test.run();
