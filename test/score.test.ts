// Scores of given continuations: with a shared prefix, as whole sequences, by the f64 reference model, and as generation reports them.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { nodeHost } from "../engine/host_node.ts";
import { openDevice } from "../engine/node.ts";
import { openNullDevice } from "../engine/null_gpu.ts";
import { Rng } from "../engine/rng.ts";
import { createChameleon } from "../models/chameleon.ts";
import { Generator } from "../models/generate.ts";
import { fixedRules } from "../models/rules.ts";
import { type Scored, Scorer } from "../models/score.ts";
import { referenceTokenLosses } from "./reference_chameleon.ts";
import { messageOf, tinyConfig, tinyModel } from "./tiny_model.ts";

const device = await openDevice();
const models = {
  "norms first": await tinyModel(device, tinyConfig({ vocabSize: 45 }), 1),
  "norms behind, grouped heads": await tinyModel(
    device,
    tinyConfig({ vocabSize: 45, hidden: 32, heads: 4, kvHeads: 2, swinNorm: true }),
    2,
  ),
};
const [{ config, lm }] = Object.values(models);

/** Prompts of 2, 5 and 9 ids. */
const prompts = [2, 5, 9].map((n, i) => Uint32Array.from({ length: n }, (_, t) => (t ? 8 + new Rng(i, `prompt ${t}`).int(37) : 0)));

/** Candidates of several lengths that count some of their ids. */
const candidates: Scored[] = [1, 6, 3].map((n, i) => ({
  ids: Uint32Array.from({ length: n }, (_, t) => 8 + new Rng(i, `candidate ${t}`).int(37)),
  weights: Float32Array.from({ length: n }, (_, t) => (n > 1 && t === 1 ? 0 : 1)),
}));

for (const [name, m] of Object.entries(models)) {
  test(`scores with a shared prefix equal those of whole sequences and of the f64 model: ${name}`, async () => {
    const groups = [prompts[2], prompts[0]].map((prefix) => ({ prefix, candidates }));
    const shared = await Scorer.make(device, m.lm, { prompts: 2, branches: 3, prefixTokens: 9, tokens: 6, scored: 6 });
    const whole = await Scorer.make(device, m.lm, { prompts: 2, branches: 3, prefixTokens: 0, tokens: 15, scored: 6 });
    const joined = groups.map(({ prefix }) => ({
      candidates: candidates.map((c) => ({
        ids: Uint32Array.from([...prefix, ...c.ids]),
        weights: Float32Array.from([...prefix.map(() => 0), ...c.weights]),
      })),
    }));
    const [a, b] = [await shared.run(groups), await whole.run(joined)];
    for (const [p, group] of joined.entries()) {
      for (const [k, { ids: sequence, weights: counts }] of group.candidates.entries()) {
        const ce = referenceTokenLosses(m.config, m.weights, sequence);
        const want = -ce.reduce((s, v, t) => s + counts[t + 1] * v, 0);
        const tokens = counts.reduce((s, v) => s + v, 0);
        for (const got of [a[p][k], b[p][k]]) {
          assert.is(got.tokens, tokens);
          assert.ok(Math.abs(got.sum - want) < 1e-4, `prefix ${p}, candidate ${k}: ${got.sum} but must be ${want}`);
          assert.ok(Math.abs(got.mean - want / tokens) < 1e-4);
        }
      }
    }
    const again = await shared.run([groups[1]]);
    assert.equal(again, [a[1]], "a scorer used again, with fewer groups");
    shared.destroy();
    whole.destroy();
  });
}

test("scores equal the log-probabilities that generation reports", async () => {
  const everything = new Uint8Array(config.vocabSize).fill(1);
  const generator = await Generator.make(device, lm, {
    prompts: 1,
    branches: 2,
    promptTokens: 5,
    newTokens: 6,
    rules: fixedRules(everything),
  });
  const written = await generator.run([prompts[1]], { temperature: 1.3, seed: 42 });
  const scorer = await Scorer.make(device, lm, { prompts: 1, branches: 2, prefixTokens: 5, tokens: 6, scored: 6 });
  const list = written[0].map((c) => ({ ids: c.ids, weights: new Float32Array(6).fill(1) }));
  const [scores] = await scorer.run([{ prefix: prompts[1], candidates: list }]);
  for (const [b, s] of scores.entries()) assert.ok(Math.abs(s.sum - written[0][b].logprobs.reduce((x, y) => x + y, 0)) < 1e-4);
  generator.destroy();
  scorer.destroy();
});

test("eight pictures of a 7B are scored within any binding", async () => {
  const size = { hidden: 4096, intermediate: 11008, layers: 1, heads: 32, kvHeads: 32, headDim: 128, vocabSize: 65536, ropeTheta: 10000 };
  for (const [bindingBytes, branches] of [
    [2 ** 31 - 4, 8],
    [2 ** 27, 1],
  ]) {
    const large = await openNullDevice(nodeHost, { bindingBytes });
    const model = await createChameleon(large, tinyConfig(size), null, { as: { dtype: "bf16", groupSize: 64 } });
    await Scorer.make(large, model, { prompts: 1, branches, prefixTokens: 16, tokens: 1025, scored: 1024 });
  }
});

test("sequences that do not fit a scorer are refused", async () => {
  const scorer = await Scorer.make(device, lm, { prompts: 1, branches: 1, prefixTokens: 5, tokens: 4, scored: 2 });
  const one = (n: number, prefix = prompts[1]) =>
    scorer.run([{ prefix, candidates: [{ ids: new Uint32Array(n).fill(9), weights: new Float32Array(n).fill(1) }] }]);
  assert.match(await messageOf(() => one(5)), /^score: a sequence has 6 tokens but 5 fit/);
  assert.match(await messageOf(() => one(3)), /^score: a sequence counts more than 2 tokens/);
  assert.match(await messageOf(() => scorer.run([])), /^score: 0 groups were given but the scorer was made for 1 to 1/);
  assert.match(await messageOf(() => one(2, prompts[2])), /^score: a prefix has 9 tokens but/);
  assert.match(await messageOf(() => one(2, Uint32Array.of(0))), /^score: a prefix has 1 tokens but/);
  assert.match(
    await messageOf(() => scorer.run([{ prefix: prompts[1], candidates: [candidates[0], candidates[0]] }])),
    /^score: 2 candidates were given but 1 to 1 fit/,
  );
  scorer.destroy();
  const short = () => Scorer.make(device, lm, { prompts: 1, branches: 1, prefixTokens: 1, tokens: 4, scored: 2 });
  assert.is(await messageOf(short), "score: a shared prefix needs at least 2 tokens; give 0 to score whole sequences");
});

test.run();
