// The picture ops and their gradients. First the f64 gradient loops against central differences of the f64 forward loops; then each op once through
// a training tape, with the mean squared distance to a random target as the loss, against the f64 gradient. Convolutions in f16, which have no
// gradient, against the f64 forward.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { conv2d, resizeChannels, upsample } from "../engine/ops/conv.ts";
import { gatherRows } from "../engine/ops/embedding.ts";
import { groupNorm } from "../engine/ops/group_norm.ts";
import { mse, nearestCode, quantize } from "../engine/ops/quantize.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import { fromHalf, type Tensor, toHalf } from "../engine/tensor.ts";
import { conv2dDwLoops, conv2dDxLoops, conv2dLoops } from "../kernels/conv2d/conv2d.check.ts";
import { applyLoops, groupNormGradients, statisticsLoops } from "../kernels/group_norm/group_norm.check.ts";
import type { Numbers } from "../kernels/kernel.ts";
import { nearestLoops } from "../kernels/nearest_code/nearest_code.check.ts";
import { upsampleDxLoops, upsampleLoops } from "../kernels/upsample/upsample.check.ts";
import { contrast, contrastOf } from "../train/vqgan.ts";

type Floats = ArrayLike<number>;
const device = await openDevice();

/** Compares a gradient with central differences of sum(y(inputs) * dy) in f64, for every value of `x`. */
function differences(x: Float64Array, dy: Floats, y: () => Floats, gradient: Floats, name: string): void {
  const h = 1e-4;
  const project = () => Array.from(y()).reduce((a, v, i) => a + v * dy[i], 0);
  const scale = Math.sqrt(Array.from(gradient).reduce((a, v) => a + v * v, 0) / gradient.length);
  for (let i = 0; i < x.length; i++) {
    const old = x[i];
    x[i] = old + h;
    const up = project();
    x[i] = old - h;
    const slope = (up - project()) / (2 * h);
    x[i] = old;
    assert.ok(Math.abs(slope - gradient[i]) < 1e-6 * (Math.abs(slope) + scale), `${name}[${i}]: ${gradient[i]}, by differences ${slope}`);
  }
}

const wide = (n: number, rng: Rng) => Float64Array.from(rng.normals(n));

const convolutions: Record<string, Numbers> = {
  same: { B: 2, H: 4, W: 3, I: 2, OH: 4, OW: 3, O: 3, KH: 3, KW: 3, stride: 1, pad: 1, up: 1 },
  halving: { B: 1, H: 4, W: 6, I: 2, OH: 2, OW: 3, O: 3, KH: 3, KW: 3, stride: 2, pad: 0, up: 1 },
  point: { B: 1, H: 2, W: 3, I: 4, OH: 2, OW: 3, O: 2, KH: 1, KW: 1, stride: 1, pad: 0, up: 1 },
};

for (const [name, c] of Object.entries(convolutions)) {
  test(`convolution, ${name}: the reference gradient agrees with differences`, () => {
    const rng = new Rng(1, name);
    const [x, w, b] = [wide(c.B * c.H * c.W * c.I, rng), wide(c.O * c.KH * c.KW * c.I, rng), wide(c.O, rng)];
    const dy = wide(c.B * c.OH * c.OW * c.O, rng);
    const y = () => conv2dLoops(c, x, w, b);
    differences(x, dy, y, conv2dDxLoops(c, w, dy), "dx");
    const dw = conv2dDwLoops(c, x, dy);
    differences(w, dy, y, dw.subarray(0, w.length), "dw");
    differences(b, dy, y, dw.subarray(w.length), "db");
  });
}

for (const swish of [0, 1]) {
  test(`group norm${swish ? " with swish" : ""}: the reference gradient agrees with differences`, () => {
    const c = { B: 2, P: 3, C: 64, swish };
    const rng = new Rng(2);
    const [x, w, b, dy] = [wide(c.B * c.P * c.C, rng), wide(c.C, rng), wide(c.C, rng), wide(c.B * c.P * c.C, rng)];
    const y = () => {
      const { mean, rstd } = statisticsLoops(c, x, 0.01);
      return applyLoops(c, x, mean, rstd, w, b);
    };
    const g = groupNormGradients(c, x, dy, w, b, 0.01);
    differences(x, dy, y, g.dx, "dx");
    differences(w, dy, y, g.dw, "dw");
    differences(b, dy, y, g.db, "db");
  });
}

