// Data of training runs: the cache of picture codes and what it survives, AURORA's files, mixtures, wordings, and that the worker thread makes
// the very batches that the main thread makes.
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import type { Encoded } from "../tokenizer/image.ts";
import { phrasedTemplates, plainTemplate } from "../tokenizer/templates.ts";
import { batchesOf, feedOf, shuffled } from "../train/order.ts";
import { workerFeed } from "../world/batch_feed.ts";
import { CodeFile } from "../world/code_file.ts";
import { CodeStore } from "../world/codes.ts";
import { type ExampleOptions, exampleOf, tripletSet } from "../world/examples.ts";
import { loadModel } from "../world/model.ts";
import { writePng } from "../world/pictures.ts";
import { describePart, readTripletFiles } from "../world/triplet_files.ts";
import { messageOf, scratchFolder } from "./tiny_model.ts";

const name = "0123456789abcdef0123456789abcdef";
const hashOf = (i: number) => i.toString(16).padStart(32, "0");
const rng = new Rng(3, "codes");
const encoded = (): Encoded => ({
  rows: 2,
  columns: 3,
  codes: Uint32Array.from({ length: 6 }, () => rng.int(8192)),
  features: rng.normals(6 * 4),
});

test("the code cache: records are kept as they come, a torn end is cut off and written again", () => {
  const path = join(scratchFolder(), "codes.bin");
  const all = Array.from({ length: 4 }, (_, i) => ({ hash: hashOf(i), encoded: encoded() }));
  const first = CodeFile.open(path, name);
  first.add(all.slice(0, 2));
  first.add(all.slice(2, 3));
  const check = (file: CodeFile, count: number) => {
    for (const [i, { hash, encoded: e }] of all.entries()) {
      const got = file.get(hash);
      assert.is(got !== undefined, i < count, `picture ${i}`);
      if (got) assert.equal([got.codes, got.features, got.rows, got.columns], [e.codes, e.features, 2, 3]);
    }
  };
  check(first, 3);
  check(CodeFile.open(path, name), 3);
  const whole = statSync(path).size;
  for (let cut = 1; cut < (whole - 40) / 3; cut += 7) {
    const copy = join(scratchFolder(), "codes.bin");
    copyFileSync(path, copy);
    truncateSync(copy, whole - cut);
    const torn = CodeFile.open(copy, name);
    check(torn, 2);
    torn.add(all.slice(2));
    check(CodeFile.open(copy, name), 4);
  }
  // A last record of the right length whose bytes never reached the disk.
  const copy = join(scratchFolder(), "codes.bin");
  const bytes = readFileSync(path);
  bytes.fill(0, whole - 30);
  writeFileSync(copy, bytes);
  check(CodeFile.open(copy, name), 2);
  appendFileSync(path, Buffer.alloc(100, 7));
  check(CodeFile.open(path, name), 3);
});

test("two runs that share a code cache keep each other's records", () => {
  const path = join(scratchFolder(), "codes.bin");
  const all = Array.from({ length: 5 }, (_, i) => ({ hash: hashOf(i), encoded: encoded() }));
  CodeFile.open(path, name).add(all.slice(0, 1));
  const [a, b] = [CodeFile.open(path, name), CodeFile.open(path, name)];
  a.add(all.slice(1, 3));
  b.add(all.slice(3, 4));
  a.add(all.slice(4));
  const holds = (file: CodeFile, which: readonly number[]) => {
    for (const i of which)
      assert.equal(
        [file.get(all[i].hash)?.codes, file.get(all[i].hash)?.features],
        [all[i].encoded.codes, all[i].encoded.features],
        `${i}`,
      );
  };
  holds(a, [0, 1, 2, 4]);
  holds(b, [0, 3]);
  holds(CodeFile.open(path, name), [0, 1, 2, 3, 4]);
  // Two that begin a new file together.
  const fresh = join(scratchFolder(), "codes.bin");
  const [c, d] = [CodeFile.open(fresh, name), CodeFile.open(fresh, name)];
  c.add(all.slice(0, 2));
  d.add(all.slice(2, 4));
  c.add(all.slice(4));
  holds(c, [0, 1, 4]);
  holds(d, [0, 1, 2, 3]);
  holds(CodeFile.open(fresh, name), [0, 1, 2, 3, 4]);
  // What another run is writing at this moment stays out until it is whole, and what stays torn is cut off.
  const size = statSync(path).size;
  truncateSync(path, size - 8);
  b.add(all.slice(4));
  assert.is(statSync(path).size, size);
  holds(b, [0, 1, 2, 3, 4]);
});

test("a store of codes alone holds no features", async () => {
  const root = await aurora();
  const store = await CodeStore.open(device, tiny, undefined, false);
  const path = join(root, "data/ag/images/1.png");
  await store.add([path]);
  const { codes, features, rows, columns } = store.get(path);
  assert.equal([codes.length, features.length], [rows * columns, 0]);
});

