// What may be written, and how it is sampled: modes and grammar, guidance of pictures against logits mixed on the host, the repetition penalty, prompts
// prefilled in parts, caches in f16, the stream of steps, and stopping.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { type Continuation, Generator, type GeneratorShape, type SamplingOptions } from "../models/generate.ts";
import { fixedRules, type IdSpace, type Mode, rulesFor } from "../models/rules.ts";
import { referenceLogits } from "./reference_chameleon.ts";
import { messageOf, tinyConfig, tinyModel } from "./tiny_model.ts";

const device = await openDevice();
const { config, lm, weights } = await tinyModel(device, tinyConfig({ vocabSize: 45 }), 1);
const V = config.vocabSize;
/** Ids 8 to 19 are picture codes; a picture has 4. */
const space: IdSpace = {
  ...{ size: V, bos: 0, eos: 2, pad: 1, boi: 5, eoi: 6 },
  imageIds: Uint32Array.from({ length: 12 }, (_, i) => 8 + i),
};
const picture = 4;
const isCode = (id: number) => id >= 8 && id < 20;
const greedy: SamplingOptions = { temperature: 0, seed: 0 };
const hot: SamplingOptions = { temperature: 8, seed: 3 };
const prompt = Uint32Array.of(0, 30, 22, 41);
const drawing = Uint32Array.of(0, 5, 9, 10, 11, 12, 6, 30, 22, 5);

async function generate(
  shape: Partial<GeneratorShape>,
  given: readonly Uint32Array[],
  options: SamplingOptions,
): Promise<Continuation[][]> {
  const rules = fixedRules(new Uint8Array(V).fill(1));
  const longest = Math.max(...given.map((p) => p.length));
  const g = await Generator.make(device, lm, {
    ...{ prompts: given.length, branches: 1, promptTokens: longest, newTokens: 24, rules },
    ...shape,
  });
  const out = await g.run(given, options);
  g.destroy();
  return out;
}

/** 16 hot continuations of a prompt under a mode. */
const wild = async (mode: Mode, given: Uint32Array, grammar: boolean, newTokens = 24) =>
  (await generate({ branches: 16, newTokens, rules: rulesFor(space, mode, { picture, grammar }) }, [given], hot))[0];

/** Checks that every begin mark of a sequence is followed by `picture` codes and an end mark, and that neither stands anywhere else. */
function wellFormed(ids: readonly number[]): void {
  for (let i = 0; i < ids.length; i++) {
    assert.ok(!isCode(ids[i]) && ids[i] !== 6, `id ${i} of ${ids} stands outside a picture`);
    if (ids[i] !== 5) continue;
    const rest = ids.slice(i + 1, i + picture + 2);
    assert.ok(rest.slice(0, picture).every(isCode), `the picture at ${i} of ${ids}`);
    assert.is(rest[picture], 6, `the end of the picture at ${i} of ${ids}`);
    i += picture + 1;
  }
}

test("modes without a grammar forbid what the published ones do", async () => {
  for (const c of await wild("text-only", prompt, false)) assert.ok(![...c.ids].some((id) => isCode(id) || id === 5 || id === 6));
  for (const c of await wild("released", prompt, false)) assert.ok(![...c.ids].some(isCode));
  for (const c of await wild("image-only", prompt, false)) {
    assert.ok([...c.ids].every((id) => isCode(id) || id === 5 || id === 6));
    assert.ok(c.ids.length > 0, "the end of the sequence was written first");
    assert.is(c.ids.indexOf(5, 24 - picture - 1), -1, "a picture was begun without room for it");
  }
  const free = await wild("unrestricted", prompt, false);
  assert.ok(free.some((c) => [...c.ids].some(isCode)) && free.some((c) => [...c.ids].some((id) => id > 20)));
  for (const c of await wild("interleaved-text-image", Uint32Array.of(0, 30, 5), false)) {
    const ids = [...c.ids];
    assert.ok(ids.slice(0, picture).every(isCode) && !isCode(ids[picture] ?? 0), String(ids));
  }
});