test("enlargement: the reference gradient agrees with differences", () => {
  const c = { B: 1, H: 2, W: 3, C: 2 };
  const rng = new Rng(3);
  const [x, dy] = [wide(12, rng), wide(48, rng)];
  differences(x, dy, () => upsampleLoops(c, x), upsampleDxLoops(c, dy), "dx");
});

/** A trainable tensor with random values. */
function parameter(shape: number[], rng: Rng, name: string, scale = 1): Tensor {
  const t = device.tensor(shape, {
    name,
    data: rng.normals(
      shape.reduce((a, b) => a * b, 1),
      scale,
    ),
  });
  t.trainable = true;
  return t;
}

/** Gradients of mse(y, target) with respect to parameters, from the device; `y` also gives the tape the loss of more terms. */
async function onDevice(
  parameters: readonly Tensor[],
  target: Float32Array,
  y: (tape: Tape) => Tensor,
): Promise<{ y: Float32Array; gradients: Float32Array[] }> {
  const tape = new Tape(device, { training: true });
  const result = tape.keep(y(tape));
  const t = tape.input("target", result.shape);
  tape.backward(mse(result, t));
  const grads = parameters.map((p) => tape.grad(p));
  const plan = await tape.plan();
  plan.write("target", target).run();
  const [got, ...gradients] = (await plan.read(result, ...grads)) as Float32Array[];
  plan.destroy();
  return { y: got, gradients };
}

function near(got: Floats, want: Floats, name: string, tolerance = 1e-5): void {
  assert.is(got.length, want.length, name);
  const rms = Math.sqrt(Array.from(want).reduce((a, v) => a + v * v, 0) / want.length);
  for (let i = 0; i < got.length; i++) {
    assert.ok(Math.abs(got[i] - want[i]) <= tolerance * (Math.abs(want[i]) + rms), `${name}[${i}] is ${got[i]} but must be ${want[i]}`);
  }
}

/** The gradient of mse at y. */
const slopes = (y: Floats, target: Floats) => Float64Array.from(y, (v, i) => (2 * (v - target[i])) / y.length);
const add = (a: Floats, b: Floats) => Float64Array.from(a, (v, i) => v + b[i]);

for (const stride of [1, 2] as const) {
  test(`convolution with bias${stride === 1 ? " and residual" : ""} through a tape, stride ${stride}`, async () => {
    const rng = new Rng(4, stride);
    const [H, pad] = [10, stride === 1 ? 1 : 0];
    const c = { B: 2, H, W: H, I: 32, OH: H / stride, OW: H / stride, O: 32, KH: 3, KW: 3, stride, pad, up: 1 };
    const [x, w, b] = [parameter([2, H, H, 32], rng, "x"), parameter([32, 3, 3, 32], rng, "w", 0.1), parameter([32], rng, "b")];
    const [xs, ws, bs] = (await device.read(x, w, b)) as Float32Array[];
    const target = rng.normals(2 * c.OH * c.OW * 32);
    const { y, gradients } = await onDevice([x, w, b], target, (tape) => {
      const view = tape.bring(x);
      return conv2d(view, w, { bias: b, stride, ...(stride === 1 ? { residual: view } : {}) });
    });
    const clean = conv2dLoops(c, xs, ws, bs);
    const want = stride === 1 ? add(clean, xs) : clean;
    near(y, want, "y");
    const dy = slopes(want, target);
    const dx = conv2dDxLoops(c, ws, dy);
    const dw = conv2dDwLoops(c, xs, dy);
    near(gradients[0], stride === 1 ? add(dx, dy) : dx, "dx");
    near(gradients[1], dw.subarray(0, ws.length), "dw");
    near(gradients[2], dw.subarray(ws.length), "db");
  });
}

