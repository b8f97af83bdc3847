// Gradients of the sums and of softmax. First the f64 gradient loops against central differences of the f64 forward loops; then each op
// once through a training tape against the f64 gradient.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { dot, mean, rowSum, sum } from "../engine/ops/reduce.ts";
import { softmax } from "../engine/ops/softmax.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { spreadLoops, sumLoops } from "../kernels/reduce/reduce.check.ts";
import { softmaxDxLoops, softmaxLoops } from "../kernels/softmax/softmax.check.ts";

type Floats = ArrayLike<number>;
const device = await openDevice();

/** Sums over runs of C (over everything unless told), of x or of x * z. */
const sums = (x: Floats, z?: Floats, C = x.length) => sumLoops({ rows: x.length / C, C, n: x.length, scale: 1 }, z ? { x, z } : { x }).y;
const total = (x: Floats, z?: Floats) => sums(x, z)[0];
/** The gradient of scale * sums. */
const slopes = (n: number, C: number, dy: Floats, scale: number, z?: Floats) =>
  spreadLoops({ n, C, acc: 0, scale }, z ? { dy, z } : { dy }).dx;

/** Compares a gradient with central differences of sum(y(x) * dy) in f64. */
function differences(x: Float64Array, dy: Floats, y: () => Floats, gradient: Floats): void {
  const h = 1e-4;
  const rms = Math.sqrt(total(gradient, gradient) / gradient.length);
  for (let i = 0; i < x.length; i++) {
    const old = x[i];
    x[i] = old + h;
    const up = total(y(), dy);
    x[i] = old - h;
    const slope = (up - total(y(), dy)) / (2 * h);
    x[i] = old;
    assert.ok(Math.abs(slope - gradient[i]) < 1e-6 * (Math.abs(slope) + rms), `[${i}]: ${gradient[i]}, by differences ${slope}`);
  }
}

const wide = (n: number, rng: Rng) => Float64Array.from(rng.normals(n));

test("the reference gradients agree with differences", () => {
  const rng = new Rng(1);
  const [x, w, d1, d4] = [wide(20, rng), wide(20, rng), wide(1, rng), wide(4, rng)];
  differences(x, d1, () => [total(x) / 20], slopes(20, 20, d1, 1 / 20));
  differences(x, d1, () => [total(x, w)], slopes(20, 20, d1, 1, w));
  differences(x, d4, () => sums(x, undefined, 5), slopes(20, 5, d4, 1));
  differences(x, w, () => softmaxLoops(x, 5), softmaxDxLoops(softmaxLoops(x, 5), w, 5));
});

/** The loss and the parameters' gradients, from the device. */
async function onDevice(parameters: readonly Tensor[], loss: (tape: Tape) => Tensor): Promise<{ loss: number; gradients: Float32Array[] }> {
  const tape = new Tape(device, { training: true });
  const y = loss(tape);
  tape.backward(y);
  const grads = parameters.map((p) => tape.grad(p));
  const plan = await tape.plan();
  const [value, ...gradients] = (await plan.run().read(y, ...grads)) as Float32Array[];
  plan.destroy();
  return { loss: value[0], gradients };
}

function parameter(shape: number[], rng: Rng, name: string): { t: Tensor; data: Float32Array } {
  const data = rng.normals(shape.reduce((a, b) => a * b, 1));
  const t = device.tensor(shape, { name, data });
  t.trainable = true;
  return { t, data };
}

function near(got: Floats, want: Floats, name: string): void {
  assert.is(got.length, want.length, name);
  const rms = Math.sqrt(total(want, want) / want.length);
  for (let i = 0; i < got.length; i++) {
    assert.ok(Math.abs(got[i] - want[i]) <= 1e-5 * (Math.abs(want[i]) + rms), `${name}[${i}] is ${got[i]} but must be ${want[i]}`);
  }
}

for (const shape of [
  [4, 5],
  [3, 40],
  [2, 3, 36],
  [3, 6001],
  [70, 64],
]) {
  const name = `(${shape.join(", ")})`;
  const n = shape.reduce((a, b) => a * b, 1);
  const C = shape[shape.length - 1];

  test(`sum and mean of ${name}`, async () => {
    const x = parameter(shape, new Rng(2), "x");
    const whole = await onDevice([x.t], (tape) => sum(tape.bring(x.t)));
    near([whole.loss], [total(x.data)], "sum");
    near(whole.gradients[0], new Float64Array(n).fill(1), "dx");
    const average = await onDevice([x.t], (tape) => mean(tape.bring(x.t)));
    near([average.loss], [total(x.data) / n], "mean");
    near(average.gradients[0], new Float64Array(n).fill(1 / n), "dx");
  });

  test(`dot of ${name}, with another tensor and with itself`, async () => {
    const rng = new Rng(3);
    const [x, w] = [parameter(shape, rng, "x"), parameter(shape, rng, "w")];
    const two = await onDevice([x.t, w.t], (tape) => dot(tape.bring(x.t), w.t));
    near([two.loss], [total(x.data, w.data)], "dot");
    near(two.gradients[0], w.data, "dx");
    near(two.gradients[1], x.data, "dw");
    const one = await onDevice([x.t], (tape) => dot(tape.bring(x.t), x.t));
    near([one.loss], [total(x.data, x.data)], "square");
    near(
      one.gradients[0],
      x.data.map((v) => 2 * v),
      "dx of the square",
    );
  });

  test(`row sums of ${name}`, async () => {
    const rng = new Rng(4);
    const x = parameter(shape, rng, "x");
    const weights = rng.normals(n / C);
    const w = device.tensor(shape.slice(0, -1), { name: "weights", data: weights });
    const got = await onDevice([x.t], (tape) => dot(rowSum(tape.bring(x.t)), w));
    near([got.loss], [total(sums(x.data, undefined, C), weights)], "weighted row sums");
    near(got.gradients[0], slopes(n, C, weights, 1), "dx");
  });

  test(`softmax of ${name}, and a second use of its input`, async () => {
    const rng = new Rng(5);
    const x = parameter(shape, rng, "x");
    const weights = rng.normals(n);
    const w = device.tensor(shape, { name: "weights", data: weights });
    const y = softmaxLoops(x.data, C);
    const once = softmaxDxLoops(y, weights, C);
    const got = await onDevice([x.t], (tape) => dot(softmax(tape.bring(x.t)), w));
    near([got.loss], [total(y, weights)], "weighted softmax");
    near(got.gradients[0], once, "dx");
    const twice = await onDevice([x.t], (tape) => dot(softmax(tape.bring(x.t)), softmax(tape.bring(x.t))));
    near(
      twice.gradients[0],
      softmaxDxLoops(
        y,
        y.map((v) => 2 * v),
        C,
      ),
      "dx of the square",
    );
  });
}

test("unequal shapes are named", () => {
  const tape = new Tape(device);
  assert.throws(
    () => dot(tape.input("x", [2, 3]), tape.input("w", [3, 2])),
    /dot: x \(2, 3\) and w \(3, 2\): both must have the same shape/,
  );
});

test.run();
