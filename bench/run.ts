// Times every kernel variant at the sizes its check names, beside its error:  npm run bench -- [kernel]
// Times come from timestamps where the adapter has them, else from batched launches; variants of one case take turns, so that drift hits all.

import { type Device, GPU_BUFFER } from "../engine/device.ts";
import { openDevice } from "../engine/node.ts";
import { matmulCeiling } from "../train/ceiling.ts";
import { caseName, findChecks, type Prepared, prepare, runCase, typings, variantsFor } from "./checks.ts";

const device = await openDevice();
console.log(device.describe());
const ceiling = await matmulCeiling(device);
console.log(`matmul ceiling measured now: ${ceiling.toFixed(1)} GFLOP/s`);
console.log(`${"kernel".padEnd(44)} ${"case".padEnd(52)}  min us  median us   GFLOP/s   GB/s  share    error`);

const rounds = 9;
for (const { name, check } of await findChecks(process.argv[2])) {
  for (const c of check.bench ?? []) {
    for (const dtypes of typings(device, check)) {
      const variants = variantsFor(device, check, c, dtypes);
      const ready = await Promise.all(variants.map((v) => prepare(device, check, c, dtypes, v)));
      const times = ready.map(() => [] as number[]);
      for (let r = 0; r <= rounds; r++) {
        for (const [i, p] of ready.entries()) {
          const t = await timed(device, p);
          if (r > 0) times[i].push(t);
        }
      }
      for (const [i, v] of variants.entries()) {
        const sorted = times[i].sort((a, b) => a - b);
        const median = sorted[rounds >> 1];
        const error = await runCase(device, check, c, dtypes, v).catch((e: Error) => e.message);
        const gflops = check.flops ? check.flops(c) / median / 1e3 : undefined;
        const half = Object.values(dtypes).includes("f16") ? " f16" : "";
        const cells = [
          `${name}:${v.name}${half}`.padEnd(44),
          caseName(c).padEnd(52),
          sorted[0].toFixed(1).padStart(8),
          median.toFixed(1).padStart(10),
          (gflops?.toFixed(1) ?? "").padStart(9),
          (check.bytes ? (check.bytes(c) / median / 1e3).toFixed(1) : "").padStart(6),
          (gflops ? `${((100 * gflops) / ceiling).toFixed(0)}%` : "").padStart(6),
          typeof error === "number" ? error.toExponential(1) : error,
        ];
        console.log(cells.join(" "));
      }
      for (const p of ready) p.destroy();
    }
  }
}
process.exit();

/** Microseconds of one launch. */
async function timed(device: Device, p: Prepared): Promise<number> {
  const encoder = device.raw.createCommandEncoder();
  if (!device.capabilities.features.has("timestamp-query")) return batched(device, p);
  const querySet = device.raw.createQuerySet({ type: "timestamp", count: 2 });
  const resolved = device.raw.createBuffer({ size: 16, usage: GPU_BUFFER.QUERY_RESOLVE | GPU_BUFFER.COPY_SRC });
  const pass = encoder.beginComputePass({ timestampWrites: { querySet, beginningOfPassWriteIndex: 0, endOfPassWriteIndex: 1 } });
  p.dispatch(pass);
  pass.end();
  encoder.resolveQuerySet(querySet, 0, 2, resolved, 0);
  device.raw.queue.submit([encoder.finish()]);
  const [w] = await device.readRanges([{ buffer: resolved, offset: 0, dtype: "u32", size: 4 }]);
  querySet.destroy();
  resolved.destroy();
  return (w[2] - w[0] + (w[3] - w[1]) * 4294967296) / 1000;
}

async function batched(device: Device, p: Prepared, launches = 20): Promise<number> {
  await device.finish();
  const begin = performance.now();
  const encoder = device.raw.createCommandEncoder();
  const pass = encoder.beginComputePass();
  for (let i = 0; i < launches; i++) p.dispatch(pass);
  pass.end();
  device.raw.queue.submit([encoder.finish()]);
  await device.finish();
  return ((performance.now() - begin) * 1000) / launches;
}