test("with the grammar every picture has exactly its codes and its end mark", async () => {
  let pictures = 0;
  for (const mode of ["image-only", "interleaved-text-image", "unrestricted"] as const) {
    for (const given of [prompt, drawing]) {
      for (const c of await wild(mode, given, true, 40)) {
        const ids = given === drawing ? [5, ...c.ids] : [...c.ids];
        wellFormed(ids);
        pictures += ids.filter((id) => id === 5).length;
      }
    }
  }
  assert.ok(pictures > 50, `${pictures} pictures were begun`);
});

test("guidance mixes the logits of the prompt, of its pictures, and of nothing", async () => {
  const rules = rulesFor(space, "image-only", { picture });
  const guidance = { image: 1.2, full: 3 };
  const [[c]] = await generate({ newTokens: picture + 1, rules, guided: true }, [drawing], { ...greedy, guidance });
  assert.is(c.ids.length, picture + 1);
  const contexts = [[...drawing], [0, 5, 9, 10, 11, 12, 6, 5], [0, 5]];
  for (let t = 0; t < picture; t++) {
    const [full, pictures, nothing] = contexts.map((ids) => referenceLogits(config, weights, ids).subarray(-V));
    const mixed = full.map((f, i) => nothing[i] + 1.2 * (pictures[i] - nothing[i]) + 3 * (f - pictures[i]));
    const scores = Array.from(mixed, (v, id) => (isCode(id) ? v : -1e9));
    const best = scores.indexOf(Math.max(...scores));
    assert.is(c.ids[t], best, `code ${t}`);
    const top = Math.max(...scores);
    assert.ok(Math.abs(c.logprobs[t] - (scores[best] - top - Math.log(scores.reduce((s, v) => s + Math.exp(v - top), 0)))) < 1e-4);
    for (const ids of contexts) ids.push(best);
  }
  assert.is(c.ids[picture], 6);
  const [[plain]] = await generate({ newTokens: picture + 1, rules }, [drawing], greedy);
  const [[neutral]] = await generate({ newTokens: picture + 1, rules, guided: true }, [drawing], {
    ...greedy,
    guidance: { image: 1, full: 1 },
  });
  assert.equal([...neutral.ids], [...plain.ids], "guidance of 1 and 1");
  const said = () => generate({ rules, guided: true }, [prompt], { ...greedy, guidance });
  assert.match(await messageOf(said), /^generate: guidance is for drawing a picture, so a prompt must end with the begin-of-image id/);
  assert.match(await messageOf(() => generate({}, [prompt], { ...greedy, guidance })), /made without it; make it with guided: true/);
});

test("the repetition penalty counts ids of the prompt and written ones", async () => {
  const [[c]] = await generate({ penalised: true, newTokens: 10 }, [prompt], { ...greedy, repetitionPenalty: 1.7 });
  const sequence = [...prompt];
  for (const [t, id] of c.ids.entries()) {
    const known = new Set(sequence);
    const scores = referenceLogits(config, weights, sequence)
      .subarray(-V)
      .map((v, i) => (known.has(i) ? (v > 0 ? v / 1.7 : v * 1.7) : v));
    assert.is(id, scores.indexOf(Math.max(...scores)), `id ${t}`);
    sequence.push(id);
  }
  const [[plain]] = await generate({ newTokens: 10 }, [prompt], greedy);
  assert.is.not([...c.ids].join(), [...plain.ids].join());
  const said = () => generate({}, [prompt], { ...greedy, repetitionPenalty: 2 });
  assert.match(await messageOf(said), /made without one; make it with penalised: true/);
});

test("prompts prefilled in parts, padded or not, continue as those prefilled at once", async () => {
  const given = [2, 17, 9, 36].map((n, p) => Uint32Array.from({ length: n }, (_, t) => (t ? 8 + ((7 * t + 5 * p) % 37) : 0)));
  for (const options of [greedy, { ...hot, temperature: 1 }]) {
    const whole = await generate({ branches: 2 }, given, options);
    for (const chunk of [1, 4, 10, 18]) {
      const parts = await generate({ branches: 2, chunk }, given, options);
      assert.equal(
        parts.map((b) => b.map((c) => [...c.ids])),
        whole.map((b) => b.map((c) => [...c.ids])),
        `parts of ${chunk}`,
      );
      for (const [p, branches] of parts.entries())
        for (const [k, c] of branches.entries())
          for (const [t, v] of c.logprobs.entries()) assert.ok(Math.abs(v - whole[p][k].logprobs[t]) < 1e-4, `parts of ${chunk}`);
    }
  }
});

