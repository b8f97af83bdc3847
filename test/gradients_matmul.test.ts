// Gradients of linear, matmul and attention: the f64 gradients against central differences of the f64 forward, then the ops through a
// tape against the f64 gradients. The loss is a random weighted sum of the result, itself a (1, n) by (n, 1) product.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { attention, attentionCached, writeCache } from "../engine/ops/attention.ts";
import { linear, linearInto, matmul } from "../engine/ops/matmul.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { attentionGradientLoops, attentionLoops, deltaLoops } from "../kernels/attention/attention_loops.ts";

const device = await openDevice();
const rng = new Rng(5, "gradients");

type Arrays = Record<string, Float64Array>;
interface Case {
  readonly shapes: Record<string, readonly number[]>;
  /** The result in f64. */
  readonly forward: (x: Arrays) => Float64Array;
  /** Gradient of every input, for the gradient dy of the result, in f64. */
  readonly gradient: (x: Arrays, dy: Float64Array) => Arrays;
  /** The op under test. The named tensors are trainable and brought onto the tape. */
  readonly op: (x: Record<string, Tensor>, tape: Tape) => Tensor;
}

const sizeOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const draw = (n: number) => Float64Array.from(rng.normals(n));
const weigh = (y: Float64Array, w: Float64Array) => y.reduce((sum, v, i) => sum + v * w[i], 0);

/** Largest difference, relative to the size of what is wanted. */
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
    return weigh(c.forward(moved), dy);
  };
  return Object.fromEntries(
    Object.entries(x).map(([name, values]) => [name, values.map((_, i) => (at(name, i, h) - at(name, i, -h)) / (2 * h))]),
  );
}

async function judge(c: Case, tolerance = 1e-5): Promise<void> {
  const x: Arrays = Object.fromEntries(Object.entries(c.shapes).map(([name, shape]) => [name, draw(sizeOf(shape))]));
  const y = c.forward(x);
  const dy = draw(y.length);
  const want = c.gradient(x, dy);
  const measured = differences(c, x, dy);
  for (const name of Object.keys(x)) assert.ok(distance(measured[name], want[name]) < 1e-6, `f64 gradient of ${name}`);

  const parameters = Object.entries(c.shapes).map(([name, shape]) => {
    const t = device.tensor(shape, { name, kind: "weights", data: Float32Array.from(x[name]) });
    t.trainable = true;
    return [name, t] as const;
  });
  for (const accumulate of [false, true]) {
    const tape = new Tape(device, { training: true, accumulate });
    const brought = Object.fromEntries(parameters.map(([name, t]) => [name, tape.bring(t)]));
    const out = tape.keep(c.op(brought, tape));
    const weights = device.tensor([y.length, 1], { data: Float32Array.from(dy) });
    tape.backward(matmul(out.reshape(1, y.length), weights));
    const plan = await tape.plan();
    plan.run();
    assert.ok(distance((await plan.read(out))[0], y) < tolerance, "forward");
    const gradients = await device.read(...parameters.map(([, t]) => device.mirror(t, "gradients", "gradients")));
    // The second tape adds to what the first one left.
    parameters.forEach(([name], i) => {
      const scale = accumulate ? 2 : 1;
      const error = distance(
        gradients[i].map((g) => g / scale),
        want[name],
      );
      assert.ok(error < tolerance, `gradient of ${name}${accumulate ? ", accumulated" : ""}: ${error}`);
    });
    plan.destroy();
  }
}

/** op(a) op(b) in f64 and its two gradients, with the transposes of storage. */
function product(a: Float64Array, b: Float64Array, [M, N, K]: number[], ta = false, tb = false): Float64Array {
  const y = new Float64Array(M * N);
  for (let m = 0; m < M; m++)
    for (let n = 0; n < N; n++) for (let k = 0; k < K; k++) y[m * N + n] += a[ta ? k * M + m : m * K + k] * b[tb ? n * K + k : k * N + n];
  return y;
}

function productGradient(a: Float64Array, b: Float64Array, dy: Float64Array, [M, N, K]: number[], ta: boolean, tb: boolean): Arrays {
  const [da, db] = [new Float64Array(M * K), new Float64Array(K * N)];
  for (let m = 0; m < M; m++)
    for (let n = 0; n < N; n++)
      for (let k = 0; k < K; k++) {
        const [i, j] = [ta ? k * M + m : m * K + k, tb ? n * K + k : k * N + n];
        da[i] += dy[m * N + n] * b[j];
        db[j] += dy[m * N + n] * a[i];
      }
  return { a: da, b: db };
}