test("a frozen weight gets no gradient, its bias does", async () => {
  const rng = new Rng(5);
  const [x, w, b] = [parameter([1, 4, 4, 4], rng, "x"), parameter([4, 3, 3, 4], rng, "w"), parameter([4], rng, "b")];
  w.trainable = false;
  x.trainable = false;
  const tape = new Tape(device, { training: true });
  tape.backward(mse(conv2d(tape.bring(x), w, { bias: b }), tape.input("t", [1, 4, 4, 4])));
  assert.equal(tape.trained(), [b]);
  assert.not(tape.hasGrad(w));
});

const halves = device.capabilities.features.has("shader-f16") ? test : test.skip;
const rounded = (values: Float32Array) => values.map((v) => fromHalf(toHalf(v)));

halves("convolution of pictures and weights in f16, whole and in bands, is that of the rounded numbers", async () => {
  // Bands would be odd numbers of rows, and begin where they cannot be bound, did they count the bytes of f32.
  const limit = 18_000;
  const narrow = await openDevice({ bindingBytes: limit });
  for (const { stride, B, H, W } of [
    { stride: 1, B: 2, H: 5, W: 7 },
    { stride: 1, B: 1, H: 44, W: 12 },
    { stride: 2, B: 1, H: 60, W: 12 },
  ] as const) {
    const rng = new Rng(13, H);
    const c = { B, H, W, I: 16, OH: H / stride, OW: W / stride, O: 32, KH: 3, KW: 3, stride, pad: stride === 1 ? 1 : 0, up: 1 };
    const [x, w, r] = [B * H * W * 16, 32 * 9 * 16, c.B * c.OH * c.OW * 32].map((n) => rounded(rng.normals(n)));
    const b = rng.normals(32);
    const want = add(conv2dLoops(c, x, w, b), r);
    for (const on of B === 1 ? [device, narrow] : [device]) {
      const tape = new Tape(on);
      const weights = on.tensor([32, 3, 3, 16], { name: "w", dtype: "f16", data: w });
      const bias = on.tensor([32], { name: "b", data: b });
      const residual = tape.input("r", [B, c.OH, c.OW, 32], "f16");
      const y = tape.keep(conv2d(tape.input("x", [B, H, W, 16], "f16"), weights, { bias, residual, stride }));
      assert.is(y.dtype, "f32");
      const plan = await tape.plan();
      const [got] = await plan.write("x", x).write("r", r).run().read(y);
      near(got, want, `y of ${H} x ${W}`);
      const bound = plan.bound.map(({ launch }) => Math.max(...launch.tensors.map((t) => t.bytes)));
      if (on === narrow) assert.ok(bound.length > 1 && bound.every((n) => n <= limit), `launches bind ${bound} bytes`);
      plan.destroy();
    }
  }
});

halves("a gradient through a convolution in f16 is refused", () => {
  const rng = new Rng(14);
  const [w, b] = [parameter([4, 3, 3, 4], rng, "w"), parameter([4], rng, "b")];
  const frozen = device.tensor([4, 3, 3, 4], { name: "frozen", dtype: "f16" });
  const pictures = (tape: Tape) => tape.input("x", [1, 4, 4, 4], "f16");
  const training = () => new Tape(device, { training: true });
  const said = (which: string, trained: string) => new RegExp(`^conv2d: ${which} is f16, .* and ${trained} wants one; cast x and w to f32`);
  assert.throws(() => conv2d(pictures(training()), w), said("x", "w"));
  assert.throws(() => conv2d(pictures(training()), frozen, { bias: b }), said("x", "b"));
  assert.throws(() => conv2d(training().bring(parameter([1, 4, 4, 4], rng, "z")), frozen), said("frozen", "z"));
  assert.is(conv2d(pictures(training()), frozen).dtype, "f32");
  assert.is(conv2d(pictures(new Tape(device)), w, { bias: b }).dtype, "f32");
});

