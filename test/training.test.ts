// Training on a tiny model: one batch is learnt by heart, runs repeat bit for bit, a run that was stopped and resumed ends where an
// uninterrupted one does, and only whole checkpoints of the same run are taken up.

import { cpSync, existsSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { parameters } from "../engine/module.ts";
import { optimizerState } from "../engine/optim.ts";
import type { Chameleon } from "../models/chameleon.ts";
import { checkpointStore, clearCheckpoints } from "../train/checkpoints.ts";
import { defaultTraining, type TrainHooks, type TrainOptions, train } from "../train/loop.ts";
import { shuffled } from "../train/order.ts";
import { RunFolder } from "../train/run_folder.ts";
import { messageOf, openLogged, randomExamples, scratchFolder, tinyConfig, tinyModel } from "./tiny_model.ts";

const { device, lines } = await openLogged();
const config = tinyConfig();
const source = shuffled(randomExamples(config, 11, 9, 1), 4);
const ten: TrainOptions = { ...defaultTraining, steps: 10, batch: 3, learningRate: 5e-3, logEvery: 1, saveEvery: 1000, warmupRatio: 0.2 };

const fresh = async (seed = 3): Promise<Chameleon> => (await tinyModel(device, config, seed)).lm;

/** A store of the run `name`. */
const storeOf = (lm: Chameleon, folder: string, name = "run", keep = 1) =>
  checkpointStore(device, parameters(lm), folder, { run: { name }, keep, seed: 4, maxSteps: 10, examples: 11 });

/** Weights and moments as bits, by name. */
async function stateOf(lm: Chameleon): Promise<Map<string, string>> {
  const tensors = new Map([...parameters(lm), ...optimizerState(device, parameters(lm))]);
  const values = await device.read(...tensors.values());
  return new Map(
    [...tensors.keys()].map((name, i) => [name, Buffer.from(values[i].buffer, values[i].byteOffset, values[i].byteLength).toString("hex")]),
  );
}

function sameBits(got: ReadonlyMap<string, string>, want: ReadonlyMap<string, string>): void {
  assert.equal([...got.keys()], [...want.keys()]);
  for (const [name, bits] of want) assert.ok(got.get(name) === bits, `${name} differs`);
}

/** Trains until `step` is done, as a Ctrl-C during it would end it. */
async function stopAt(step: number, lm: Chameleon, o: TrainOptions, hooks: TrainHooks) {
  const controller = new AbortController();
  const watched = (i: number) => {
    if (i === step - 1) controller.abort();
    return source;
  };
  const counted = { ...source, batch: (i: number, size: number) => watched(i).batch(i, size) };
  return train(device, lm, counted, o, { ...hooks, signal: controller.signal });
}

const whole = await fresh();
const wholeRun = await train(device, whole, source, ten);
const wholeState = await stateOf(whole);

test("one batch is learnt by heart", async () => {
  const examples = randomExamples(config, 4, 12, 7);
  // The first word of a row follows from nothing, so it is not scored.
  for (const e of examples) e.weights[1] = 0;
  const options = { ...defaultTraining, steps: 150, batch: 4, learningRate: 1e-2, weightDecay: 0, logEvery: 10 };
  const { log, finished } = await train(device, await fresh(), shuffled(examples, 0), options);
  const last = log[log.length - 1];
  assert.ok(finished && log[0].loss > 0.01 && last.loss < 0.01, `the loss is ${last.loss} after ${last.step} steps`);
});

test("the same seed twice gives the same bits, another order of examples gives others", async () => {
  const again = await fresh();
  const run = await train(device, again, source, ten);
  sameBits(await stateOf(again), wholeState);
  assert.equal(
    run.log.map((r) => [r.step, r.loss, r.grad_norm, r.learning_rate]),
    wholeRun.log.map((r) => [r.step, r.loss, r.grad_norm, r.learning_rate]),
  );
  const other = await fresh();
  await train(device, other, shuffled(randomExamples(config, 11, 9, 1), 5), ten);
  assert.is.not((await stateOf(other)).get("lm_head.weight"), wholeState.get("lm_head.weight"));
});

test("training moves every parameter", async () => {
  const before = await stateOf(await fresh());
  for (const [name, bits] of before) assert.is.not(wholeState.get(name), bits, `${name} did not move`);
});

test("a signal saves and stops; ten steps equal five, save, load in a fresh model, five", async () => {
  const folder = scratchFolder();
  const first = await fresh();
  const stopped = await stopAt(5, first, ten, { store: storeOf(first, folder) });
  assert.is(stopped.finished, false);
  assert.is(stopped.steps, 5);
  assert.equal(readdirSync(folder), ["checkpoint-5"]);
  assert.equal(readdirSync(join(folder, "checkpoint-5")).sort(), ["model.safetensors", "optimizer.safetensors", "trainer_state.json"]);
  const second = await fresh(99);
  const seen: number[] = [];
  const resumed = await train(device, second, source, ten, {
    store: storeOf(second, folder),
    onLog: (r) => seen.push(r.step),
  });
  assert.ok(resumed.finished);
  assert.is(resumed.steps, 5);
  assert.equal(seen, [6, 7, 8, 9, 10]);
  assert.equal(
    resumed.log.map((r) => r.step),
    [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
  );
  assert.equal(
    resumed.log.map((r) => r.loss),
    wholeRun.log.map((r) => r.loss),
  );
  sameBits(await stateOf(second), wholeState);
});

/** A folder with checkpoint-3, -6 and -9 of the run, of which the first is dropped. */
async function saved(): Promise<string> {
  const folder = scratchFolder();
  const lm = await fresh();
  await train(device, lm, source, { ...ten, saveEvery: 3 }, { store: storeOf(lm, folder, "run", 2) });
  assert.equal(readdirSync(folder).sort(), ["checkpoint-6", "checkpoint-9"]);
  return folder;
}

const goodFolder = await saved();
const copyOf = (folder: string): string => {
  const copy = scratchFolder();
  cpSync(folder, copy, { recursive: true });
  return copy;
};

const halve = (path: string) => truncateSync(path, Math.floor(readFileSync(path).length / 2));
const injuries: Record<string, (checkpoint: string) => void> = {
  "optimizer.safetensors cut off": (c) => halve(join(c, "optimizer.safetensors")),
  "model.safetensors cut off by one byte": (c) =>
    truncateSync(join(c, "model.safetensors"), readFileSync(join(c, "model.safetensors")).length - 1),
  "model.safetensors empty": (c) => truncateSync(join(c, "model.safetensors"), 0),
  "model.safetensors missing": (c) => rmSync(join(c, "model.safetensors")),
  "trainer_state.json cut off": (c) => halve(join(c, "trainer_state.json")),
  "trainer_state.json missing": (c) => rmSync(join(c, "trainer_state.json")),
  "a header that is noise": (c) => writeFileSync(join(c, "optimizer.safetensors"), Buffer.alloc(4096, 0x5a)),
};

for (const [what, injure] of Object.entries(injuries)) {
  test(`a torn checkpoint is passed over with a word: ${what}`, async () => {
    const folder = copyOf(goodFolder);
    injure(join(folder, "checkpoint-9"));
    lines.length = 0;
    const lm = await fresh(99);
    const found = await storeOf(lm, folder).load();
    assert.is(found?.step, 6);
    assert.is(found?.log.length, 6);
    assert.equal(lines, [`${join(folder, "checkpoint-9")} is not whole and is passed over`]);
  });
}

test("a run goes on from the checkpoint before the torn one and ends with the same bits", async () => {
  const folder = copyOf(goodFolder);
  halve(join(folder, "checkpoint-9", "optimizer.safetensors"));
  const lm = await fresh(99);
  const run = await train(device, lm, source, ten, { store: storeOf(lm, folder, "run", 2) });
  assert.is(run.steps, 4);
  sameBits(await stateOf(lm), wholeState);
});

test("with torn checkpoints alone a run starts anew and nothing of them reaches the weights", async () => {
  const folder = copyOf(goodFolder);
  for (const name of readdirSync(folder)) halve(join(folder, name, "optimizer.safetensors"));
  const lm = await fresh();
  const before = await stateOf(lm);
  lines.length = 0;
  assert.is(await storeOf(lm, folder).load(), undefined);
  assert.is(lines.length, 2);
  sameBits(await stateOf(lm), before);
});

test("torn checkpoints of later steps neither count as newest nor make a run lose what it saves", async () => {
  const folder = copyOf(goodFolder);
  for (const name of readdirSync(folder)) halve(join(folder, name, "optimizer.safetensors"));
  const lm = await fresh();
  await stopAt(4, lm, { ...ten, saveEvery: 2 }, { store: storeOf(lm, folder) });
  assert.equal(readdirSync(folder).sort(), ["checkpoint-4", "checkpoint-6", "checkpoint-9"]);
  const again = await fresh(99);
  const run = await train(device, again, source, ten, { store: storeOf(again, folder) });
  assert.is(run.steps, 6);
  sameBits(await stateOf(again), wholeState);
});

test("the best checkpoint is named where it is there, and stays", async () => {
  const evaluated = async (saveEvery: number) => {
    const folder = scratchFolder();
    const lm = await fresh();
    let calls = 0;
    // The best at step 2.
    const evaluate = async () => ({ eval_loss: [1, 3, 2, 4, 5][calls++] });
    const o = { ...ten, saveEvery, evalEvery: 2 };
    await train(device, lm, source, o, { store: storeOf(lm, folder), evaluate });
    const last = readdirSync(folder).sort().at(-1)!;
    const state = JSON.parse(readFileSync(join(folder, last, "trainer_state.json"), "utf8")) as { best_model_checkpoint: string | null };
    return [readdirSync(folder).sort(), state.best_model_checkpoint];
  };
  assert.equal(await evaluated(2), [["checkpoint-2", "checkpoint-8"], "checkpoint-2"]);
  assert.equal(await evaluated(3), [["checkpoint-9"], null]);
});

test("a checkpoint of another run is refused even where its tensors have other sizes", async () => {
  const { lm } = await tinyModel(device, tinyConfig({ intermediate: 48 }), 1);
  assert.match(await messageOf(() => storeOf(lm, goodFolder, "wider").load()), /name was "run" and is now "wider"/);
});

test("a second run on one model knows nothing of the first one's gradients and moments", async () => {
  const lm = await fresh();
  const start = await device.read(...parameters(lm).values());
  await train(device, lm, source, { ...ten, accumulate: 2 });
  [...parameters(lm).values()].forEach((t, i) => void device.write(t, start[i]));
  const { log } = await train(device, lm, source, ten);
  assert.equal(
    log.map((r) => [r.loss, r.grad_norm]),
    wholeRun.log.map((r) => [r.loss, r.grad_norm]),
  );
  sameBits(await stateOf(lm), wholeState);
});

test("a run folder named with ./ or by the start of a file's name holds its files", async () => {
  const home = process.cwd();
  const scratch = scratchFolder();
  process.chdir(scratch);
  try {
    for (const name of ["./a", "log"]) {
      const run = new RunFolder(name);
      run.log(wholeRun.log[0]);
      await run.flush();
      const files = readdirSync(join(scratch, name));
      assert.ok(files.includes("log.jsonl") && files.some((f) => f.startsWith("events.out.tfevents.")), `${name}: ${files}`);
    }
    assert.equal(readdirSync(scratch).sort(), ["a", "log"]);
  } finally {
    process.chdir(home);
  }
});

test("training without the memory for its activations ends with a sentence", async () => {
  const { host, gpu, adapter } = device;
  const open = async (more: object) =>
    Device.open({ host: { ...host, log: () => undefined, ...more }, gpu, adapter: (await gpu.requestAdapter()) ?? adapter });
  const trained = async (d: Device, prepare: () => void) => {
    const { lm } = await tinyModel(d, config, 3);
    prepare();
    return messageOf(() => train(d, lm, source, ten));
  };
  let free = 2 ** 40;
  const poor = await open({ freeMemory: () => free });
  if (poor.capabilities.software)
    assert.match(
      await trained(poor, () => {
        free = 100;
      }),
      /^activations: .* are needed, .*; use a smaller batch or shorter sequences$/,
    );
  // Buffers that are not valid, as after an allocation that failed.
  const refusing = await open({});
  const { raw } = refusing;
  const create = raw.createBuffer.bind(raw);
  assert.match(
    await trained(refusing, () => {
      raw.createBuffer = (d) => create(/activations/.test(d.label ?? "") ? { ...d, size: 2 ** 46 } : d);
    }),
    /activations|the GPU refused a command/,
  );
});

test("a checkpoint of other data or options is refused", async () => {
  const lm = await fresh();
  const error = await storeOf(lm, goodFolder, "another run")
    .load()
    .then(
      () => undefined,
      (e: unknown) => e,
    );
  assert.instance(error, WorldlineError);
  assert.is(
    (error as Error).message,
    `${join(goodFolder, "checkpoint-9")} belongs to a run with other data or options: name was "run" and is now "another run"; choose another --out or delete the folder to start anew`,
  );
});

test("a refused checkpoint leaves the model as it was", async () => {
  const lm = await fresh();
  const before = await stateOf(lm);
  await storeOf(lm, goodFolder, "another run")
    .load()
    .catch(() => undefined);
  sameBits(await stateOf(lm), before);
});

test("a checkpoint of a model of another size is passed over", async () => {
  const { lm } = await tinyModel(device, tinyConfig({ intermediate: 48 }), 1);
  assert.is(await storeOf(lm, goodFolder).load(), undefined);
});

test("checkpoints of a finished run are cleared, other files stay", async () => {
  const folder = copyOf(goodFolder);
  writeFileSync(join(folder, "notes.txt"), "mine");
  await clearCheckpoints(folder);
  assert.equal(readdirSync(folder), ["notes.txt"]);
  await clearCheckpoints(join(folder, "nowhere"));
});

test("a folder that cannot be written stops with one sentence and leaves nothing", async () => {
  const file = join(scratchFolder(), "file");
  writeFileSync(file, "");
  const lm = await fresh();
  const message = await messageOf(() => train(device, lm, source, { ...ten, saveEvery: 1 }, { store: storeOf(lm, join(file, "out")) }));
  assert.match(message, /out.*checkpoint-1: not written, a part of the path is a file, not a folder/);
  assert.not(existsSync(join(file, "out")));
});

test("a loss that is no number stops training with a plain word", async () => {
  const lm = await fresh();
  device.write(lm.model.norm.weight, new Float32Array(config.hidden).fill(Number.NaN));
  const skipped: number[] = [];
  const message = await messageOf(() => train(device, lm, source, { ...ten, maxSkipped: 3 }, { onSkip: (step) => skipped.push(step) }));
  assert.equal(skipped, [1, 2, 3]);
  assert.match(
    message,
    /^the loss became NaN at step 4 \(gradient norm .*\), and 3 steps had been passed over .*; lower --learning-rate, or/,
  );
});

test.run();
