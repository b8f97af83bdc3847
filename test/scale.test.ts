// One layer at Chameleon-7B's width, written, loaded and run: matrices four times as large as a binding, host memory that stays small, and results
// held against rows read from the file. The whole check is `npm run scale`.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { shapedBytes, writeShaped } from "../bench/shaped.ts";
import { openDevice } from "../engine/node.ts";
import { embedding } from "../engine/ops/index.ts";
import { Tape } from "../engine/tape.ts";
import { plainPositions, ropeFor, selfAttention, sequenceInputs } from "../models/chameleon.ts";
import { openCheckpoint } from "../weights/checkpoint.ts";
import { toFloat32 } from "../weights/safetensors.ts";
import { loadLanguageModel } from "../world/model.ts";

const folder = mkdtempSync(join(tmpdir(), "worldline-scale-"));
const device = await openDevice();
// Loaded into buffers of its own size, a device that has less than this is no place for the test.
const free = device.host.freeMemory?.() ?? Number.POSITIVE_INFINITY;
const small = device.raw.limits.maxBufferSize < 2 ** 29 || (device.capabilities.software && free < 4 * 2 ** 30);
const run = small ? test.skip : test;

run("a layer of full width as bf16: row ranges, bounded host memory, embedding and logits as the file's rows say", async () => {
  await writeShaped(join(folder, "model"), { layers: 1 });
  const before = process.memoryUsage.rss();
  let peak = 0;
  const onBytes = (_: number, __: number, begun: number) => {
    peak = Math.max(peak, process.memoryUsage.rss() - before - (device.capabilities.software ? begun : 0));
  };
  const { config, lm } = await loadLanguageModel(device, join(folder, "model"), { dtype: "bf16", onBytes });
  assert.ok(peak < 512 * 2 ** 20, `host memory while loading went up by ${(peak / 2 ** 20).toFixed(0)} MiB`);
  const held = device.memory().weights!;
  assert.ok(held >= shapedBytes(1) && held < shapedBytes(1) + 2 ** 20, `${held} bytes of weights`);
  const most = device.raw.limits.maxStorageBufferBindingSize;
  assert.is(device.rowRanges(lm.lm_head.weight).length, Math.ceil(2 ** 29 / most));
  const tape = new Tape(device);
  const { ids, positions } = sequenceInputs(tape, 1, 6);
  const rows = tape.keep(embedding(lm.model.embed_tokens.weight, ids));
  const hidden = tape.keep(lm.forward(ids, positions, ropeFor(device, config, 6), selfAttention()));
  const logits = tape.keep(lm.logits(hidden));
  const plan = await tape.plan();
  const V = config.vocabSize;
  const C = config.hidden;
  const asked = Uint32Array.of(0, 16383, 16384, 40000, 65535, 20001);
  plan.write("ids", asked).write("positions", plainPositions(1, 6)).run();
  const [gotRows, h, got] = (await plan.read(rows, hidden, logits)) as Float32Array[];
  const file = await openCheckpoint(join(folder, "model"));
  const row = async (name: string, r: number) => toFloat32(await file.readRange(name, r * 2 * C, (r + 1) * 2 * C), "BF16");
  for (const [i, id] of asked.entries()) {
    assert.equal(gotRows.subarray(i * C, (i + 1) * C), await row("model.embed_tokens.weight", id), `embedding of ${id}`);
    for (const v of [0, 16383, 16384, 32768, 49151, 49152, 65535]) {
      const w = await row("lm_head.weight", v);
      const want = w.reduce((sum, x, c) => sum + x * h[i * C + c], 0);
      assert.ok(Math.abs(got[i * V + v] - want) < 1e-4, `logit ${v} after ${id}: ${got[i * V + v]}, ${want}`);
    }
  }
  await file.close();
  plan.destroy();
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
