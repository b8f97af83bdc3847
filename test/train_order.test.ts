// Batches and their order: few shapes with little padding, every example once an epoch, like lengths together, any step by itself; accumulation
// over n micro-batches equals one batch; several shapes in one run; steps that are no number; state of a run with all of it.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { parameters } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { optimizerState } from "../engine/optim.ts";
import { Rng } from "../engine/rng.ts";
import type { Chameleon } from "../models/chameleon.ts";
import { checkpointStore } from "../train/checkpoints.ts";
import { collate, type Example, shapesFor, sizeOf } from "../train/data.ts";
import { defaultTraining, type TrainOptions, train } from "../train/loop.ts";
import { batchesOf, type ExampleSet, exampleSet, feedOf, inTurn, shuffled } from "../train/order.ts";
import { rateAt } from "../train/schedule.ts";
import { messageOf, scratchFolder, tinyConfig, tinyModel } from "./tiny_model.ts";

const device = await openDevice();
const config = tinyConfig();
const fresh = async (seed = 3): Promise<Chameleon> => (await tinyModel(device, config, seed)).lm;

/** Examples of lengths from 6 to 6 + spread, with uneven weights. */
function examplesOf(count: number, spread: number, seed: number): Example[] {
  const rng = new Rng(seed, "lengths");
  return Array.from({ length: count }, () => {
    const T = 6 + rng.int(spread + 1);
    return {
      ids: Uint32Array.from({ length: T }, (_, i) => (i ? 8 + rng.int(config.vocabSize - 8) : 0)),
      weights: Float32Array.from({ length: T }, (_, i) => (i < 2 ? 0 : 0.5 + rng.uniform())),
    };
  });
}

async function stateOf(lm: Chameleon): Promise<Float32Array[]> {
  const all = parameters(lm);
  return (await device.read(...all.values(), ...optimizerState(device, all).values())) as Float32Array[];
}

const bits = (values: readonly Float32Array[]) => values.map((v) => Buffer.from(v.buffer, v.byteOffset, v.byteLength).toString("hex"));

test("shapes: the least padding for so many, checked against every way of cutting", () => {
  const rng = new Rng(1, "shapes");
  const sizes = Array.from({ length: 60 }, () => ({ T: 1 + rng.int(40), scored: 1 + rng.int(5) }));
  const cost = (shapes: readonly { T: number }[]) => sizes.reduce((a, s) => a + shapes.find((x) => x.T >= s.T)!.T, 0);
  const lengths = [...new Set(sizes.map((s) => Math.ceil(s.T / 4) * 4))].sort((a, b) => a - b);
  const longest = lengths[lengths.length - 1];
  let best = Number.POSITIVE_INFINITY;
  for (const a of lengths) for (const b of lengths) if (a <= b) best = Math.min(best, cost([{ T: a }, { T: b }, { T: longest }]));
  const three = shapesFor(sizes, 3);
  assert.ok(three.length <= 3 && cost(three) <= 1.02 * best, `${cost(three)} of ${best}`);
  for (const s of sizes) assert.ok(three.find((x) => x.T >= s.T)!.scored >= s.scored);
  assert.equal(
    shapesFor(
      Array.from({ length: 5 }, () => ({ T: 9, scored: 3 })),
      4,
    ),
    [{ T: 12, scored: 3 }],
  );
  // One long example among many short ones does not make all of them long.
  assert.equal(shapesFor([...Array.from({ length: 99 }, () => ({ T: 8, scored: 2 })), { T: 80, scored: 7 }], 2), [
    { T: 8, scored: 2 },
    { T: 80, scored: 7 },
  ]);
});

