// CLIP-I, CLIP-T, DINO and BERTScore: tiny ONNX models through ONNX Runtime against sums in f64, texts against the Rust tokenizers, the layout of the hub
// against a server on the loopback, and `worldline eval` with all of them.
// Run: node --import tsx test/onnx_metrics.test.ts
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import type { Picture } from "../tokenizer/pixels.ts";
import { resizePicture } from "../tokenizer/pixels.ts";
import { parseTokenizer } from "../tokenizer/text.ts";
import { modelFolder } from "../weights/hub.ts";
import { baselineOf, bertScore, inverseFrequency, rescaled } from "../world/metrics/bert_score.ts";
import { cosine } from "../world/metrics/onnx.ts";
import { openBertScore } from "../world/metrics/onnx_bert.ts";
import { clipFiles, modelFiles, openClip, openDino } from "../world/metrics/onnx_pictures.ts";
import { encodePng } from "../world/pictures.ts";
import { fullWorld, randomScene, randomView, render } from "../world/tabletop/index.ts";
import { compareStrings, metricPipelines } from "./fuzz_strings.ts";
import { hubServer } from "./hub_server.ts";
import { tinyBert, tinyClip, tinyDino } from "./onnx_models.ts";
import { scratchFolder } from "./tiny_model.ts";

const scratch = scratchFolder();
const clipMean = [0.48145466, 0.4578275, 0.40821073];
const clipStd = [0.26862954, 0.26130258, 0.27577711];
const vitMean = [0.485, 0.456, 0.406];
const vitStd = [0.229, 0.224, 0.225];

function layOut(name: string, files: Record<string, Uint8Array>): string {
  const folder = join(scratch, name);
  for (const [file, data] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, file)), { recursive: true });
    writeFileSync(join(folder, file), data);
  }
  return folder;
}

function noise(seed: number, width = 16, height = 16): Picture {
  const rng = new Rng(seed, "noise");
  return { width, height, data: Uint8Array.from({ length: 3 * width * height }, () => rng.int(256)) };
}

/** The middle 16 x 16 pixels as a model's input [3, 16, 16], in f64. */
function exactPixels({ width, height, data }: Picture, mean: number[], std: number[]): number[] {
  const [left, top] = [(width - 16) / 2, (height - 16) / 2];
  return [0, 1, 2].flatMap((c) =>
    Array.from({ length: 256 }, (_, i) => {
      const byte = data[((top + Math.floor(i / 16)) * width + left + (i % 16)) * 3 + c];
      return (byte / 255 - mean[c]) / std[c];
    }),
  );
}

const exactCosine = (a: readonly number[], b: readonly number[]) => {
  const dot = (x: readonly number[], y: readonly number[]) => x.reduce((sum, v, i) => sum + v * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};

function close(a: ArrayLike<number>, b: ArrayLike<number>, limit = 2e-5): void {
  assert.is(a.length, b.length);
  for (let i = 0; i < a.length; i++) assert.ok(Math.abs(a[i] - b[i]) <= limit, `value ${i}: ${a[i]}, ${b[i]} is right`);
}

async function messageOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => assert.unreachable("nothing was thrown"),
    (e: unknown) => e,
  );
  assert.instance(error, WorldlineError, String((error as Error).stack));
  return (error as Error).message;
}

const clipTokens = parseTokenizer(metricPipelines().CLIP);
const bertTokens = parseTokenizer(metricPipelines().BERT);

test("texts for CLIP and BERT have the Rust library's ids, marks and decoded texts", async () => {
  assert.equal(await compareStrings(900, 11, undefined, metricPipelines()), []);
  assert.equal(
    clipTokens.ids("The  CAT's world", { addBos: true }).map((id) => clipTokens.token(id)),
    ["<|startoftext|>", "the</w>", "cat</w>", "'s</w>", "world</w>", "<|endoftext|>"],
  );
  assert.equal(
    bertTokens.ids("The catll Éz\u00e9, 世 \u2603", { addBos: true }).map((id) => bertTokens.token(id)),
    ["[CLS]", "the", "cat", "##ll", "e", "##z", "##e", ",", "世", "[UNK]", "[SEP]"],
  );
});

