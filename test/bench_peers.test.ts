// The comparison with other engines: worldline's own results at the compared cases against f64, what counts as best, and that nothing of the
// peers is needed to load the code. The peers themselves are not installed here.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { configOf, growthLine, type ModelSize, measureModel, modelLines } from "../bench/model.ts";
import { dataOf, errorOf, expected, type PeerCase, peerCases } from "../bench/peers/cases.ts";
import { encodeModel } from "../bench/peers/onnx.ts";
import { bestRatio, type PeerResult, peerLines } from "../bench/peers/peers.ts";
import { open } from "../bench/peers/worldline.ts";
import { openDevice } from "../engine/node.ts";

const engine = await open();

/** A case at a size that a test can afford. */
const smaller: Record<string, Partial<PeerCase>> = {
  "matmul 1024": { work: { op: "matmul", M: 96, N: 64, K: 1024 }, result: [96, 64] },
  "matmul 256x4096x1024": { work: { op: "matmul", M: 64, N: 512, K: 256 }, result: [64, 512] },
  "gemv 4096": { work: { op: "matmul", M: 1, N: 1024, K: 1024 }, result: [1, 1024] },
  "softmax 2048x1024": { work: { op: "softmax", rows: 64, C: 1024 }, result: [64, 1024] },
  "layernorm 2048x1024": { work: { op: "layernorm", rows: 64, C: 1024 }, result: [64, 1024] },
  "conv 3x3 64x64x128": { work: { op: "conv", S: 16, I: 32, O: 64 }, result: [16, 16, 64] },
  "training step d128 l4 t160 b8": {
    work: { op: "training", width: 32, layers: 2, heads: 2, hidden: 88, vocabulary: 50, T: 24, batch: 3 },
    result: [2],
  },
};

for (const original of peerCases) {
  test(`worldline is right at ${original.name}`, async () => {
    const c = { ...original, ...smaller[original.name] };
    const data = dataOf(c);
    const want = expected(c, data);
    const ready = await engine.prepare(c, data, "");
    await ready!.run();
    const got = await ready!.result();
    assert.ok(errorOf(got, want) <= c.tolerance, `error ${errorOf(got, want)}`);
    if (c.work.op !== "training") {
      // The measure must notice a result that is wrong in one of the places it looks at.
      const spoilt = Float32Array.from(got);
      spoilt[want.places[0]] += 1;
      assert.ok(errorOf(spoilt, want) > c.tolerance);
      return;
    }
    assert.ok(got[1] < got[0] - 1e-3, `the second loss ${got[1]} is not below the first ${got[0]}`);
    await ready!.run();
    assert.equal(Array.from(await ready!.result()), Array.from(got), "starting again gives other losses");
  });
}

test("errors that are no numbers are infinite", () => {
  assert.is(errorOf([Number.NaN], { places: [0], values: Float64Array.of(1) }), Number.POSITIVE_INFINITY);
  assert.is(errorOf([], { places: [3], values: Float64Array.of(1) }), Number.POSITIVE_INFINITY);
});

test("the best other engine is the fastest right one on WebGPU", () => {
  const result = (name: string, median?: number, failed?: string): PeerResult => ({
    engine: name,
    version: "1",
    case: "matmul 512",
    ...(median
      ? { samples: 3, min: median / 2, median, p95: median, spread: 0.1, error: 1e-7, first: 10, gflops: 1, cpu: median * 2 }
      : { failed }),
  });
  const results = [
    result("worldline", 10),
    result("a", 50),
    result("b", 30),
    result("jax-js wasm", 5),
    result("c", undefined, "its result is wrong"),
  ];
  assert.equal(bestRatio(results), { ratio: 3, engine: "b", cpu: 3, shortest: 3 });
  assert.is(bestRatio(results.slice(1)), undefined);
  const lines = peerLines(peerCases[0], results);
  assert.match(lines[3], /x3\.00 of worldline's time/);
  assert.match(lines[5], /its result is wrong/);
});

test("an ONNX model is protobuf that names its node, its shapes and the two operator sets", () => {
  const bytes = encodeModel({
    nodes: [{ op: "MatMul", inputs: ["x", "w"], output: "y" }],
    inputs: { x: { shape: [2, 300], data: new Float32Array(600) } },
    constants: { w: { shape: [300, 1], data: new Float32Array(300).fill(1) } },
    output: { name: "y", shape: [2, 1] },
  });
  const fields = top(bytes);
  assert.equal(
    fields.map(([field]) => field),
    [1, 7, 8, 8],
  );
  const graph = top(fields[1][1] as Uint8Array);
  assert.equal(
    graph.map(([field]) => field),
    [1, 2, 5, 11, 12],
  );
  const constant = top(graph[2][1] as Uint8Array);
  assert.equal(
    constant.map(([field, v]) => (typeof v === "number" ? [field, v] : [field, v.length])),
    [
      [1, 300],
      [1, 1],
      [2, 1],
      [8, 1],
      [9, 1200],
    ],
  );
});

/** The fields of a protobuf message: varints and byte strings. */
function top(bytes: Uint8Array): [field: number, value: number | Uint8Array][] {
  const out: [number, number | Uint8Array][] = [];
  let at = 0;
  const varint = () => {
    let [v, shift] = [0, 1];
    for (;;) {
      const b = bytes[at++];
      v += (b & 127) * shift;
      if (b < 128) return v;
      shift *= 128;
    }
  };
  while (at < bytes.length) {
    const key = varint();
    const v = varint();
    if (key % 8 === 2) {
      out.push([key >> 3, bytes.subarray(at, at + v)]);
      at += v;
    } else out.push([key >> 3, v]);
  }
  return out;
}

test("a model is measured whole: every row has a rate, and the device's memory is named", async () => {
  const device = await openDevice();
  const size: ModelSize = {
    name: "tiny",
    config: configOf({ vocabSize: 64, hidden: 32, intermediate: 64, layers: 1, heads: 2, positions: 64 }),
    prompt: 12,
    newTokens: 48,
    training: { batch: 2, T: 12 },
    note: "",
  };
  const ceilings = { copy: 10, copyBytes: 1, arithmetic: { f32: 100 }, launch: 5, submit: 50, readback: 90 };
  const o = { as: { dtype: "f32", groupSize: 64 }, samples: 3, seconds: 5 } as const;
  const { rows, memory } = await measureModel(device, size, ceilings, o, () => {});
  assert.equal(
    rows.map((r) => r.work.split(" ")[0]),
    ["weights", "prefill", "decode", "training"],
  );
  for (const r of rows) assert.ok(r.rate > 0 && r.median > 0, JSON.stringify(r));
  assert.ok(rows.slice(1).every((r) => r.share! > 0 && r.gflops! > 0));
  assert.ok(memory.weights > 4 * 2 * 64 * 32 && memory.moments >= 2 * memory.gradients * 0.99);
  assert.is(modelLines(rows).length, 4);
  assert.match(growthLine({ work: "prefill", axis: "tokens", at: [1, 2], cost: [1000, 2000], unit: "us", exponent: 1 }), /tokens\^1\.00$/);
  device.destroy();
});

test("no peer is a dependency of the package", () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  for (const name of ["gpu.js", "@tensorflow/tfjs", "onnxruntime-node", "@jax-js/jax"])
    assert.not(name in dependencies || name in devDependencies, name);
  // The tests of the metrics run ONNX models with it.
  assert.not("onnxruntime-web" in dependencies);
});

test.run();