test("every epoch holds every example once, in another order, and like lengths share a batch", () => {
  const examples = examplesOf(203, 60, 2);
  const source = shuffled(examples, 7, { batch: 4, shapes: 3 });
  const epochs = 4;
  const all = Array.from({ length: Math.ceil((epochs * 203) / 4) }, (_, i) => source.batch(i, 4)).flat();
  for (let e = 0; e < epochs; e++) assert.is(new Set(all.slice(e * 203, (e + 1) * 203)).size, 203, `epoch ${e}`);
  assert.is.not(all[0], all[203]);
  const padded = (steps: number, s: typeof source) => {
    let [held, real] = [0, 0];
    for (let i = 0; i < steps; i++)
      for (const b of batchesOf(s, i, { batch: 4, accumulate: 1, padId: 1 })) {
        held += b.ids.length;
        real += b.tokens;
      }
    return held / real;
  };
  const [grouped, plain] = [padded(150, source), padded(150, shuffled(examples, 7))];
  assert.ok(grouped < 1.35 && plain > 1.6, `padding ${grouped} with groups, ${plain} without`);
  // Any step can be asked for by itself, whatever was asked before.
  const again = shuffled(examples, 7, { batch: 4, shapes: 3 });
  assert.is(again.batch(130, 4)[2], source.batch(130, 4)[2]);
  assert.is(again.batch(3, 4)[0], source.batch(3, 4)[0]);
  assert.is.not(shuffled(examples, 8).batch(0, 1)[0], shuffled(examples, 7).batch(0, 1)[0]);
});

test("a set may make its examples anew each epoch and choose which belong to it", () => {
  const examples = examplesOf(6, 3, 3);
  const set: ExampleSet = {
    ...exampleSet(examples),
    entries: (epoch) => (epoch % 2 ? [0, 1, 2] : [3, 4, 5]),
    make: (i, epoch) => ({ ...examples[i], weights: examples[i].weights.map((w) => w * (epoch + 1)) }),
  };
  const source = shuffled(set, 0);
  assert.is(source.count, 3);
  const second = source.batch(1, 3);
  assert.equal(new Set(second.map((e) => e.ids)), new Set([0, 1, 2].map((i) => examples[i].ids)));
  assert.ok(second.every((e) => examples.some((x) => x.ids === e.ids && e.weights[3] === Math.fround(2 * x.weights[3]))));
  assert.is(inTurn(source, 2, shuffled(examples, 0)).shapes.length, 1);
});

test("a batch refuses what does not fit", async () => {
  const [e] = examplesOf(1, 0, 1);
  const { T, scored } = sizeOf(e);
  assert.match(await messageOf(() => collate([e], { T: T - 1, scored }, 1)), /has 6 tokens but the batch holds 5/);
  assert.match(await messageOf(() => collate([e], { T, scored: scored - 1 }, 1)), /scores more than the 3 tokens/);
});

const base: TrainOptions = { ...defaultTraining, steps: 6, batch: 8, learningRate: 5e-3, weightDecay: 0.1, logEvery: 1, saveEvery: 100 };

for (const divideBy of ["weights", "tokens"] as const)
  test(`four micro-batches of 2 equal one batch of 8 (loss by ${divideBy})`, async () => {
    const source = shuffled(examplesOf(20, 12, 5), 1);
    const [one, four] = [await fresh(), await fresh()];
    const a = await train(device, one, source, { ...base, divideBy });
    const b = await train(device, four, source, { ...base, divideBy, batch: 2, accumulate: 4 });
    for (const [i, r] of a.log.entries()) {
      assert.ok(Math.abs(b.log[i].loss / r.loss - 1) < 1e-6, `loss ${b.log[i].loss} against ${r.loss} at step ${r.step}`);
      assert.ok(Math.abs(b.log[i].grad_norm / r.grad_norm - 1) < 1e-5, `norm ${b.log[i].grad_norm} against ${r.grad_norm}`);
      assert.is(b.log[i].epoch, r.epoch);
    }
  });

