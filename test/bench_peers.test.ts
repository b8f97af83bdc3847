// The comparison with other engines: worldline's own results at the compared cases against f64, what counts as best, and that nothing of the
// peers is needed to load the code. The peers themselves are not installed here.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { configOf, type Growth, growthTable, type ModelSize, measureModel, memoryGrowth, modelLines } from "../bench/model.ts";
import { dataOf, errorOf, expected, type PeerCase, peerCases } from "../bench/peers/cases.ts";
import { hostRows } from "../bench/peers/host.ts";
import { encodeModel } from "../bench/peers/onnx.ts";
import { bestRatio, installPeers, type PeerResult, pairedRatio, peerLines, runPeers } from "../bench/peers/peers.ts";
import { open } from "../bench/peers/worldline.ts";
import { openDevice } from "../engine/node.ts";

const engine = await open();

/** A case at a size that a test can afford. */
const smaller: Record<string, Partial<PeerCase>> = {
  ...Object.fromEntries(
    (["f32", "f16", "int8", "int4"] as const).flatMap((stored) => {
      const of = (name: string, M: number, N: number, K: number): [string, Partial<PeerCase>] => [
        stored === "f32" ? name : `${name} ${stored}`,
        { work: { op: "matmul", M, N, K, stored }, result: [M, N] },
      ];
      return [of("matmul 1024", 96, 64, 1024), of("matmul 256x4096x1024", 64, 512, 256), of("gemv 4096", 1, 1024, 1024)];
    }),
  ),
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
      ? {
          samples: 3,
          min: median / 2,
          median,
          p95: median,
          paired: median / 8,
          spread: 0.1,
          error: 1e-7,
          first: 10,
          gflops: 1,
          cpu: median * 2,
        }
      : { failed }),
  });
  const results = [
    result("worldline", 10),
    result("a", 50),
    result("b", 30),
    result("jax-js wasm", 5),
    result("c", undefined, "its result is wrong"),
  ];
  assert.equal(bestRatio(results), { ratio: 3.75, engine: "b", medians: 3, cpu: 3, shortest: 3 });
  assert.is(bestRatio(results.slice(1)), undefined);
  const lines = peerLines(peerCases[0], results);
  assert.match(lines[3], /x3\.75 of worldline's time, x3\.00 of its processor time/);
  assert.match(lines[5], /its result is wrong/);
});

test("ratios are taken within a round: a machine that changes its speed between rounds does not move them", () => {
  // By medians 60 / 10.
  assert.is(pairedRatio([30, 60, 60], [10, 20, 10]), 3);
  assert.is(pairedRatio([30, 60, 90], [10]), 3, "rounds after the other has died do not count");
  assert.is(pairedRatio([30], []), undefined);
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
  device.destroy();
});

test("memory grows exactly: weights by width alone, gradients and moments with them, cache and activations in proportion to tokens and batch", async () => {
  const device = await openDevice();
  const places = { tokens: [64, 128, 256], batch: [2, 4, 8], width: [64, 128, 256, 512] } as const;
  const found = new Map<string, Growth[]>();
  for (const axis of ["tokens", "batch", "width"] as const) found.set(axis, await memoryGrowth(device, axis, places[axis]));
  device.destroy();
  const of = (axis: string, work: string) => found.get(axis)!.find((g) => g.work === work)!;
  const steps = (axis: string, work: string) => {
    const { cost } = of(axis, work);
    return cost.slice(1).map((c, i) => c - cost[i]);
  };
  for (const axis of ["tokens", "batch"]) {
    assert.equal(steps(axis, "weights"), [0, 0]);
    assert.ok(Math.abs(of(axis, "weights").exponent) < 1e-12);
    for (const work of ["activations in training", "key-value cache"]) {
      // Twice the step for twice the distance: a line, but for the few bytes of alignment in a cache's batch.
      const [a, b] = steps(axis, work);
      assert.ok(a > 0 && Math.abs(b - 2 * a) <= 2048, `${work} over ${axis}: steps ${a}, ${b}`);
      assert.ok(Math.abs(of(axis, work).exponent - 1) < 5e-3, `${work} over ${axis}: exponent ${of(axis, work).exponent}`);
    }
  }
  assert.is(steps("tokens", "activations in training")[1], 2 * steps("tokens", "activations in training")[0]);
  assert.is(of("batch", "activations in generation").exponent.toFixed(9), "1.000000000");
  // Matrices grow with the square of the width and vectors with the width, so four places lie on one parabola.
  const [d1, d2, d3] = steps("width", "weights");
  assert.ok(d2 > 2 * d1);
  assert.is(d3 - 2 * d2, 4 * (d2 - 2 * d1));
  for (const axis of ["tokens", "batch", "width"])
    assert.equal(
      of(axis, "gradients and moments").cost,
      of(axis, "weights").cost.map((c) => 3 * c),
    );
  const table = growthTable([...found.values()].flat());
  assert.ok(table.includes("| weights | 1.76 MiB | 1.76 MiB | 1.76 MiB | 0.00 +- 0.00 |"), table.join("\n"));
});