test("group norm with swish through a tape", async () => {
  const rng = new Rng(6);
  const c = { B: 2, P: 100, C: 64, swish: 1 };
  const [x, w, b] = [parameter([2, 10, 10, 64], rng, "x"), parameter([64], rng, "w"), parameter([64], rng, "b")];
  const [xs, ws, bs] = (await device.read(x, w, b)) as Float32Array[];
  const target = rng.normals(xs.length);
  const { y, gradients } = await onDevice([x, w, b], target, (tape) => groupNorm(tape.bring(x), w, b, { swish: true }));
  const { mean, rstd } = statisticsLoops(c, xs, 1e-6);
  const want = applyLoops(c, xs, mean, rstd, ws, bs);
  near(y, want, "y");
  const g = groupNormGradients(c, xs, slopes(want, target), ws, bs, 1e-6);
  near(gradients[0], g.dx, "dx", 2e-5);
  near(gradients[1], g.dw, "dw", 2e-5);
  near(gradients[2], g.db, "db", 2e-5);
});

test("enlargement and channel padding through a tape", async () => {
  const rng = new Rng(7);
  const x = parameter([2, 3, 5, 3], rng, "x");
  const [xs] = (await device.read(x)) as Float32Array[];
  const target = rng.normals(2 * 6 * 10 * 4);
  const { y, gradients } = await onDevice([x], target, (tape) => upsample(resizeChannels(tape.bring(x), 4)));
  const padded = Float64Array.from({ length: 120 }, (_, n) => (n % 4 < 3 ? xs[Math.floor(n / 4) * 3 + (n % 4)] : 0));
  const c = { B: 2, H: 3, W: 5, C: 4 };
  const want = upsampleLoops(c, padded);
  near(y, want, "y");
  const dx = upsampleDxLoops(c, slopes(want, target)).filter((_, n) => n % 4 < 3);
  near(gradients[0], dx, "dx");
});

test("quantising passes the gradient straight to z and none to the codebook", async () => {
  const rng = new Rng(8);
  const [z, book] = [parameter([7, 4], rng, "z"), parameter([5, 4], rng, "codebook")];
  const [zs, es] = (await device.read(z, book)) as Float32Array[];
  const target = rng.normals(28);
  const tape = new Tape(device, { training: true });
  const { codes, quantized } = quantize(tape.bring(z), tape.bring(book));
  tape.keep(codes);
  tape.backward(mse(tape.keep(quantized), tape.input("target", [7, 4])));
  assert.not(tape.hasGrad(book));
  const dz = tape.grad(z);
  const plan = await tape.plan();
  plan.write("target", target).run();
  const [gotCodes, y, gz] = await plan.read(codes, quantized, dz);
  const want = nearestLoops({ R: 7, D: 4, E: 5 }, zs, es);
  assert.equal(gotCodes, want);
  const rows = Float32Array.from({ length: 28 }, (_, n) => es[want[Math.floor(n / 4)] * 4 + (n % 4)]);
  assert.equal(y, rows);
  near(gz, slopes(rows, target), "dz");
});

test("the codebook's loss moves only the codes in use, the commitment only z", async () => {
  const rng = new Rng(9);
  const [z, book] = [parameter([6, 4], rng, "z"), parameter([9, 4], rng, "codebook")];
  const [zs, es] = (await device.read(z, book)) as Float32Array[];
  const want = nearestLoops({ R: 6, D: 4, E: 9 }, zs, es);
  for (const commitment of [false, true]) {
    const tape = new Tape(device, { training: true });
    const view = tape.bring(z);
    const e = gatherRows(tape.bring(book), nearestCode(view, book));
    tape.backward(commitment ? mse(view, e, { stopTarget: true }) : mse(e, view, { stopTarget: true }));
    assert.is(tape.hasGrad(z), commitment);
    assert.is(tape.hasGrad(book), !commitment);
    const gradient = tape.grad(commitment ? z : book);
    const plan = await tape.plan();
    const [got] = await plan.run().read(gradient);
    const expected = new Float64Array(commitment ? 24 : 36);
    for (let n = 0; n < 24; n++) {
      const at = want[n >> 2] * 4 + (n % 4);
      if (commitment) expected[n] += (2 * (zs[n] - es[at])) / 24;
      else expected[at] += (2 * (es[at] - zs[n])) / 24;
    }
    near(got, expected, commitment ? "dz" : "dcodebook");
  }
});