if (device.capabilities.features.has("shader-f16")) {
  test("a cache in f16 takes half the memory and gives nearly the same log-probabilities", async () => {
    const rules = fixedRules(new Uint8Array(V).fill(1));
    const shape = { prompts: 1, branches: 1, promptTokens: 10, newTokens: 1, rules };
    const [half, full] = [
      await Generator.make(device, lm, { ...shape, cache: "f16" }),
      await Generator.make(device, lm, { ...shape, cache: "f32" }),
    ];
    assert.is(half.cacheBytes * 2, full.cacheBytes);
    const [[[a]], [[b]]] = [await half.run([drawing], greedy), await full.run([drawing], greedy)];
    assert.ok(Math.abs(a.logprobs[0] - b.logprobs[0]) < 1e-2 && a.logprobs[0] !== b.logprobs[0], `${a.logprobs[0]} and ${b.logprobs[0]}`);
    for (const g of [half, full]) g.destroy();
  });
}

test("the stream gives every step once and in order, and the same bits twice", async () => {
  const rules = fixedRules(new Uint8Array(V).fill(1));
  const g = await Generator.make(device, lm, { prompts: 1, branches: 3, promptTokens: 4, newTokens: 50, rules });
  const once = async () => {
    const ids: number[] = [];
    const logprobs: number[] = [];
    for await (const steps of g.stream([prompt], hot)) {
      assert.is(steps.first * 3, ids.length);
      ids.push(...steps.ids);
      logprobs.push(...steps.logprobs);
    }
    return { ids, logprobs };
  };
  const first = await once();
  assert.is(first.ids.length, 150);
  assert.equal(await once(), first);
  assert.equal(
    (await g.run([prompt], hot))[0].map((c) => [...c.ids]),
    [0, 1, 2].map((r) => first.ids.filter((_, i) => i % 3 === r)),
  );
  g.destroy();
});

test("a signal stops a stream between steps, and the generator can be used again", async () => {
  const rules = fixedRules(new Uint8Array(V).fill(1));
  const g = await Generator.make(device, lm, { prompts: 1, branches: 1, promptTokens: 4, newTokens: 100, rules });
  const whole = [...(await g.run([prompt], greedy))[0][0].ids];
  const controller = new AbortController();
  let count = 0;
  const said = await messageOf(async () => {
    for await (const steps of g.stream([prompt], greedy, { signal: controller.signal })) {
      count += steps.ids.length;
      controller.abort(new Error("enough"));
    }
  });
  assert.is(said, "enough");
  assert.ok(count < 100, `${count} ids came before the stop`);
  assert.equal([...(await g.run([prompt], greedy))[0][0].ids], whole);
  g.destroy();
});

test("a destroyed generator has given its memory back, and one too large for a binding is refused", async () => {
  const make = (branches: number, cache: "f32" | "f16" = "f32") => {
    const rules = rulesFor(space, "image-only", { picture });
    return Generator.make(device, lm, {
      prompts: 1,
      branches,
      promptTokens: 10,
      newTokens: 5,
      rules,
      guided: true,
      penalised: true,
      cache,
    });
  };
  // What a device makes once and keeps is there after the first.
  (await make(2)).destroy();
  const before = device.memory();
  const g = await make(2);
  await g.run([drawing], { ...greedy, guidance: { image: 1, full: 2 }, repetitionPenalty: 1.1 });
  assert.ok((device.memory().cache ?? 0) > (before.cache ?? 0));
  g.destroy();
  assert.equal(device.memory(), before);
  const said = await messageOf(() => make(400_000));
  assert.match(said, /^the keys of 6000000 tokens take 576000000 bytes a layer but one binding holds \d+; use fewer branches, .* in f16$/);
});

test("ids outside the vocabulary and unknown modes are refused", async () => {
  assert.match(
    await messageOf(() => generate({}, [Uint32Array.of(0, 45)], greedy)),
    /^generate: a prompt has the id 45 but the vocabulary has 45;/,
  );
  assert.throws(
    () => rulesFor(space, "pictures" as Mode, { picture }),
    /there is no generation mode "pictures"; choose one of text-only, /,
  );
});

test.run();