for (const [M, N, K] of [
  [6, 5, 7],
  [36, 8, 12],
]) {
  for (const ta of [false, true]) {
    for (const tb of [false, true]) {
      test(`matmul ${M}x${N}x${K}, transposed: ${ta} ${tb}`, () =>
        judge({
          shapes: { a: ta ? [K, M] : [M, K], b: tb ? [N, K] : [K, N] },
          forward: ({ a, b }) => product(a, b, [M, N, K], ta, tb),
          gradient: ({ a, b }, dy) => productGradient(a, b, dy, [M, N, K], ta, tb),
          op: ({ a, b }) => matmul(a, b, { transposeA: ta, transposeB: tb }),
        }));
    }
  }
  test(`linear ${M}x${N}x${K} with bias and residual`, () =>
    judge({
      shapes: { a: [2, M / 2, K], b: [N, K], bias: [N], residual: [2, M / 2, N] },
      forward: ({ a, b, bias, residual }) => product(a, b, [M, N, K], false, true).map((v, i) => v + bias[i % N] + residual[i]),
      gradient: ({ a, b }, dy) => ({
        ...productGradient(a, b, dy, [M, N, K], false, true),
        bias: Float64Array.from({ length: N }, (_, n) => dy.reduce((sum, v, i) => sum + (i % N === n ? v : 0), 0)),
        residual: dy,
      }),
      op: ({ a, b, bias, residual }) => linear(a, b, { bias, residual }),
    }));
}

test("a tensor used three times gets the sum of its gradients", () => {
  const [M, C] = [6, 8];
  const gradient = (a: Float64Array, b: Float64Array, dy: Float64Array): Arrays => {
    const inner = product(a, b, [M, C, C], false, true).map((v, i) => v + a[i]);
    const outer = productGradient(inner, b, dy, [M, C, C], false, true);
    const dInner = outer.a.map((v, i) => v + dy[i]);
    const first = productGradient(a, b, dInner, [M, C, C], false, true);
    return { a: first.a.map((v, i) => v + dInner[i]), b: first.b.map((v, i) => v + outer.b[i]) };
  };
  const layer = (a: Float64Array, b: Float64Array) => product(a, b, [M, C, C], false, true).map((v, i) => v + a[i]);
  return judge({
    shapes: { a: [M, C], b: [C, C] },
    forward: ({ a, b }) => layer(layer(a, b), b),
    gradient: ({ a, b }, dy) => gradient(a, b, dy),
    op: ({ a, b }) => {
      const h = linear(a, b, { residual: a });
      return linear(h, b, { residual: h });
    },
  });
});

for (const [name, c, starts] of [
  ["causal, grouped, padded", { B: 2, T: 7, S: 7, N: 4, K: 2, D: 8, causal: 1 }, [0, 3]],
  ["more keys than queries, odd head size", { B: 1, T: 5, S: 9, N: 3, K: 1, D: 6, causal: 1 }, undefined],
  ["more queries than keys", { B: 1, T: 9, S: 5, N: 2, K: 2, D: 4, causal: 1 }, undefined],
  ["full", { B: 2, T: 6, S: 10, N: 2, K: 1, D: 12, causal: 0 }, [2, 10]],
] as const) {
  test(`attention: ${name}`, () => {
    const { B, T, S, N, K, D } = c;
    const sized = { ...c, scale: 1 / Math.sqrt(D) };
    const start = starts && Uint32Array.from(starts);
    return judge({
      shapes: { q: [B, T, N, D], k: [B, S, K, D], v: [B, S, K, D] },
      forward: ({ q, k, v }) => attentionLoops(sized, { q, k, v, start }).o,
      gradient: ({ q, k, v }, dout) => {
        const { o, lse } = attentionLoops(sized, { q, k, v, start });
        const found = attentionGradientLoops(sized, { q, k, v, start }, dout, lse, deltaLoops(sized, o, dout));
        return { q: found.dq, k: found.dk, v: found.dv };
      },
      op: ({ q, k, v }) =>
        attention(q, k, v, { causal: c.causal === 1, start: start && device.tensor([B], { dtype: "u32", data: start }) }),
    });
  });
}