test("the contrast of features and its gradient", async () => {
  const [n, dim, temperature] = [7, 4, 0.3];
  const shows = Int32Array.of(3, -1, 5, 3, -1, 5, 8);
  const { partners, alike, counts } = contrastOf(shows, 4, new Rng(10));
  const z = parameter([n, dim], new Rng(11), "z");
  const zs = Float64Array.from((await device.read(z))[0]);
  const total = counts.reduce((a, c) => a + c, 0);
  const loss = () => {
    const h = Array.from({ length: n }, (_, i) => {
      const row = zs.subarray(i * dim, (i + 1) * dim);
      return row.map((v) => v / Math.sqrt(row.reduce((a, u) => a + u * u, 0) / dim + 1e-5));
    });
    return h.reduce((sum, a, i) => {
      const logits = h.map((b, j) => a.reduce((s, v, k) => s + v * b[k], 0) / dim / temperature + alike[i * n + j]);
      const all = Math.log(logits.reduce((s, v) => s + Math.exp(v), 0));
      return sum + (counts[i] / total) * (all - logits[partners[i]]);
    }, 0);
  };
  const tape = new Tape(device, { training: true });
  const value = tape.keep(contrast(tape.bring(z), tape.input("partners", [n], "u32"), temperature));
  tape.backward(value);
  const plan = await tape.plan();
  const [got, dz] = await plan.write("partners", partners).write("alike", alike).write("counts", counts).run().read(value, tape.grad(z));
  near(got, [loss()], "loss");
  const slopes = zs.map((old, i) => {
    zs[i] = old + 1e-4;
    const up = loss();
    zs[i] = old - 1e-4;
    const slope = (up - loss()) / 2e-4;
    zs[i] = old;
    return slope;
  });
  near(dz, slopes, "dz", 2e-5);
});

test("a partner shows the same in another picture where there is one, and nothing that shows the same is told apart", () => {
  const shows = Int32Array.of(4, 4, -1, 4, 7, -1, 9, 7);
  const { partners, alike, counts } = contrastOf(shows, 3, new Rng(12));
  assert.equal(counts, Float32Array.of(1, 1, Math.fround(0.1), 1, 1, Math.fround(0.1), 0, 1));
  for (let i = 0; i < 8; i++) {
    assert.is(shows[partners[i]], shows[i], `partner of ${i}`);
    assert.is(partners[i] === i, i === 6, `only ${i} has none`);
    if (i < 2) assert.is(partners[i], 3, "of the other picture");
    for (let j = 0; j < 8; j++)
      assert.is(alike[i * 8 + j], shows[i] === shows[j] && j !== partners[i] ? Math.fround(-1e9) : 0, `${i}, ${j}`);
  }
});

test("shapes that do not fit are refused with what is needed", () => {
  const tape = new Tape(device);
  const x = tape.input("x", [1, 5, 4, 8]);
  const w = (...shape: number[]) => device.tensor(shape, { name: "w" });
  assert.throws(() => conv2d(x, w(4, 3, 3, 6)), /w must be \(out, k, k, 8\)/);
  assert.throws(() => conv2d(x, w(4, 3, 3, 8), { stride: 2 }), /even height and width/);
  assert.throws(() => conv2d(x, w(4, 3, 3, 8), { bias: w(5) }), /bias needs 4 values/);
  assert.throws(() => conv2d(x, w(4, 3, 3, 8), { residual: x }), /residual must be of the result's shape \(1, 5, 4, 4\)/);
  assert.throws(() => groupNorm(x, w(8), w(8)), /multiple of 32/);
  assert.throws(() => nearestCode(x, w(4, 7)), /must be 7/);
  assert.throws(() => mse(x, w(4, 7)), /same number of values/);
});

test.run();
