// Encodes and decodes one picture with a picture model of the published sizes and random weights: time, memory and rate of operations.
//   node --import tsx bench/picture_model.ts [--size 512] [--height 512] [--binding-mib 64]
import { parseArgs } from "node:util";
import { openDevice } from "../engine/node.ts";
import { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Tensor } from "../engine/tensor.ts";
import { bytes, createVqgan, flops } from "../models/vqgan.ts";
import { parseVqConfig } from "../weights/names.ts";

const { values: flags } = parseArgs({
  options: { size: { type: "string", default: "512" }, height: { type: "string" }, "binding-mib": { type: "string" } },
});
const width = Number(flags.size);
const height = Number(flags.height ?? flags.size);
const config = parseVqConfig({});
const limit = flags["binding-mib"] === undefined ? undefined : Number(flags["binding-mib"]) * 2 ** 20;
const device = await openDevice({ bindingBytes: limit });
console.log(
  `${device.describe()}\nbinding of ${device.bindingBytes / 2 ** 20} MiB, weights ${(bytes(config) / 2 ** 20).toFixed(0)} MiB, seed 1`,
);
const model = await createVqgan(device, config, new Rng(1));
const rng = new Rng(2);

async function once(
  name: "encode" | "decode",
  record: (tape: Tape) => { out: Tensor; input: string; data: Float32Array | Uint32Array },
): Promise<void> {
  const tape = new Tape(device);
  const { out, input, data } = record(tape);
  tape.keep(out);
  const plan = await tape.plan();
  const mib = (n: number) => `${(n / 2 ** 20).toFixed(0)} MiB`;
  for (const run of ["first", "second"]) {
    const begin = performance.now();
    const [values] = await plan.write(input, data).run().read(out);
    const seconds = (performance.now() - begin) / 1000;
    const rate = flops(config, height, width)[name] / seconds / 1e9;
    const finite = (values as Float32Array).every((v) => Number.isFinite(v));
    console.log(
      `${name} ${width} x ${height}, ${run} run: ${seconds.toFixed(1)} s, ${rate.toFixed(1)} GFLOP/s, activations ${mib(plan.activationBytes)}, ${plan.bound.length} launches${finite ? "" : ", NOT FINITE"}`,
    );
  }
  plan.destroy();
}

await once("encode", (tape) => ({
  out: model.encode(tape.input("pixels", [1, height, width, 3])),
  input: "pixels",
  data: rng.normals(height * width * 3, 0.5),
}));
const [rows, columns] = [height / 16, width / 16];
await once("decode", (tape) => ({
  out: model.decodeCodes(tape.input("codes", [1, rows, columns], "u32")),
  input: "codes",
  data: Uint32Array.from({ length: rows * columns }, () => rng.int(config.codes)),
}));
process.exit();