for (const joined of [false, true])
  test(`CLIP's vectors are those of f64, ${joined ? "one file for both" : "a file each"}`, async () => {
    const tiny = tinyClip(1, joined);
    const clip = await openClip(layOut(`clip ${joined}`, tiny.files));
    for (const picture of [noise(1), noise(2, 30, 16), noise(3, 16, 24)])
      close(await clip.picture(picture), tiny.exact.picture(exactPixels(picture, clipMean, clipStd)));
    const long = "the cat hello world the dog the cat 12 the cat ing";
    for (const text of ["", "move the Cat", "the cat's world!", long]) {
      const ids = clipTokens.ids(text, { addBos: true });
      const cut = ids.length > 12 ? [...ids.slice(0, 11), ids[ids.length - 1]] : ids;
      assert.is(ids.length > 12, text === long);
      close(await clip.text(text), tiny.exact.text(cut));
    }
  });

test("DINO's vector is the class token's; its pictures are made square, not cropped", async () => {
  const tiny = tinyDino(1);
  const dino = await openDino(layOut("dino", tiny.files));
  close(await dino.picture(noise(4)), tiny.exact(exactPixels(noise(4), vitMean, vitStd)));
  const wide = noise(5, 40, 24);
  close(await dino.picture(wide), tiny.exact(exactPixels(resizePicture(wide, 16, 16, 2), vitMean, vitStd)));
});

test("cosine: by hand", () => {
  assert.is(cosine([3, 0], [5, 0]), 1);
  assert.is(cosine([1, 0], [0, 2]), 0);
  assert.ok(Math.abs(cosine([1, 2, 2], [2, 1, -2]) - 0) < 1e-15);
  assert.ok(Math.abs(cosine([1, 1], [-1, 0]) + Math.SQRT1_2) < 1e-15);
  assert.is(cosine([0, 0], [1, 0]), 0);
  assert.throws(() => cosine([1], [1, 2]), /vectors of 1 and 2 values/);
});

test("BERTScore: tables by hand", () => {
  // Marks 0 and 9; words a = x, b = y, c = (0.6, 0.8), d = -x.
  const rows: Record<number, [number, number]> = { 0: [0, -1], 9: [0, -1], 1: [1, 0], 2: [0, 1], 3: [0.6, 0.8], 4: [-1, 0] };
  const tokens = (...words: number[]) => {
    const ids = [0, ...words, 9];
    return { ids, vectors: Float32Array.from(ids.flatMap((id) => rows[id])) };
  };
  const weight = (id: number) => (id === 0 || id === 9 ? 0 : 1);
  const table: [prediction: number[], target: number[], p: number, r: number][] = [
    [[1, 2], [1, 2], 1, 1],
    [[3], [1, 2], 0.8, (0.6 + 0.8) / 2],
    [[1, 2], [3], (0.6 + 0.8) / 2, 0.8],
    [[1, 1, 3], [1], (1 + 1 + 0.6) / 3, 1],
    // d is best matched by a mark: they may be matched, but weigh nothing.
    [[4], [1], 0, 0],
  ];
  for (const [prediction, target, p, r] of table) {
    const score = bertScore(tokens(...prediction), tokens(...target), weight);
    close([score.p, score.r, score.f], [p, r, p + r ? (2 * p * r) / (p + r) : 0], 1e-7);
  }
  assert.equal(bertScore(tokens(), tokens(1), weight), { p: 0, r: 0, f: 0 });
  const idf = inverseFrequency([
    [0, 1, 1, 9],
    [0, 1, 2, 9],
    [0, 3, 9],
  ]);
  close([0, 9, 1, 2, 4].map(idf), [0, 0, Math.log(4 / 3), Math.log(4 / 2), Math.log(4)], 1e-12);
  const [one, two] = [Math.log(4 / 3), Math.log(2)];
  const weighed = bertScore(tokens(1, 2), tokens(1), idf);
  close([weighed.p, weighed.r], [(one * 1 + two * 0) / (one + two), 1], 1e-7);
  const base = baselineOf("LAYER,P,R,F\n0,0.1,0.2,0.3\n1,0.5,0.6,0.75\n", 1, "base.tsv");
  assert.equal(base, { p: 0.5, r: 0.6, f: 0.75 });
  close(Object.values(rescaled({ p: 0.75, r: 0.6, f: 1 }, base)), [0.5, 0, 1], 1e-12);
  assert.throws(() => baselineOf("a\tb\n", 1, "x.tsv"), /x\.tsv does not begin with LAYER,P,R,F/);
  assert.throws(() => baselineOf("LAYER,P,R,F\n0,0.1,0.2,0.3\n", 1, "x.tsv"), /no P, R and F below 1 for layer 1/);
});