test("a cache of another picture tokenizer is started anew, and not taken by a reader", async () => {
  const path = join(scratchFolder(), "codes.bin");
  CodeFile.open(path, name).add([{ hash: hashOf(1), encoded: encoded() }]);
  const other = name.replace("0", "f");
  assert.match(await messageOf(() => CodeFile.open(path, other, "read")), /is no cache of this model's picture codes; delete it/);
  const fresh = CodeFile.open(path, other);
  assert.is(fresh.get(hashOf(1)), undefined);
  assert.ok(CodeFile.open(path, name).get(hashOf(1)), "opening alone destroyed it");
  fresh.add([{ hash: hashOf(2), encoded: encoded() }]);
  assert.ok(CodeFile.open(path, other).get(hashOf(2)));
  assert.is(CodeFile.open(path, name).get(hashOf(2)), undefined);
});

/** A folder laid out as AURORA's repository, with a test file. */
async function aurora(): Promise<string> {
  const root = scratchFolder();
  const picture = (seed: number) => ({ width: 24, height: 24, data: new Uint8Array(24 * 24 * 3).map((_, i) => (i * seed) % 251) });
  for (const i of [1, 2, 3, 4]) await writePng(join(root, "data/ag/images", `${i}.png`), picture(i));
  mkdirSync(join(root, "data/ag"), { recursive: true });
  const entries = [
    { input: "data/ag/images/1.png", output: "data/ag/images/2.png", instruction: "open the door", task: "ag" },
    { input: "data/ag/images/3.png", output: "data/ag/images/gone.png", instruction: "sit down", task: "ag" },
    { input: "data/ag/images/3.png", instruction: "no target" },
    { input: "data/ag/images/4.png", output: "data/ag/images/1.png", prompt: "close it", id: "x" },
  ];
  writeFileSync(join(root, "data/ag/train.json"), JSON.stringify(entries));
  writeFileSync(
    join(root, "mine.jsonl"),
    `${JSON.stringify({ id: "a", source: "data/ag/images/1.png", target: "data/ag/images/3.png", action: "go" })}\n`,
  );
  return root;
}

test("AURORA's json: paths from its repository, entries without target or picture counted", async () => {
  const path = join(await aurora(), "data/ag/train.json");
  const message = await messageOf(() => readTripletFiles([{ path }], { skipMissing: false, seed: 0 }));
  assert.match(message, /train\.json: 1 of 3 triplets name pictures that are missing, the first is .*gone\.png; .* --skip-missing$/);
  const [part] = await readTripletFiles([{ path }], { skipMissing: true, seed: 0 });
  assert.equal(
    part.records.map((r) => [r.id, r.action, r.family]),
    [
      ["ag-0", "open the door", "ag"],
      ["aurora-x", "close it", undefined],
    ],
  );
  assert.match(describePart(part), /2 triplets, 1 left out because a picture is missing, 1 left out because they name no target$/);
  writeFileSync(path, '[{"input": 3}]');
  assert.match(
    await messageOf(() => readTripletFiles([{ path }], { skipMissing: true, seed: 0 })),
    /entry 0 has no "input" and "instruction"/,
  );
});

test("a cap draws the same part every time, another seed another one", async () => {
  const path = join(scratchFolder(), "many.jsonl");
  const root = await aurora();
  const line = (i: number) => JSON.stringify({ id: `${i}`, source: "1.png", target: "2.png", action: `${i}` });
  writeFileSync(path, Array.from({ length: 50 }, (_, i) => line(i)).join("\n"));
  const of = async (seed: number) => {
    const files = [{ path, max_samples: 10, root: join(root, "data/ag/images") }];
    return (await readTripletFiles(files, { skipMissing: false, seed }))[0].records.map((r) => r.id);
  };
  assert.is((await of(1)).length, 10);
  assert.equal(await of(1), await of(1));
  assert.is.not((await of(2)).join(), (await of(1)).join());
});

const model = fileURLToPath(new URL("goldens/tiny-mha", import.meta.url));
const device = await openDevice();
const tiny = await loadModel(device, model);

test("factors: whole copies, and for the fraction another part each epoch", async () => {
  const root = await aurora();
  const store = await CodeStore.open(device, tiny);
  const [part] = await readTripletFiles([{ path: join(root, "mine.jsonl") }], { skipMissing: false, seed: 0 });
  const [own] = part.records;
  await store.add([own.source, own.target]);
  const o: ExampleOptions = { role: "cdm", templates: [plainTemplate("cdm", "text_first")], seed: 1 };
  const ten = Array.from({ length: 10 }, () => own);
  const set = tripletSet(
    tiny,
    store,
    [
      { records: ten, factor: 2.4 },
      { records: [own], factor: 1 },
    ],
    o,
  );
  for (const epoch of [0, 1, 2]) {
    const entries = set.entries(epoch);
    assert.is(entries.length, 25);
    for (let i = 0; i < 10; i++) assert.ok(entries.filter((e) => e === i).length >= 2);
    assert.is(entries.filter((e) => e === 10).length, 1);
  }
  assert.equal(set.entries(1), set.entries(1));
  assert.is.not(set.entries(0).join(), set.entries(1).join());
});

test("a fraction that draws a long example late still has a shape for it", async () => {
  const root = await aurora();
  const store = await CodeStore.open(device, tiny);
  const [{ records }] = await readTripletFiles([{ path: join(root, "mine.jsonl") }], { skipMissing: false, seed: 0 });
  await store.add(records.flatMap((r) => [r.source, r.target]));
  const long = { ...records[0], action: "go ".repeat(40) };
  for (const seed of [0, 1, 2, 3]) {
    const many = Array.from({ length: 40 }, (_, i) => (i === 7 ? long : records[0]));
    const set = tripletSet(tiny, store, [{ records: many, factor: 0.25 }], {
      role: "cdm",
      templates: [plainTemplate("cdm", "text_first")],
      seed,
    });
    const source = shuffled(set, seed, { batch: 5, shapes: 2 });
    const lengths = Array.from(
      { length: 60 },
      (_, i) => batchesOf(source, i, { batch: 5, accumulate: 1, padId: tiny.vocab.eos })[0].shape.T,
    );
    assert.ok(new Set(lengths).size === 2, "the long example was never drawn, or all are as long");
  }
});

for (const role of ["cdm", "cwm"] as const)
  test(`wordings of ${role}: the loss covers the completion alone, sizes bound every wording`, async () => {
    const root = await aurora();
    const store = await CodeStore.open(device, tiny);
    const [{ records }] = await readTripletFiles([{ path: join(root, "mine.jsonl") }], { skipMissing: false, seed: 0 });
    await store.add(records.flatMap((r) => [r.source, r.target]));
    for (const order of ["picture_first", "text_first"] as const) {
      const templates = phrasedTemplates(role, order);
      assert.is(new Set(templates.map((t) => JSON.stringify(t.segments))).size, 10);
      const recognition = role === "cwm" ? { epsilon: 0.5, floor: 0 } : undefined;
      const o: ExampleOptions = { role, templates, recognition, seed: 1 };
      const set = tripletSet(tiny, store, [{ records, factor: 1 }], o);
      const { T, scored } = set.size(0);
      const seen = new Set<string>();
      for (let epoch = 0; epoch < 30; epoch++) {
        const e = set.make(0, epoch);
        assert.ok(e.ids.length <= T && e.weights.filter((w) => w !== 0).length <= scored);
        seen.add(e.ids.join());
        const learned = [...e.ids].filter((_, i) => e.weights[i] !== 0);
        if (role === "cdm") assert.is(tiny.tokenizer.decode(learned.slice(0, -1)), "go");
        else
          assert.equal(
            learned.map((id) => tiny.vocab.codes[id]),
            [...store.get(records[0].target).codes],
          );
      }
      assert.ok(seen.size >= 8, `${seen.size} wordings in 30 epochs`);
    }
    const whole = exampleOf(tiny, store, records[0], plainTemplate(role, "text_first"), { role, templates: [], seed: 0 });
    assert.is(whole.ids[0], tiny.vocab.bos);
  });

test("the worker makes the batches that the main thread makes, for any step first, and says what is wrong", async () => {
  const root = await aurora();
  const path = join(root, "codes.bin");
  const store = await CodeStore.open(device, tiny, path);
  const parts = await readTripletFiles(
    [
      { path: join(root, "data/ag/train.json"), factor: 2 },
      { path: join(root, "mine.jsonl"), factor: 1.5 },
    ],
    {
      skipMissing: true,
      seed: 0,
    },
  );
  await store.add(parts.flatMap((p) => p.records).flatMap((r) => [r.source, r.target]));
  const examples: ExampleOptions = {
    role: "cwm",
    templates: phrasedTemplates("cwm", "picture_first"),
    recognition: { epsilon: 0.2, floor: 0 },
    seed: 5,
  };
  const batches = { batch: 2, accumulate: 2, padId: tiny.config.padId };
  const order = { shapes: 2, batch: 2 };
  const here = feedOf(shuffled(tripletSet(tiny, store, parts, examples), 5, order), batches);
  const input = {
    cache: { path, name: store.name },
    config: tiny.config,
    names: Object.fromEntries(tiny.tokenizer.vocabulary),
    tokenizer: tiny.files["tokenizer.json"],
    shares: parts.map((p) => ({
      factor: p.factor,
      records: p.records.map((r) => ({ source: store.hash(r.source), target: store.hash(r.target), action: r.action })),
    })),
    examples,
    order,
    batches,
  };
  const there = await workerFeed(input);
  assert.equal([there.shapes, there.count], [here.shapes, here.count]);
  for (const step of [3, 4, 5, 6, 7, 0, 1]) assert.equal(await there.next(step), await here.next(step), `step ${step}`);
  there.close?.();
  const wrong = { ...input, cache: { path, name } };
  assert.match(await messageOf(() => workerFeed(wrong)), /is no cache of this model's picture codes/);
});

test.run();