test("a host neighbour whose result differs is told and not timed", async () => {
  const same = (a: unknown, b: unknown) => {
    if (a !== b) throw new Error("its result differs");
    return "the same";
  };
  const spin = (n: number) => () => Array.from({ length: n }, (_, i) => Math.sqrt(i)).length > 0;
  const hands = { ours: spin(1000), slow: spin(200_000), wrong: () => false };
  const [ours, slow, wrong] = await hostRows(fileURLToPath(new URL("..", import.meta.url)), { work: "w", hands, same }, 50);
  assert.ok(ours.median! > 0 && slow.ratio! > 5, `${ours.median} ${slow.ratio}`);
  assert.equal([wrong.median, wrong.note], [undefined, "not timed: its result differs"]);
});

/** States, as /proc has them, of the engines' processes that this one has started. */
function engineStates(): string[] {
  return children().map((pid) => states.get(pid)!);
}

const states = new Map<string, string>();

/** Numbers of those processes. */
function children(): string[] {
  const out: string[] = [];
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      const [state, parent] = readFileSync(`/proc/${pid}/stat`, "utf8")
        .replace(/^.*\) /, "")
        .split(" ");
      if (Number(parent) === process.pid && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("child.ts")) {
        states.set(pid, state);
        out.push(pid);
      }
    } catch {
      // It has ended meanwhile.
    }
  }
  return out;
}

/** The states once they are these, at the latest after five seconds: a signal takes effect when its process next gets a core. */
async function statesAre(wanted: readonly string[]): Promise<void> {
  for (let i = 0; i < 100 && engineStates().join() !== wanted.join(); i++) await new Promise((done) => setTimeout(done, 50));
  assert.equal(engineStates(), wanted);
}

if (process.platform === "linux") {
  test("an engine's process stands still after its turn and is gone at the end", async () => {
    const run = runPeers("", { engines: ["worldline"], filter: "softmax", samples: 1, seconds: 1 }, () => {});
    try {
      const { value } = await run.next();
      assert.is(value![1][0].failed, undefined);
      await statesAre(["T"]);
    } finally {
      await run.return(undefined);
    }
    await statesAre([]);
  });
}

if (process.platform === "linux")
  test("an engine that dies between its turns is a line of the table", async () => {
    const run = runPeers("", { engines: ["worldline"], filter: "matmul", samples: 1, seconds: 1 }, () => {});
    try {
      await run.next();
      for (const pid of children()) process.kill(Number(pid), "SIGKILL");
      await statesAre([]);
      const { value } = await run.next();
      // Its end is heard of, or a word to it fails first.
      assert.match(value![1][0].failed!, /^its process ended \((SIGKILL|write EPIPE|.*channel.*)\)$/i);
    } finally {
      await run.return(undefined);
    }
  });

test("an install of peers that fails is tried again", async () => {
  const at = mkdtempSync(join(tmpdir(), "worldline-peers-"));
  const folder = join(at, "peers");
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), "{}");
  writeFileSync(join(folder, "installed"), "");
  writeFileSync(join(at, "npm"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  const { PATH } = process.env;
  process.env.PATH = `${at}:${PATH}`;
  try {
    for (let i = 0; i < 2; i++) {
      const said = await installPeers(() => undefined, folder, { dependencies: { a: "1" } }).catch((e: Error) => e.message);
      assert.match(said, /could not be installed .* \(npm ended with code 1\)/);
    }
  } finally {
    process.env.PATH = PATH;
    rmSync(at, { recursive: true });
  }
});

test("no peer is a dependency of the package", () => {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  for (const name of ["gpu.js", "@tensorflow/tfjs", "onnxruntime-node", "@jax-js/jax"])
    assert.not(name in dependencies || name in devDependencies, name);
  // The tests of the metrics run ONNX models with it.
  assert.not("onnxruntime-web" in dependencies);
});

test.run();
