// Generation against full forward passes without a cache and against the f64 reference model: one by one or in a batch, alone or as branches of
// one prompt, prefilled at once or in parts, a row's ids are the same. The published implementation's runs: test/goldens_command.test.ts.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { sample } from "../engine/ops/index.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Chameleon } from "../models/chameleon.ts";
import { type Continuation, Generator, type GeneratorShape, type SamplingOptions } from "../models/generate.ts";
import { fixedRules, packMask } from "../models/rules.ts";
import { logSoftmax, referenceLogits } from "./reference_chameleon.ts";
import { fullForward, messageOf, tinyConfig, tinyModel } from "./tiny_model.ts";

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
const greedy: SamplingOptions = { temperature: 0, seed: 0 };
const warm: SamplingOptions = { temperature: 1.3, topK: 20, topP: 0.95, seed: 42 };

/** Prompts of 2, 5, 9 and 4 ids. */
const prompts = [2, 5, 9, 4].map((n, i) => Uint32Array.from({ length: n }, (_, t) => (t ? 8 + new Rng(i, `prompt ${t}`).int(37) : 0)));
/** All ids but those of pictures, 5 to 7. */
const allowed = Uint8Array.from({ length: config.vocabSize }, (_, i) => (i >= 5 && i <= 7 ? 0 : 1));
const rules = fixedRules(allowed);
const newTokens = 14;

async function generate(
  model: Chameleon,
  shape: Partial<GeneratorShape>,
  given: readonly Uint32Array[],
  options: SamplingOptions,
  streams?: Uint32Array,
): Promise<Continuation[][]> {
  const full = {
    prompts: given.length,
    branches: 1,
    promptTokens: 9,
    newTokens,
    rules: fixedRules(allowed.subarray(0, model.config.vocabSize)),
    ...shape,
  };
  const g = await Generator.make(device, model, full);
  const out = await g.run(given, options, { streams });
  g.destroy();
  return out;
}

const ids = (c: Continuation): number[] => [...c.ids];

/** A sampler over one row of logits that the host gives. */
async function hostSampler(
  options: SamplingOptions,
  V: number,
): Promise<(logits: Float32Array, stream: number, draw: number) => Promise<number>> {
  const tape = new Tape(device);
  const words = (name: string, n: number) => tape.input(name, [1, n], "u32");
  const mask = packMask(allowed.subarray(0, V));
  const numbers = {
    temperature: options.temperature,
    topK: options.topK ?? 0,
    topP: options.topP ?? 1,
    seed: options.seed,
    counter: tape.scalar("draw", 0),
  };
  const chosen = sample(tape.input("logits", [1, V]), {
    allowed: words("allowed", mask.length),
    mode: words("mode", 1),
    streams: words("streams", 1),
    ...numbers,
  });
  tape.keep(chosen.ids);
  const plan = await tape.plan();
  plan.write("allowed", mask).write("mode", Uint32Array.of(0));
  return async (logits, stream, draw) => {
    plan.write("logits", logits).write("streams", Uint32Array.of(stream)).set("draw", draw).run();
    return (await plan.read(chosen.ids))[0][0];
  };
}

for (const [name, m] of Object.entries(models)) {
  for (const [how, options] of Object.entries({ greedy, sampled: warm })) {
    test(`cached and uncached decoding agree token for token: ${name}, ${how}`, async () => {
      const V = m.config.vocabSize;
      const cached = await generate(m.lm, {}, prompts, options);
      const forward = await fullForward(device, m.lm, 9 + newTokens);
      const choose = await hostSampler(options, V);
      for (const [p, prompt] of prompts.entries()) {
        const sequence = [...prompt];
        for (let t = 0; t < newTokens; t++) {
          const row = (await forward(sequence)).subarray((sequence.length - 1) * V);
          sequence.push(await choose(row, p, t));
        }
        assert.equal(ids(cached[p][0]), sequence.slice(prompt.length), `prompt ${p}`);
      }
      if (how === "greedy") return;
      const cold = await generate(m.lm, {}, prompts, greedy);
      assert.ok(
        cached.some(([c], p) => ids(c).join() !== ids(cold[p][0]).join()),
        "sampling chose what greedy decoding does",
      );
    });
  }

  test(`greedy ids and log-probabilities of generation are those of the f64 model: ${name}`, async () => {
    const V = m.config.vocabSize;
    for (const [p, [c]] of (await generate(m.lm, {}, prompts, greedy)).entries()) {
      const sequence = [...prompts[p]];
      c.ids.forEach((id, t) => {
        const row = logSoftmax(referenceLogits(m.config, m.weights, sequence).subarray((sequence.length - 1) * V), allowed);
        assert.is(id, row.indexOf(Math.max(...row)));
        assert.ok(Math.abs(c.logprobs[t] - row[id]) < 1e-4, `token ${t} of prompt ${p}: ${c.logprobs[t]} but must be ${row[id]}`);
        sequence.push(id);
      });
    }
  });
}

