// Sampling as a plan: frequencies against softmax probabilities, draws that depend on (seed, stream, counter) alone, settings that change
// from run to run, and the messages of wrong arguments.
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { sample } from "../engine/ops/sample.ts";
import { pcg4d, Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import { gumbelOf } from "../kernels/gumbel/gumbel.check.ts";
import { keptIds } from "../kernels/sample/sample.check.ts";

const device = await openDevice();
const open = { temperature: 1, topK: 0, topP: 1, seed: 11 };

/** A plan over R rows of V logits with one mask row that allows `ids`. */
async function sampler(R: number, V: number, ids: readonly number[]) {
  const tape = new Tape(device);
  const logits = tape.input("logits", [R, V]);
  const allowed = tape.input("allowed", [1, Math.ceil(V / 32)], "u32");
  const mode = tape.input("mode", [R], "u32");
  const streams = tape.input("streams", [R], "u32");
  const counter = tape.scalar("counter");
  const numbers = {
    temperature: tape.scalar("temperature", 1),
    topK: tape.scalar("topK"),
    topP: tape.scalar("topP", 1),
    seed: tape.scalar("seed"),
  };
  const chosen = sample(logits, { allowed, mode, streams, counter, ...numbers });
  tape.keep(chosen.ids);
  tape.keep(chosen.logprobs);
  const plan = await tape.plan();
  const bits = new Uint32Array(Math.ceil(V / 32));
  for (const c of ids) bits[c >> 5] |= 1 << (c & 31);
  plan.write("allowed", bits).write("mode", new Uint32Array(R));
  const draw = async (x: Float32Array, rows: Uint32Array, at: number, settings: typeof open) => {
    plan.write("logits", x).write("streams", rows).set("counter", at);
    for (const [name, value] of Object.entries(settings)) plan.set(name, value);
    const [got, logprobs] = await plan.run().read(chosen.ids, chosen.logprobs);
    return { ids: got as Uint32Array, logprobs: logprobs as Float32Array };
  };
  return { draw, plan };
}

/** Repeats one row of logits. */
function repeated(x: Float32Array, R: number): Float32Array {
  const all = new Float32Array(R * x.length);
  for (let r = 0; r < R; r++) all.set(x, r * x.length);
  return all;
}

test("the reference repeats the engine's hash", () => {
  for (const [stream, id, counter, seed] of [
    [0, 0, 0, 0],
    [7, 65535, 1023, 4000000000],
  ]) {
    const u = ((pcg4d(stream, id, counter, seed)[0] >>> 9) + 0.5) / 8388608;
    assert.is(gumbelOf(stream, id, counter, seed), -Math.log(-Math.log(u)));
  }
});

// Chi-square has mean f and deviation sqrt(2 f) with f degrees of freedom; a seed is fixed, so 4 deviations never flicker.
for (const settings of [open, { ...open, temperature: 0.6 }, { ...open, topK: 12 }, { ...open, temperature: 1.4, topK: 40, topP: 0.8 }]) {
  const { temperature, topK, topP } = settings;
  test(`20,000 draws follow the softmax at temperature ${temperature}, top-k ${topK}, top-p ${topP}`, async () => {
    const [R, V] = [250, 100];
    const some = Array.from({ length: V }, (_, c) => c).filter((c) => c % 5 !== 2);
    const x = new Rng(4).normals(V, 1.2);
    const { draw, plan } = await sampler(R, V, some);
    const counts = new Array<number>(V).fill(0);
    const streams = Uint32Array.from({ length: R }, (_, r) => r);
    for (let at = 0; at < 80; at++) for (const id of (await draw(repeated(x, R), streams, at, settings)).ids) counts[id]++;
    plan.destroy();
    const kept = keptIds(x, some, settings);
    const weights = kept.map((c) => Math.exp(x[c] / temperature));
    const total = weights.reduce((a, v) => a + v, 0);
    assert.is(
      kept.reduce((a, c) => a + counts[c], 0),
      20000,
      "an id that is not kept was drawn",
    );
    const chi = kept.reduce((a, c, i) => a + (counts[c] - (20000 * weights[i]) / total) ** 2 / ((20000 * weights[i]) / total), 0);
    const freedom = kept.length - 1;
    assert.ok(Math.abs(chi - freedom) < 4 * Math.sqrt(2 * freedom), `chi-square is ${chi.toFixed(1)} with ${freedom} degrees of freedom`);
  });
}

test("a draw depends on seed, stream and counter, not on its row or its neighbours", async () => {
  const [R, V] = [6, 1000];
  const { draw, plan } = await sampler(
    R,
    V,
    Array.from({ length: V }, (_, c) => c),
  );
  const x = new Rng(5).normals(R * V);
  const streams = Uint32Array.from([3, 1, 4, 15, 92, 65]);
  const first = await draw(x, streams, 9, open);
  const turned = Float32Array.from({ length: R * V }, (_, i) => x[(R - 1 - Math.floor(i / V)) * V + (i % V)]);
  const second = await draw(turned, streams.slice().reverse(), 9, open);
  assert.equal(Array.from(second.ids).reverse(), Array.from(first.ids));
  assert.equal(Array.from(second.logprobs).reverse(), Array.from(first.logprobs));
  for (const [name, other] of Object.entries({
    seed: await draw(x, streams, 9, { ...open, seed: 12 }),
    counter: await draw(x, streams, 10, open),
    stream: await draw(
      x,
      streams.map((s) => s + 100),
      9,
      open,
    ),
  })) {
    assert.ok(Array.from(other.ids).filter((id, r) => id !== first.ids[r]).length >= 4, `another ${name} gave the same draws`);
  }
  plan.destroy();
});

test("temperature 0 is greedy and may be set from run to run", async () => {
  const { draw, plan } = await sampler(2, 8, [1, 2, 5, 6]);
  const x = Float32Array.from([9, 1, 3, 9, 9, 3, 0, 9, 0, -4, -4, 0, 0, -4, -5, 0]);
  const got = await draw(x, new Uint32Array(2), 0, { ...open, temperature: 0 });
  assert.equal(Array.from(got.ids), [2, 1]);
  const want = [3 - Math.log(2 * Math.exp(3) + Math.exp(1) + 1), -Math.log(3 + Math.exp(-1))];
  got.logprobs.forEach((v, r) => {
    assert.ok(Math.abs(v - want[r]) < 1e-5, `logprob ${v}, not ${want[r]}`);
  });
  const seen = new Set<number>();
  for (let at = 0; at < 20; at++) seen.add((await draw(x, new Uint32Array(2), at, { ...open, temperature: 5 })).ids[0]);
  assert.ok(seen.size > 1 && [...seen].every((id) => [1, 2, 5, 6].includes(id)), `drew ${[...seen]}`);
  plan.destroy();
});

test("wrong arguments are named", () => {
  const tape = new Tape(device);
  const logits = tape.input("logits", [2, 40]);
  const [mode, streams] = [tape.input("mode", [2], "u32"), tape.input("streams", [2], "u32")];
  const allowed = tape.input("allowed", [1, 2], "u32");
  const good = { allowed, mode, streams, counter: 0, ...open };
  assert.throws(
    () => sample(logits, { ...good, allowed: mode.reshape(2, 1) }),
    /allowed must be \(masks, 2\), one bit for each of the 40 ids/,
  );
  assert.throws(
    () => sample(logits, { ...good, mode: allowed.reshape(2), streams: tape.input("three", [3], "u32") }),
    /need 2 values, one for each row/,
  );
  assert.throws(() => sample(logits, { ...good, temperature: -1 }), /temperature is -1 but must be at least 0/);
  assert.throws(() => sample(logits, { ...good, topP: 1.5 }), /topP is 1.5 but must be 0 to 1/);
  assert.throws(() => sample(logits, { ...good, topK: Number.NaN }), /topK is NaN/);
});

test.run();
