// The fused head and loss: value, per-token losses and gradients against f64 (which agree with differences), whole and in parts that never hold all
// logits, with label smoothing and z-loss, and a head stored as bf16 or int4; memory, and the same bits in two runs.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { crossEntropy, linear, linearCrossEntropy } from "../engine/ops/index.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { crossEntropyGradient, rowCost, rowLse } from "../kernels/cross_entropy/cross_entropy.check.ts";
import { messageOf } from "./tiny_model.ts";

const device = await openDevice();

interface Sizes {
  readonly R: number;
  readonly C: number;
  readonly V: number;
}
interface Given extends Sizes {
  readonly h: Float64Array;
  readonly w: Float64Array;
  readonly targets: Uint32Array;
  readonly weights: Float32Array;
}
interface Extras {
  readonly labelSmoothing: number;
  readonly zLoss: number;
}

const plain: Extras = { labelSmoothing: 0, zLoss: 0 };
const both: Extras = { labelSmoothing: 0.1, zLoss: 1e-2 };

function given({ R, C, V }: Sizes, seed: number): Given {
  const rng = new Rng(seed, "head");
  const draw = (n: number, d: number) => Float64Array.from(rng.normals(n, d));
  const weights = Float32Array.from({ length: R }, (_, r) => (r % 5 === 2 ? 0 : 0.25 + rng.uniform()));
  return {
    R,
    C,
    V,
    h: draw(R * C, 1),
    w: draw(V * C, 1.5 / Math.sqrt(C)),
    targets: Uint32Array.from({ length: R }, () => rng.int(V)),
    weights,
  };
}

function logitsOf({ R, C, V, h, w }: Given): Float64Array {
  const out = new Float64Array(R * V);
  for (let r = 0; r < R; r++) for (let v = 0; v < V; v++) for (let c = 0; c < C; c++) out[r * V + v] += h[r * C + c] * w[v * C + c];
  return out;
}

function lossOf(g: Given, e: Extras, by: number): number {
  const logits = logitsOf(g);
  return g.weights.reduce((s, w, r) => s + (w * rowCost(logits, r * g.V, g.V, g.targets[r], e.labelSmoothing, e.zLoss)) / by, 0);
}

/** Everything in f64. */
function reference(g: Given, e: Extras, by: number) {
  const { R, C, V, h, w, targets, weights } = g;
  const logits = logitsOf(g);
  const d = crossEntropyGradient({ R, V, smoothing: e.labelSmoothing, z: e.zLoss }, logits, targets, weights, 1 / by);
  const [dh, dw] = [new Float64Array(R * C), new Float64Array(V * C)];
  for (let r = 0; r < R; r++)
    for (let v = 0; v < V; v++)
      for (let c = 0; c < C; c++) {
        dh[r * C + c] += d[r * V + v] * w[v * C + c];
        dw[v * C + c] += d[r * V + v] * h[r * C + c];
      }
  const ce = Float64Array.from({ length: R }, (_, r) => rowLse(logits, r * V, V) - logits[r * V + targets[r]]);
  const best = Array.from({ length: R }, (_, r) =>
    logits.subarray(r * V, (r + 1) * V).indexOf(Math.max(...logits.subarray(r * V, (r + 1) * V))),
  );
  const scored = Array.from({ length: R }, (_, r) => r).filter((r) => weights[r] !== 0);
  const loss = lossOf(g, e, by);
  const totals = [loss * by, weights.reduce((a, v) => a + v, 0), scored.length, scored.filter((r) => best[r] === targets[r]).length];
  return { loss, ce, totals, dh, dw, correct: best.map((b, r) => (b === targets[r] ? 1 : 0)) };
}

const off = (got: ArrayLike<number>, want: ArrayLike<number>) => {
  assert.is(got.length, want.length);
  const rms = Math.sqrt(Array.from(want).reduce((a, v) => a + v * v, 0) / want.length) || 1;
  return Array.from(want).reduce(
    (worst, v, i) => (Number.isFinite(got[i]) ? Math.max(worst, Math.abs(got[i] - v) / (Math.abs(v) + rms)) : Infinity),
    0,
  );
};

interface Run {
  readonly logitBytes?: number;
  readonly head?: Tensor;
  readonly fused?: boolean;
  readonly by?: number;
}