const pairs = [
  ["move the cat", "move the dog"],
  ["the cat", "the cat"],
  ["", "the dog"],
  ["hello world hello", "a dog, the cat 12!"],
  ["the the the the the the the the the the the the the the the the the the", "the cat"],
].map(([said, truth]) => ({ said, truth }));

/** BERTScore's F1 by its formula, in f64. */
function exactF(
  tiny: ReturnType<typeof tinyBert>,
  { said, truth }: { said: string; truth: string },
  layer: 1 | 2,
  weight: (id: number) => number,
): number {
  const cut = (text: string) => {
    const ids = bertTokens.ids(text, { addBos: true });
    return ids.length > 16 ? [...ids.slice(0, 15), ids[ids.length - 1]] : ids;
  };
  const [x, y] = [cut(said), cut(truth)];
  const [hx, hy] = [tiny.exact(x, layer), tiny.exact(y, layer)];
  const sim = hx.map((a) => hy.map((b) => exactCosine(a, b)));
  const words = (ids: number[]) => ids.map((id, i) => (i === 0 || i === ids.length - 1 ? 0 : weight(id)));
  const share = (w: number[], best: number[]) => w.reduce((s, v, i) => s + v * best[i], 0) / w.reduce((s, v) => s + v, 0);
  const p = share(
    words(x),
    sim.map((row) => Math.max(...row)),
  );
  const r = share(
    words(y),
    y.map((_, j) => Math.max(...sim.map((row) => row[j]))),
  );
  return Number.isNaN(p) ? 0 : (2 * p * r) / (p + r);
}

test("BERTScore through a model is that of f64: layers, rarity, baseline, texts in batches and alone", async () => {
  const tiny = tinyBert(1);
  const folder = layOut("bert", tiny.files);
  const scores = async (options = {}) => (await (await openBertScore(folder, options)).score(pairs)).map(({ f }) => f);
  const plain = await scores();
  close(
    plain,
    pairs.map((pair) => exactF(tiny, pair, 2, () => 1)),
  );
  assert.is(plain[2], 0);
  assert.ok(Math.abs(plain[1] - 1) < 1e-6);
  close(
    await scores({ layer: 1 }),
    pairs.map((pair) => exactF(tiny, pair, 1, () => 1)),
  );
  const idf = pairs.map((pair) => pair.truth);
  const documents = idf.map((text) => new Set(bertTokens.ids(text)));
  const rarity = (id: number) => Math.log((documents.length + 1) / (documents.filter((d) => d.has(id)).length + 1));
  close(
    await scores({ idf }),
    pairs.map((pair) => exactF(tiny, pair, 2, rarity)),
  );
  const baseline = join(scratch, "baseline.tsv");
  writeFileSync(baseline, "LAYER,P,R,F\n0,0,0,0\n1,0,0,0\n2,0.25,0.25,0.5\n");
  close(
    await scores({ baseline }),
    plain.map((f) => (f - 0.5) / 0.5),
    1e-6,
  );
  const scorer = await openBertScore(folder);
  for (const [i, pair] of pairs.entries()) close([(await scorer.score([pair]))[0].f], [plain[i]], 1e-6);
});

test("what is no such model is refused with one sentence", async () => {
  const { files } = tinyDino(1);
  const broken = layOut("broken", { ...files, "onnx/model.onnx": files["onnx/model.onnx"].slice(0, 500) });
  assert.match(await messageOf(openDino(broken)), /model\.onnx: ONNX Runtime cannot read it \(.*\); is the file whole/);
  const other = layOut("other", tinyDino(1, "logits").files);
  assert.match(
    await messageOf(openDino(other)),
    /no output is called last_hidden_state, there are logits; a DINO model without a head is needed$/,
  );
  assert.match(await messageOf(openClip(scratch)), /has no onnx\/vision_model\.onnx with onnx\/text_model\.onnx, nor onnx\/model\.onnx/);
  assert.match(
    await messageOf(openClip(join(scratch, "dino"))),
    /dino\/tokenizer\.json cannot be read; a folder in the hub's layout is needed/,
  );
  const clip = layOut("clip without a projection", { ...tinyClip(1).files, "onnx/vision_model.onnx": files["onnx/model.onnx"] });
  assert.match(await messageOf(openClip(clip)), /no output is called image_embeds, there are last_hidden_state; CLIP with its projection/);
  const size = { ...JSON.parse(new TextDecoder().decode(files["preprocessor_config.json"])), size: 20 };
  const wrong = layOut("wrong size", { ...files, "preprocessor_config.json": new TextEncoder().encode(JSON.stringify(size)) });
  const dino = await openDino(wrong);
  assert.match(await messageOf(dino.picture(noise(1))), /does not take pixel_values \(1, 3, 20, 20\): .*do its config files belong to it/);
  assert.match(await messageOf(openBertScore(join(scratch, "bert"), { layer: 7 })), /has 2 layers; --bertscore-layer 7 names none/);
  const bertAsDino = layOut("bert as dino", { ...tinyBert(1).files, "preprocessor_config.json": files["preprocessor_config.json"] });
  const mistaken = await openDino(bertAsDino);
  assert.match(await messageOf(mistaken.picture(noise(1))), /the model wants input_ids, which is not known here/);
});

