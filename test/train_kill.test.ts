// Runs that are killed: ten moments at random (the script does 200), and `worldline train` with LoRA, dropout and accumulation: ten steps are five, kill -9,
// resume, five, to the bit. A full disk and Ctrl-C leave the last checkpoint whole and say what happened.
import { spawn, spawnSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { isAbsolute, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { setTrainable, trainable } from "../engine/module.ts";
import { openDevice } from "../engine/node.ts";
import { checkpointStore } from "../train/checkpoints.ts";
import { defaultTraining, type LogEntry, type RunState, train } from "../train/loop.ts";
import { shuffled } from "../train/order.ts";
import { writePng } from "../world/pictures.ts";
import { killRuns } from "./kill_training.ts";
import { messageOf, randomExamples, scratchFolder, tinyConfig, tinyModel } from "./tiny_model.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

test("ten kills at random moments never leave a state that does not resume, and the run ends with the same bits", async () => {
  const report = await killRuns(10, 25, 2);
  assert.is(report.kills, 10);
  assert.ok(report.runs >= 1);
});

/** A folder with pictures and triplets. */
async function data(): Promise<string> {
  const folder = scratchFolder();
  const picture = (seed: number) => ({ width: 24, height: 24, data: new Uint8Array(24 * 24 * 3).map((_, i) => (i * seed) % 251) });
  for (let i = 1; i < 9; i++) await writePng(join(folder, `${i}.png`), picture(i));
  const lines = Array.from({ length: 7 }, (_, i) =>
    JSON.stringify({ id: `${i}`, source: `${i + 1}.png`, target: `${i + 2}.png`, action: `go ${"far ".repeat(i)}` }),
  );
  writeFileSync(join(folder, "data.jsonl"), `${lines.join("\n")}\n`);
  const options = [
    'model_name_or_path = "test/goldens/tiny-mha"',
    'data = "data.jsonl"',
    "use_peft = true",
    "lora_r = 4",
    "lora_dropout = 0.2",
    'prompt = "phrases"',
    "max_steps = 10",
    "save_steps = 5",
    "logging_steps = 1",
    "per_device_train_batch_size = 2",
    "gradient_accumulation_steps = 2",
  ];
  writeFileSync(join(folder, "run.toml"), options.join("\n"));
  return folder;
}

/** Runs `worldline train`; `until` decides with which signal to end it, by what is in the folder so far. */
function cli(
  folder: string,
  out: string,
  more: string[] = [],
  until?: () => NodeJS.Signals | undefined,
): Promise<{ code: number | null; said: string }> {
  const args = ["--import", "tsx", "cli/main.ts", "train", "cdm", "--config", join(folder, "run.toml"), "--out", out, ...more];
  return new Promise((resolve) => {
    const p = spawn(process.execPath, args, { cwd: root, stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    p.stderr.on("data", (d: Buffer) => (said += d.toString()));
    let sent = false;
    const timer = setInterval(() => {
      const signal = sent ? undefined : until?.();
      if (signal) sent = p.kill(signal);
    }, 5);
    p.on("close", (code) => {
      clearInterval(timer);
      resolve({ code, said });
    });
  });
}

test("worldline train: ten steps equal five, kill -9, resume, five, with LoRA, dropout, accumulation, wordings and the worker", async () => {
  const folder = await data();
  const [whole, killed] = [join(folder, "whole"), join(folder, "killed")];
  const first = await cli(folder, whole, ["--data", relative(root, join(folder, "data.jsonl"))]);
  assert.is(first.code, 0, first.said);
  const long = ["--max-steps", "10"];
  await cli(folder, killed, long, () => (existsSync(join(killed, "checkpoint-5")) ? "SIGKILL" : undefined));
  assert.not.ok(existsSync(join(killed, "adapter_config.json")), "the run was over before it was killed");
  const state = JSON.parse(readFileSync(join(killed, "checkpoint-5", "trainer_state.json"), "utf8")) as { global_step: number };
  assert.is(state.global_step, 5);
  const second = await cli(folder, killed, [...long, "--resume"]);
  assert.is(second.code, 0, second.said);
  assert.match(second.said, /going on from step 5/);
  for (const name of ["adapter_model.safetensors", "adapter_config.json", "prompt.json"])
    assert.ok(readFileSync(join(killed, name)).equals(readFileSync(join(whole, name))), `${name} differs`);
  const losses = (out: string) =>
    readFileSync(join(out, "log.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((l) => JSON.parse(l) as { step: number; loss: number; grad_norm: number })
      .map((r) => [r.step, r.loss, r.grad_norm]);
  assert.equal(losses(killed), losses(whole));
  const written = /^path = "(.*)"$/m.exec(readFileSync(join(whole, "config.toml"), "utf8"));
  assert.ok(
    written && !isAbsolute(written[1]) && existsSync(join(whole, written[1])),
    "config.toml in the run folder does not lead to the data",
  );
  const again = await cli(folder, killed, long);
  assert.match(again.said, /10 steps on 7 examples, loss .*, finished before/);
  const other = await cli(folder, killed, ["--learning-rate", "0.5"]);
  assert.is(other.code, 1);
  assert.match(other.said, /belongs to a run with other data or options: learningRate was 0\.003 and is now 0\.5; choose another --out/);
  const base = join(folder, "another base");
  cpSync(join(root, "test/goldens/tiny-mha"), base, { recursive: true });
  const weights = join(base, "model.safetensors");
  const bytes = readFileSync(weights);
  bytes[bytes.length - 2] ^= 1;
  writeFileSync(weights, bytes);
  const rebased = await cli(folder, killed, [...long, "--model", base]);
  assert.is(rebased.code, 1);
  assert.match(rebased.said, /belongs to a run with other data or options: base was ".*" and is now ".*"; choose another --out/);
});

test("Ctrl-C saves and leaves with code 130; --resume without a checkpoint is an error", async () => {
  const folder = await data();
  const out = join(folder, "stopped");
  const nothing = await cli(folder, out, ["--resume"]);
  assert.is(nothing.code, 1);
  assert.match(nothing.said, /holds no checkpoint to resume from; start without --resume/);
  const long = ["--max-steps", "100000", "--save-steps", "100000"];
  const stopped = await cli(folder, out, long, () => (existsSync(join(out, "log.jsonl")) ? "SIGINT" : undefined));
  assert.is(stopped.code, 130, stopped.said);
  assert.match(stopped.said, /stopping; what is done is kept/);
  const [name] = readdirSync(out).filter((n) => n.startsWith("checkpoint-"));
  assert.ok(name, stopped.said);
  const state = JSON.parse(readFileSync(join(out, name, "trainer_state.json"), "utf8")) as { global_step: number; log_history: unknown[] };
  assert.is(`checkpoint-${state.global_step}`, name);
  assert.is(state.log_history.length, state.global_step);
});

const disk = scratchFolder();
const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", "size=4m", "tmpfs", disk]).status === 0;
test.after(() => void (mounted && spawnSync("umount", [disk])));

// Needs the right to mount a small disk.
(mounted ? test : test.skip)("a disk that is full leaves the last checkpoint whole and says so", async () => {
  const device = await openDevice();
  const config = tinyConfig();
  const { lm } = await tinyModel(device, config, 1);
  setTrainable(lm, true);
  const folder = join(disk, "run");
  const store = checkpointStore<LogEntry>(device, trainable(lm), folder, { run: {}, keep: 1 });
  const filling = {
    ...store,
    async save(state: RunState) {
      if (state.step === 4) assert.throws(() => writeFileSync(join(disk, "filler"), Buffer.alloc(8 << 20)), /ENOSPC/);
      await store.save(state);
    },
  };
  const options = { ...defaultTraining, steps: 8, batch: 2, saveEvery: 2 };
  const source = shuffled(randomExamples(config, 5, 8, 1), 0);
  const message = await messageOf(() => train(device, lm, source, options, { store: filling }));
  assert.match(message, /checkpoint-4.*: not written, the disk is full; make room$/);
  assert.equal(readdirSync(folder), ["checkpoint-2"]);
  assert.is((await store.load())?.step, 2);
  device.destroy();
});

test("a lost device ends the run with a sentence, and the last checkpoint is whole", async () => {
  const device = await openDevice();
  const config = tinyConfig();
  const { lm } = await tinyModel(device, config, 1);
  setTrainable(lm, true);
  const folder = scratchFolder();
  const source = shuffled(randomExamples(config, 5, 8, 1), 0);
  const store = checkpointStore<LogEntry>(device, trainable(lm), folder, { run: {} });
  const losing = {
    ...source,
    batch(step: number, size: number) {
      if (step === 5) {
        device.lost = "the GPU device was lost while running a plan: the driver went away; start again";
        device.raw.destroy();
      }
      return source.batch(step, size);
    },
  };
  const options = { ...defaultTraining, steps: 8, batch: 2, saveEvery: 2 };
  const message = await messageOf(() => train(device, lm, losing, options, { store }));
  assert.match(message, /^the GPU device was lost while running a plan: the driver went away; start again/);
  assert.equal(readdirSync(folder), ["checkpoint-4"]);
  const second = await openDevice();
  const again = (await tinyModel(second, config, 9)).lm;
  setTrainable(again, true);
  assert.is((await checkpointStore(second, trainable(again), folder, { run: {} }).load())?.step, 4);
});

test.run();