test("attention with one tensor as keys and values", () => {
  const c = { B: 1, T: 4, S: 6, N: 2, K: 2, D: 4, causal: 0, scale: 0.5 };
  return judge({
    shapes: { q: [1, 4, 2, 4], k: [1, 6, 2, 4] },
    forward: ({ q, k }) => attentionLoops(c, { q, k, v: k }).o,
    gradient: ({ q, k }, dout) => {
      const { o, lse } = attentionLoops(c, { q, k, v: k });
      const { dq, dk, dv } = attentionGradientLoops(c, { q, k, v: k }, dout, lse, deltaLoops(c, o, dout));
      return { q: dq, k: dk.map((x, i) => x + dv[i]) };
    },
    op: ({ q, k }) => attention(q, k, k),
  });
});

test("attention over a cache written token by token agrees with attention over the whole sequence", async () => {
  const [B, T, N, K, D] = [2, 9, 4, 2, 8];
  const data = { q: draw(B * T * N * D), k: draw(B * T * K * D), v: draw(B * T * K * D) };
  const want = attentionLoops({ B, T, S: T, N, K, D, causal: 1, scale: 1 / Math.sqrt(D) }, data).o;
  const cache = { k: device.tensor([B, T, K, D]), v: device.tensor([B, T, K, D]) };
  const tape = new Tape(device);
  const [q, k, v] = [tape.input("q", [B, 1, N, D]), tape.input("k", [B, 1, K, D]), tape.input("v", [B, 1, K, D])];
  const base = tape.scalar("base");
  writeCache(k, cache.k, base);
  writeCache(v, cache.v, base);
  const o = tape.keep(attentionCached(q, { suffix: cache, base }));
  const plan = await tape.plan();
  const token = (x: Float64Array, t: number, width: number) =>
    Float32Array.from({ length: B * width }, (_, i) => x[(Math.floor(i / width) * T + t) * width + (i % width)]);
  for (let t = 0; t < T; t++) {
    plan
      .write("q", token(data.q, t, N * D))
      .write("k", token(data.k, t, K * D))
      .write("v", token(data.v, t, K * D))
      .set("base", t)
      .run();
    const got = (await plan.read(o))[0];
    assert.ok(distance(got, Float64Array.from(token(want, t, N * D))) < 1e-5, `token ${t}`);
  }
});

test("a product written token by token into a cache agrees with the product", async () => {
  const [R, cap, K] = [3, 4, 12];
  for (const N of [8, 6]) {
    const w = draw(N * K);
    const xs = Array.from({ length: cap }, () => draw(R * K));
    const cache = device.tensor([R, cap, 2, N / 2], { name: "cache" });
    const tape = new Tape(device);
    const weight = device.tensor([N, K], { name: "w", data: Float32Array.from(w) });
    linearInto(tape.input("x", [R, 1, K]), weight, { cache, base: tape.scalar("base") });
    const plan = await tape.plan();
    for (const [t, x] of xs.entries()) plan.write("x", Float32Array.from(x)).set("base", t).run();
    const want = Float64Array.from({ length: R * cap * N }, (_, i) => {
      const [r, t, n] = [Math.floor(i / (cap * N)), Math.floor(i / N) % cap, i % N];
      return xs[t].subarray(r * K, (r + 1) * K).reduce((sum, v, k) => sum + v * w[n * K + k], 0);
    });
    assert.ok(distance((await device.read(cache))[0], want) < 1e-5, `${N} values a token`);
  }
});

test("shapes that do not fit are named", () => {
  const tape = new Tape(device);
  const x = tape.input("x", [4, 128]);
  assert.throws(() => linear(x, tape.input("w", [64, 256])), /linear: x \(4, 128\) and w \(64, 256\): w must be \(out, 128\)/);
  const cache = device.tensor([4, 3, 2, 8]);
  assert.throws(() => linearInto(x, tape.input("v", [8, 128]), { cache, base: 0 }), /the cache must be \(4, room, 8\)/);
  assert.throws(() => matmul(x, tape.input("y", [64, 4])), /the inner sizes 128 and 64 differ/);
  const q = tape.input("q", [2, 4, 3, 8]);
  const k = tape.input("k", [2, 4, 2, 8]);
  assert.throws(() => attention(q, k, k), /heads dividing 3/);
  assert.throws(() => attentionCached(k, { suffix: { k, v: k }, base: 2 }), /2 tokens and 4 new ones do not fit a suffix of 4/);
});

test.run();