test("a hub id fetches the ONNX files alone, into the hub's layout, and serves from the cache", async () => {
  const { files, exact } = tinyClip(3);
  const more = {
    "model.safetensors": new Uint8Array(5000),
    "onnx/vision_model_fp16.onnx": new Uint8Array(4000),
    "onnx/text_model.onnx_data": new Uint8Array(3),
  };
  const server = await hubServer({ ...files, ...more });
  const cache = join(scratch, "hub cache");
  const env = { HF_ENDPOINT: server.url, HF_HUB_CACHE: cache, HF_HOME: join(scratch, "none") };
  try {
    const folder = await modelFolder("org/name", { weights: clipFiles, env });
    assert.is(folder, join(cache, "models--org--name", "snapshots", server.commit));
    for (const [file, data] of Object.entries({ ...files, "onnx/text_model.onnx_data": more["onnx/text_model.onnx_data"] }))
      assert.ok(Buffer.from(data).equals(readFileSync(join(folder, file))), file);
    for (const file of ["model.safetensors", "onnx/vision_model_fp16.onnx"]) assert.not.ok(existsSync(join(folder, file)), file);
    close(await (await openClip(folder)).picture(noise(1)), exact.picture(exactPixels(noise(1), clipMean, clipStd)));
    const before = server.log.length;
    assert.is(await modelFolder("org/name", { weights: clipFiles, env: { ...env, HF_HUB_OFFLINE: "1" } }), folder);
    assert.is(server.log.length, before);
    assert.match(
      await messageOf(modelFolder("org/name", { weights: modelFiles, env })),
      /^org\/name: the repository has no onnx\/model\.onnx, nor model\.onnx; name/,
    );
    assert.match(
      await messageOf(modelFolder("org/name", { weights: modelFiles, env: { ...env, HF_HUB_OFFLINE: "1" } })),
      /onnx\/model\.onnx is missing in .*HF_HUB_OFFLINE/,
    );
  } finally {
    await server.close();
  }
});

const cli = fileURLToPath(new URL("../cli/main.ts", import.meta.url));

function evaluate(...more: string[]): { status: number | null; said: string } {
  const env = { ...process.env, HF_HUB_OFFLINE: "1", HF_HUB_CACHE: join(scratch, "empty cache") };
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--import", "tsx", cli, "eval", ...more], { encoding: "utf8", env });
  return { status, said: stdout + stderr };
}