test("a batch of prompts of different lengths equals one by one", async () => {
  for (const options of [greedy, warm]) {
    const batch = await generate(lm, {}, prompts, options);
    for (const [p, prompt] of prompts.entries()) {
      const [[alone]] = await generate(lm, { promptTokens: prompt.length }, [prompt], options, Uint32Array.of(p));
      assert.equal(ids(batch[p][0]), ids(alone), `prompt ${p}`);
    }
  }
});

test("branches of one prompt equal separate runs with the same streams", async () => {
  const streams = Uint32Array.of(7, 3, 100, 8, 9, 10);
  const given = [prompts[1], prompts[2]];
  const together = await generate(lm, { branches: 3 }, given, warm, streams);
  assert.equal(
    together.map((b) => b.length),
    [3, 3],
  );
  for (const [p, branches] of together.entries()) {
    for (const [b, branch] of branches.entries()) {
      const [[alone]] = await generate(lm, {}, [given[p]], warm, Uint32Array.of(streams[p * 3 + b]));
      assert.equal(ids(branch), ids(alone), `prompt ${p}, branch ${b}`);
    }
    assert.is(new Set(branches.map((c) => ids(c).join())).size, 3, "the branches are copies of each other");
  }
});

test("a generator can be used again, with fewer prompts, and gives the same ids", async () => {
  const g = await Generator.make(device, lm, { prompts: 3, branches: 2, promptTokens: 9, newTokens, rules });
  const first = await g.run(prompts.slice(0, 3), warm);
  await g.run([prompts[3]], greedy);
  const again = await g.run(prompts.slice(0, 3), warm);
  assert.equal(
    again.map((b) => b.map(ids)),
    first.map((b) => b.map(ids)),
  );
  const few = await g.run([prompts[0]], warm);
  assert.equal(
    few.map((b) => b.map(ids)),
    [first[0].map(ids)],
  );
  g.destroy();
});

test("nothing that is not allowed is written, and another seed writes something else", async () => {
  const only = Uint8Array.from({ length: config.vocabSize }, (_, i) => (i === 9 || i === 31 || i === 44 ? 1 : 0));
  const [a, b] = [1, 2].map((seed) => generate(lm, { branches: 8, rules: fixedRules(only) }, [prompts[1]], { temperature: 5, seed }));
  const [first, second] = [(await a)[0].map(ids), (await b)[0].map(ids)];
  assert.equal(
    [...new Set(first.flat())].sort((x, y) => x - y),
    [9, 31, 44],
  );
  assert.is.not(first.join(), second.join());
});

test("the stop id ends a continuation and is scored but not written", async () => {
  const plain = await generate(lm, {}, prompts, greedy);
  const stopId = plain[2][0].ids[5];
  for (const [p, [c]] of (await generate(lm, { rules: fixedRules(allowed, stopId) }, prompts, greedy)).entries()) {
    const end = plain[p][0].ids.indexOf(stopId);
    assert.is(c.stopped, end >= 0);
    assert.equal(ids(c), ids(plain[p][0]).slice(0, end < 0 ? undefined : end));
    assert.equal([...c.logprobs], [...plain[p][0].logprobs].slice(0, end < 0 ? undefined : end + 1));
  }
});

test("prompts that do not fit are refused", async () => {
  const g = await Generator.make(device, lm, { prompts: 2, branches: 1, promptTokens: 5, newTokens: 2, rules });
  const said = (given: Uint32Array[]) => messageOf(() => g.run(given, greedy));
  assert.is(await said([prompts[2]]), "generate: a prompt has 9 tokens but 2 to 5 fit; shorten it or make a longer generator");
  assert.is(await said([Uint32Array.of(0)]), "generate: a prompt has 1 tokens but 2 to 5 fit; shorten it or make a longer generator");
  assert.is(await said([prompts[0], prompts[0], prompts[1]]), "generate: 3 prompts were given but the generator was made for 1 to 2");
  g.destroy();
  const short = () => Generator.make(device, lm, { prompts: 1, branches: 1, promptTokens: 1, newTokens: 2, rules });
  assert.is(await messageOf(short), "generate: a prompt needs at least 2 tokens; put the begin-of-sequence id in front");
});

test("without the memory for keys and values a generator is refused in a sentence, and nothing is left of it", async () => {
  const { host } = device;
  if (!device.capabilities.software) return;
  const shape = { prompts: 2, branches: 2, promptTokens: 9, newTokens, rules };
  const before = device.memory().cache;
  const memory = host.freeMemory;
  for (const [enough, what] of [
    [0, "keys and values"],
    [1, "activations"],
  ] as const) {
    let asked = 0;
    Object.assign(host, { freeMemory: () => (asked++ < enough ? 2 ** 40 : 100) });
    const said = await messageOf(() => Generator.make(device, lm, shape));
    Object.assign(host, { freeMemory: memory });
    assert.match(said, new RegExp(`^${what}: .* are needed, .* are free; use `));
    assert.equal([device.memory().cache, device.lost], [before, undefined]);
  }
});

test("an empty list of prompts is refused", async () => {
  const g = await Generator.make(device, lm, { prompts: 2, branches: 1, promptTokens: 5, newTokens: 2, rules });
  assert.match(await messageOf(() => g.run([], greedy)), /^generate: 0 prompts were given but the generator was made for 1 to 2/);
  g.destroy();
});

test.run();
