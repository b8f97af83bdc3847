// Making a base: an interrupted run, stopped in every part of its work, ends with the bits of an undisturbed one; and what its documents say.
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import { loadModel } from "../world/model.ts";
import { type BaseSettings, type Document, defaultBase, documents } from "../world/tabletop/base.ts";
import { countCaption, defaultWorld, kindsOf, makeWorld, type Picture, parse, spatialFacts, triplet } from "../world/tabletop/index.ts";
import { makeBase, vqReader } from "../world/tabletop/make_base.ts";
import { presets, shippedBase } from "../world/tabletop/presets.ts";

const folder = mkdtempSync(join(tmpdir(), "worldline-base-"));
const device = await openDevice();
const world = makeWorld({ grid: 2, startKinds: [1, 2], maxCount: 2, maxObjects: 4 });
const t = defaultBase.vqTraining;
const settings: BaseSettings = {
  ...defaultBase,
  vq: { ...defaultBase.vq, codes: 8, channelMultiplier: [1, 1, 1, 1, 1] },
  lm: { hidden: 32, intermediate: 32, layers: 1, heads: 1, ropeTheta: 30 },
  vqTraining: {
    ...t,
    batch: 2,
    logEvery: 1,
    saveEvery: 4,
    reviveEvery: 3,
    plain: { ...t.plain, steps: 4 },
    quantized: { ...t.quantized, steps: 9 },
  },
  lmTraining: { ...defaultBase.lmTraining, batch: 4, steps: 6, logEvery: 1, saveEvery: 3 },
  documents: { scenes: 10, frames: 6 },
  copySteps: 2,
};

/** Makes the base in `out`; stops in work `label` at `step`, if given. */
async function make(out: string, label = "", step = 0): Promise<boolean> {
  const controller = new AbortController();
  const progress = (name: string) => (done: number) => {
    if (name === label && done >= step) controller.abort(new Error("stopped"));
  };
  const hooks = { say: () => undefined, progress, signal: controller.signal };
  return makeBase(device, { world, settings, seed: 5, out, truths: 8, ...hooks }).catch((e: Error) => {
    if (e.message === "stopped") return false;
    throw e;
  });
}

const sha256 = (out: string) =>
  createHash("sha256")
    .update(readFileSync(join(out, "model.safetensors")))
    .digest("hex");

test("a base that was interrupted again and again ends with the same bits as an undisturbed one", async () => {
  const whole = join(folder, "whole");
  assert.ok(await make(whole));
  const parts = join(folder, "parts");
  for (const [label, step] of [
    ["picture tokenizer", 2],
    ["picture tokenizer", 4],
    ["picture tokenizer", 9],
    ["transformer", 2],
    ["transformer", 4],
  ] as const)
    assert.not.ok(await make(parts, label, step), `${label} ${step}`);
  assert.ok(await make(parts));
  assert.is(sha256(parts), sha256(whole));
  assert.not.ok(existsSync(join(parts, "training")), "the training state is still there");
});

test("training state of other settings is refused", async () => {
  const out = join(folder, "other");
  assert.not.ok(await make(out, "picture tokenizer", 2));
  const other = { ...settings, vqTraining: { ...settings.vqTraining, noise: 0.1 } };
  const hooks = { say: () => undefined, progress: () => () => undefined };
  let said = "";
  await makeBase(device, { world, settings: other, seed: 5, out, truths: 8, ...hooks }).catch((e: Error) => {
    said = e.message;
  });
  assert.match(said, /belongs to a run with other data or options/);
});

test("a picture tokenizer with another number of codes is refused where it is not trained further", async () => {
  const vq = await vqReader(join(folder, "whole"));
  assert.is(vq.codes, 8);
  const other = { ...settings, vq: { ...settings.vq, codes: 16 } };
  const hooks = { say: () => undefined, progress: () => () => undefined };
  const end = await makeBase(device, { world, settings: other, seed: 5, out: join(folder, "more codes"), vq, ...hooks }).catch(
    (e: Error) => e.message,
  );
  assert.is(end, "--vq has 8 codes, this base has 16; add --vq-further, which makes a new codebook");
});

/** Whether a caption is true of a picture, as the oracle reads it. */
function isTrue(text: string, picture: Picture): boolean {
  const kinds = [...parse(defaultWorld, picture).kinds];
  const scene = { cells: kinds.map((kind) => (kind < 0 ? null : { kind, jx: 0, jy: 0 })), clutter: [] };
  return text === countCaption(defaultWorld, scene) || spatialFacts(defaultWorld, scene).includes(text);
}

test("a caption is about the picture beside it, and half of those before two pictures about neither", () => {
  const all = documents(defaultWorld, { documents: { scenes: 400, frames: 300 } }, 3);
  const share = (list: readonly Document[], test: (d: Document) => boolean) => list.filter(test).length / list.length;
  const behind = all.filter((d) => !d.textFirst);
  const single = all.filter((d) => d.textFirst && d.pictures.length === 1);
  const pairs = all.filter((d) => d.textFirst && d.pictures.length === 2);
  assert.ok(behind.length > 300 && single.length > 30 && pairs.length > 100);
  assert.is(
    share(behind, (d) => isTrue(d.text, d.pictures[d.pictures.length - 1])),
    1,
  );
  assert.is(
    share(single, (d) => isTrue(d.text, d.pictures[0])),
    1,
  );
  const first = share(pairs, (d) => isTrue(d.text, d.pictures[0]));
  assert.ok(first > 0.4 && first < 0.65, `${first} of them are true of the first picture`);
  const secondAlone = share(pairs, (d) => !isTrue(d.text, d.pictures[0]) && isTrue(d.text, d.pictures[1]));
  assert.ok(secondAlone < 0.08, `${secondAlone} of them are true of the second picture alone`);
});

for (const preset of ["default", "full"] as const) {
  test(`the shipped base of ${preset} is the file its README names, and the oracle reads what its picture tokenizer draws`, async () => {
    const shipped = fileURLToPath(shippedBase(preset));
    assert.match(readFileSync(join(shipped, "README.md"), "utf8"), new RegExp(`sha256 ${sha256(shipped)}`));
    const model = await loadModel(device, shipped);
    const { world } = presets[preset];
    assert.equal(JSON.parse(model.files["world.json"]), JSON.parse(JSON.stringify(world)));
    const truths = Array.from({ length: 32 }, (_, i) => triplet(world, new Rng(9, `shipped ${i}`)));
    const encoded = await model.pictures.encode(truths.map((t) => t.target));
    const drawn = await model.pictures.decode(
      encoded.map((e) => e.codes),
      encoded[0].columns,
    );
    const wrong = truths.flatMap((t, i) => {
      const { kinds } = parse(world, drawn[i]);
      return [...kindsOf(t.after)].filter((kind, cell) => kinds[cell] !== kind);
    });
    assert.ok(wrong.length <= 1, `${wrong.length} cells are read as something else`);
  });
}

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