test("worldline eval measures all of them; the truth has 1, copying the source what f64 says; without models they are skipped in words", () => {
  const root = join(scratch, "bench");
  mkdirSync(join(root, "truth"), { recursive: true });
  // 16 x 16 pixels: what the models see are these very bytes.
  const scene = (seed: number) => {
    const { width, height, data } = render(fullWorld, randomScene(fullWorld, seed), randomView(fullWorld, seed));
    return resizePicture({ width, height, data }, 16, 16);
  };
  const actions = ["move the cat", "hello world", "the dog 12"];
  const shown = actions.map((action, i) => ({
    action,
    source: scene(10 + i),
    target: scene(20 + i),
    caption: i === 1 ? "the cat" : undefined,
  }));
  const records = shown.map(({ action, source, target, caption }, i) => {
    writeFileSync(join(root, `s${i}.png`), encodePng(source));
    writeFileSync(join(root, `t${i}.png`), encodePng(target));
    writeFileSync(join(root, "truth", `r${i}.png`), encodePng(target));
    return { id: `r${i}`, source: `s${i}.png`, target: `t${i}.png`, action, caption };
  });
  const data = join(root, "records.jsonl");
  writeFileSync(data, records.map((r) => `${JSON.stringify(r)}\n`).join(""));
  const [clip, dino, bert] = [tinyClip(5), tinyDino(5), tinyBert(5)];
  const flags = ["--clip", layOut("eval clip", clip.files), "--dino", layOut("eval dino", dino.files)];
  const out = join(root, "out");
  const common = ["--data", data, "--out", out, "--system", `truth=${join(root, "truth")}`];
  const { status, said } = evaluate(...common, ...flags);
  assert.is(status, 0, said);
  assert.match(said, /CLIP-I/);
  const read = () => JSON.parse(readFileSync(join(out, "results.json"), "utf8"));
  const { values, skipped } = read();
  assert.equal(skipped, {});
  const mean = (list: number[]) => list.reduce((a, b) => a + b, 0) / list.length;
  const seen = (picture: Picture) => clip.exact.picture(exactPixels(picture, clipMean, clipStd));
  const cls = (picture: Picture) => dino.exact(exactPixels(picture, vitMean, vitStd));
  const words = (text: string) => clip.exact.text(clipTokens.ids(text, { addBos: true }));
  const expected = {
    clip_i: { truth: 1, copy: mean(shown.map((s) => exactCosine(seen(s.source), seen(s.target)))) },
    clip_t: {
      truth: mean(shown.map((s) => exactCosine(seen(s.target), words(s.caption ?? s.action)))),
      copy: mean(shown.map((s) => exactCosine(seen(s.source), words(s.caption ?? s.action)))),
    },
    dino: { truth: 1, copy: mean(shown.map((s) => exactCosine(cls(s.source), cls(s.target)))) },
  };
  for (const [metric, systems] of Object.entries(expected))
    for (const [system, value] of Object.entries(systems)) close([values[metric][system].all.mean], [value]);
  assert.is(values.clip_i.truth.all.mean, 1);
  assert.ok(Math.abs(expected.clip_i.copy - 1) > 1e-3 && Math.abs(expected.dino.copy - 1) > 1e-3, "the pictures hardly differ");

  const none = evaluate(...common);
  assert.is(none.status, 0, none.said);
  assert.match(none.said, /DINO skipped: no model was given; --dino names one\n/);
  const page = () => readFileSync(join(out, "report.html"), "utf8");
  assert.match(
    page(),
    /Not measured: CLIP-I and CLIP-T, no model was given; --clip names one; DINO, no model was given; --dino names one\./,
  );
  assert.match(read().skipped.clip_t, /no model was given; --clip names one/);
  const away = evaluate(...common, "--clip", "org/nowhere", flags[2], flags[3]);
  assert.is(away.status, 0, away.said);
  assert.match(away.said, /CLIP-I skipped: org\/nowhere: there is no such folder, .*HF_HUB_OFFLINE/);
  close([read().values.dino.copy.all.mean], [expected.dino.copy]);
  assert.match(page(), /Not measured: CLIP-I and CLIP-T, org.{1,5}nowhere/);
  const misspelt = evaluate(...common, "--dino", join(root, "nowhere"));
  assert.is(misspelt.status, 1);
  assert.match(misspelt.said, /nowhere has no onnx\/model\.onnx, nor model\.onnx/);

  const saidFile = join(root, "said.jsonl");
  const saidActions = ["move the dog", "hello world", "the cat 12"];
  writeFileSync(saidFile, records.map((r, i) => `${JSON.stringify({ ...r, action: saidActions[i] })}\n`).join(""));
  const text = ["--data", data, "--out", out, "--actions", `ours=${saidFile}`];
  const scored = evaluate(...text, "--bertscore", layOut("eval bert", bert.files));
  assert.is(scored.status, 0, scored.said);
  assert.match(scored.said, /BERTScore: F1 by .*, layer 2, unweighted, not rescaled/);
  assert.match(scored.said, /paper: Chameleon IDM +0\.450/);
  const f = mean(saidActions.map((s, i) => exactF(bert, { said: s, truth: actions[i] }, 2, () => 1)));
  close([read().values.bert_score.ours.all.mean], [f]);
  assert.match(evaluate(...text).said, /BERTScore skipped: no model was given; --bertscore names one/);
  assert.match(evaluate(...text, "--clip", "a/b").said, /--clip measures pictures \(--system\); leave it out here/);
});

test.run();