/** On the device; the hidden states are a stored tensor so that their gradient can be read like a parameter's. */
async function onDevice(g: Given, e: Extras, { logitBytes, head, fused = true, by }: Run = {}) {
  const h = device.tensor([g.R, g.C], { name: "h", data: Float32Array.from(g.h) });
  const w = head ?? device.tensor([g.V, g.C], { name: "w", data: Float32Array.from(g.w) });
  h.trainable = true;
  w.trainable = !head;
  const tape = new Tape(device, { training: true });
  const [targets, weights] = [tape.input("targets", [g.R], "u32"), tape.input("weights", [g.R])];
  const options = { denominator: by ?? ("weights" as const), ...e };
  const x = tape.bring(h);
  const result = fused
    ? linearCrossEntropy(x, w, targets, weights, { ...options, logitBytes })
    : crossEntropy(linear(x, w), targets, weights, options);
  tape.backward(result.loss);
  for (const t of Object.values(result)) tape.keep(t);
  const plan = await tape.plan();
  plan.write("targets", g.targets).write("weights", g.weights).run();
  const [loss, totals, ce, correct, dh, ...dw] = await plan.read(
    ...[result.loss, result.totals, result.ce, result.correct, tape.grad(h), ...(head ? [] : [tape.grad(w)])],
  );
  const { activationBytes } = plan;
  plan.destroy();
  return { loss: loss[0], totals, ce, correct, dh, dw: dw[0], activationBytes };
}

const sizes: Sizes[] = [
  { R: 1, C: 8, V: 5 },
  { R: 7, C: 20, V: 33 },
  { R: 130, C: 24, V: 96 },
];

test("the f64 gradients agree with differences", () => {
  const g = given({ R: 4, C: 5, V: 7 }, 1);
  for (const e of [plain, both]) {
    const { dh, dw } = reference(g, e, 3);
    const h = 1e-5;
    for (const [values, want] of [
      [g.h, dh],
      [g.w, dw],
    ])
      for (let i = 0; i < values.length; i++) {
        const at = values[i];
        values[i] = at + h;
        const up = lossOf(g, e, 3);
        values[i] = at - h;
        const down = lossOf(g, e, 3);
        values[i] = at;
        assert.ok(Math.abs((up - down) / (2 * h) - want[i]) < 1e-8);
      }
  }
});

for (const s of sizes) {
  for (const [what, e] of [
    ["plain", plain],
    ["label smoothing and z-loss", both],
  ] as const) {
    test(`${s.R} rows of ${s.C}, ${s.V} ids, ${what}: against f64, whole and in parts`, async () => {
      const g = given(s, 3);
      const mass = g.weights.reduce((a, v) => a + v, 0);
      for (const by of [undefined, 11]) {
        const want = reference(g, e, by ?? mass);
        for (const logitBytes of [undefined, 1]) {
          const got = await onDevice(g, e, { logitBytes, by });
          for (const name of ["ce", "totals", "dh", "dw"] as const)
            assert.ok(off(got[name], want[name]) < 1e-5, `${name} is ${off(got[name], want[name])} off`);
          assert.ok(Math.abs(got.loss - want.loss) < 1e-5 * (1 + Math.abs(want.loss)), `the loss is ${got.loss} but must be ${want.loss}`);
          assert.equal([...got.correct], want.correct);
        }
      }
    });
  }
}

test("the fused loss equals that of materialised logits, bit for bit where one part is all", async () => {
  const g = given({ R: 130, C: 24, V: 96 }, 5);
  const apart = await onDevice(g, both, { fused: false });
  const whole = await onDevice(g, both);
  const parts = await onDevice(g, both, { logitBytes: 1 });
  for (const name of ["ce", "totals", "dh", "dw", "correct"] as const) {
    assert.equal(whole[name], apart[name], name);
    assert.ok(off(parts[name], Float64Array.from(apart[name])) < 2e-6, name);
  }
  assert.equal(await onDevice(g, both, { logitBytes: 1 }), parts, "two runs");
});

test("memory does not grow with the logits, and a row of weight 0 gives no gradient", async () => {
  const g = given({ R: 512, C: 16, V: 2048 }, 6);
  const bytes = 4 * 64 * g.V;
  const { activationBytes, dh } = await onDevice(g, plain, { logitBytes: bytes });
  assert.ok(activationBytes < 2 * bytes + 4 * g.R * g.C * 4, `${activationBytes} bytes of activations`);
  for (let r = 0; r < g.R; r++)
    assert.is(
      dh.subarray(r * g.C, (r + 1) * g.C).some((v) => v !== 0),
      g.weights[r] !== 0,
      `row ${r}`,
    );
});

test("sizes that do not fit are said", async () => {
  const tape = new Tape(device);
  const [h, n] = [tape.input("h", [4, 6]), tape.input("n", [4])];
  const head = device.tensor([9, 5], { name: "head" });
  assert.match(
    await messageOf(() => linearCrossEntropy(h, head, n, n, { denominator: 1 })),
    /^linearCrossEntropy: h \(4, 6\) and head \(9, 5\): the head must be \(ids, 6\), one column for each of h$/,
  );
  const three = tape.input("three", [3], "u32");
  const good = device.tensor([9, 6], { name: "head" });
  assert.match(
    await messageOf(() => linearCrossEntropy(h, good, three, n, { denominator: 1 })),
    /targets and weights need 4 values, one per row of h$/,
  );
});

test.run();