test("with accumulation and three shapes ten steps equal five, save, load in a fresh model, five", async () => {
  const source = shuffled(examplesOf(31, 60, 6), 1, { batch: 2, shapes: 3 });
  const o = { ...base, steps: 10, batch: 2, accumulate: 3, logEvery: 4, saveEvery: 5 };
  const whole = await fresh();
  const run = await train(device, whole, source, o);
  assert.is(source.shapes.length, 3);
  const folder = scratchFolder();
  const storeOf = (lm: Chameleon) => checkpointStore(device, parameters(lm), folder, { run: { o }, seed: 1, maxSteps: 10, examples: 31 });
  const first = await fresh();
  const stopping = new AbortController();
  const feed = feedOf(source, { ...o, padId: config.padId });
  const watched = {
    ...feed,
    next: (step: number) => {
      if (step === 4) stopping.abort();
      return feed.next(step);
    },
  };
  await train(device, first, watched, o, { store: storeOf(first), signal: stopping.signal });
  assert.equal(readdirSync(folder), ["checkpoint-5"]);
  const state = JSON.parse(readFileSync(join(folder, "checkpoint-5", "trainer_state.json"), "utf8"));
  assert.equal([state.global_step, state.max_steps, state.num_train_epochs], [5, 10, 2]);
  assert.equal(state.worldline.data, { epoch: 0, example: 30 });
  assert.equal(Object.keys(state.log_history[0]).slice(0, 5), ["step", "epoch", "loss", "learning_rate", "grad_norm"]);
  const second = await fresh(99);
  const resumed = await train(device, second, source, o, { store: storeOf(second) });
  assert.is(resumed.steps, 5);
  // The line of step 8 is the mean over steps 5 to 8, of which one lay before the save.
  assert.equal(
    resumed.log.map((r) => [r.step, r.loss, r.grad_norm, r.epoch]),
    run.log.map((r) => [r.step, r.loss, r.grad_norm, r.epoch]),
  );
  assert.equal(bits(await stateOf(second)), bits(await stateOf(whole)));
});

test("a step that is no number is passed over, counted and said, and changes nothing", async () => {
  const examples = examplesOf(8, 4, 9);
  const broken = { ...examples[0], weights: examples[0].weights.map((w) => (w ? Number.POSITIVE_INFINITY : 0)) };
  const feed = (at: number) => {
    const source = shuffled(examples, 1);
    return {
      ...source,
      batch: (step: number, size: number) => (step === at ? [broken, ...source.batch(step, size).slice(1)] : source.batch(step, size)),
    };
  };
  for (const accumulate of [1, 2]) {
    const lm = await fresh();
    const seen: number[] = [];
    const snapshots: string[][] = [];
    const o = { ...base, steps: 4, batch: 2, accumulate, saveEvery: 1, evalEvery: 1 };
    const snapshot = async () => {
      snapshots.push(bits(await stateOf(lm)));
      return { eval_loss: 1 };
    };
    const run = await train(device, lm, feed(2), o, { onSkip: (step) => seen.push(step), evaluate: snapshot });
    assert.equal(seen, [3]);
    assert.is(run.skipped, 1);
    assert.equal(
      run.log.map((r) => r.skipped_steps),
      [0, 0, 1, 1],
    );
    assert.equal(snapshots[2], snapshots[1], "the step changed the model");
    assert.is.not(snapshots[3][0], snapshots[2][0]);
    assert.ok(Number.isFinite(run.log[3].loss) && Number.isFinite(run.log[3].grad_norm));
    assert.is(run.evaluations.length, 4);
  }
});

test("schedules: warm-up by steps or by share, then to the floor", () => {
  const s = { learningRate: 1, steps: 100, warmupRatio: 0.1, type: "cosine", floor: 0 } as const;
  assert.equal([rateAt(s, 0), rateAt(s, 9), rateAt(s, 10)], [0.1, 1, 1]);
  assert.ok(Math.abs(rateAt(s, 55) - 0.5) < 1e-12 && rateAt(s, 99) < 1e-3);
  assert.is(rateAt({ ...s, warmupSteps: 50 }, 24), 0.5);
  assert.is(rateAt({ ...s, warmupSteps: 0 }, 0), 1);
  assert.ok(Math.abs(rateAt({ ...s, type: "linear", floor: 0.2 }, 55) - 0.6) < 1e-12);
  assert.is(rateAt({ ...s, type: "constant" }, 99), 1);
});

test.run();
