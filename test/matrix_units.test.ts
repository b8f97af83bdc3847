// Products on matrix units, which no software adapter has: the shader with units that plain WGSL stands in for, run against the checks of matmul;
// the shader as it is, compiled for the units that adapters are known to offer by Dawn's backend that runs nothing; and who gets it.
// Run: `npm test -- matrix_units`.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { create } from "webgpu";
import { runCheck } from "../bench/check.ts";
import { Device, fits } from "../engine/device.ts";
import { nodeHost } from "../engine/host_node.ts";
import { openDevice } from "../engine/node.ts";
import type { Capabilities, Check, Numbers, Variant } from "../kernels/kernel.ts";
import checks from "../kernels/matmul/matmul.check.ts";
import { matmul } from "../kernels/matmul/matmul.ts";

const device = await openDevice();
const matrix = matmul.variants.find((v) => v.name === "matrix")!;
const half = { a: "f16", b: "f16" } as const;

/** Numbers of a case: nothing added, whole matrices, unless told. */
const numbers = (M: number, N: number, K: number, c: Numbers = {}): Numbers => ({
  ...checks[0].cases[0],
  ...{ acc: 0, hasBias: 0, hasResidual: 0, startA: 0, startY: 0, transA: 0, transB: 1, strideA: K, strideY: N, M, N, K, ...c },
});

/** The functions of lib/matrix_units.wgsl without units: every lane holds whole tiles. */
const standIn = `
alias Left = array<f32, TM * TK>;
alias Right = array<f32, TK * TN>;
alias Sums = array<f32, TM * TN>;
fn left_tile(m: u32, k: u32) -> Left {
  var t: Left;
  for (var i = 0u; i < TM * TK; i++) {
    let r = m + i / TK;
    let c = k + i % TK;
    t[i] = f32(a[p.startA + select(r * p.strideA + c, c * p.strideA + r, TRANS_A == 1u)]);
  }
  return t;
}
fn right_tile(k: u32, n: u32) -> Right {
  var t: Right;
  for (var i = 0u; i < TK * TN; i++) {
    let r = k + i / TN;
    let c = n + i % TN;
    t[i] = f32(stored[select(r * p.N + c, c * p.K + r, TRANS_B == 1u)]);
  }
  return t;
}
fn multiply_tiles(l: Left, r: Right, s: Sums) -> Sums {
  var t = s;
  for (var i = 0u; i < TM * TN; i++) {
    for (var k = 0u; k < TK; k++) { t[i] += l[i / TN * TK + k] * r[k * TN + i % TN]; }
  }
  return t;
}
fn put_sums(s: Sums, at: u32) { for (var i = 0u; i < TM * TN; i++) { tiles[at + i] = s[i]; } }
`;

/** The variant over tiles of 2 x 4 x 2, two on a side of a subgroup, without units; pipelines are kept by name. */
function withoutUnits(name: string, spoil: (text: string) => string = (text) => text): Check {
  const text = readFileSync(matrix.source, "utf8").replace("enable chromium_experimental_subgroup_matrix;", "");
  const emulated: Variant = {
    name,
    source: new URL(`data:text/plain,${encodeURIComponent(spoil(text) + standIn)}`),
    needs: ["shader-f16", "subgroups"],
    dtypes: { a: ["f16"], b: ["f16"] },
    when: ({ M, N, K }, { lanes }) => lanes > 0 && M % 2 === 0 && N % 4 === 0 && K % 2 === 0,
    consts: ({ transA, transB }) => ({ TRANS_A: transA, TRANS_B: transB, SPAN_M: 8, SPAN_N: 16 }),
    rebind: (_, { lanes }) => ({ LANES: lanes, TM: 2, TN: 4, TK: 2, TILES: 2 }),
    grid: ({ M, N }) => [Math.ceil(M / 8), Math.ceil(N / 16)],
  };
  const shapes: Numbers[] = [
    { M: 2, N: 4, K: 2, transA: 0, transB: 1 },
    { M: 18, N: 20, K: 10, transA: 0, transB: 0, hasBias: 1, hasResidual: 1 },
    { M: 10, N: 36, K: 6, transA: 1, transB: 0, acc: 1 },
    { M: 8, N: 16, K: 18, transA: 1, transB: 1 },
    { M: 6, N: 4, K: 8, transA: 0, transB: 1, strideY: 20, startY: 8, hasBias: 1, acc: 1 },
    { M: 4, N: 8, K: 4, transA: 0, transB: 0, strideA: 44, startA: 12 },
  ];
  const cases = shapes.map((c) => numbers(c.M, c.N, c.K, { ...c, strideA: c.strideA ?? (c.transA ? c.M : c.K) }));
  const all = { ...half, bias: "f16", residual: "f16", y: "f16" } as const;
  return { ...checks[0], kernel: { ...matmul, variants: [emulated] }, cases, bench: [], dtypes: [half, all] };
}

const runs = device.capabilities.features.has("shader-f16") && device.capabilities.lanes > 0;
if (!runs) console.log("skipped: products on matrix units without units (this adapter has no f16, or no subgroups of a fixed size)");

(runs ? test : test.skip)(
  "tiles, edges, transposes, blocks of columns and what is added are right with units that plain WGSL stands in for",
  async () => {
    const { passed, failures } = await runCheck(device, { name: "matmul", check: withoutUnits("right") });
    assert.equal(failures, []);
    assert.is(passed, 12);
  },
);

(runs ? test : test.skip)("a fault in the shader is seen by those checks", async () => {
  const faults: ((text: string) => string)[] = [
    (text) => text.replace("subgroup % SUBGROUPS * TILES * TN", "subgroup / SUBGROUPS * TILES * TN"),
    (text) => text.replace("left_tile(min(m0 + i * TM, p.M - TM), k)", "left_tile(m0, k)"),
    (text) => text.replace("e / TN) * p.strideY", "e / TM) * p.strideY"),
  ];
  for (const [i, fault] of faults.entries()) {
    const { failures } = await runCheck(device, { name: "matmul", check: withoutUnits(`fault ${i}`, fault) });
    assert.ok(failures.length > 0, `${fault}`);
  }
});

// The object must live as long as its devices.
const nothing = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
const units = (...shapes: (readonly [number, number, number])[]): Capabilities => ({
  features: new Set(["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"]),
  lanes: 32,
  maxInvocations: 1024,
  maxStorage: 32768,
  matrices: shapes.map(([M, N, K]) => ({ M, N, K, type: "f16", sums: "f32" })),
  software: false,
});
const types = (y: "f16" | "f32") => ({ ...half, scales: "f32", bias: y, residual: y, y }) as const;

/** A device that runs nothing, with these capabilities. */
async function dry(capabilities: Capabilities, force?: string): Promise<Device> {
  const adapter = await nothing.requestAdapter();
  const opened = await Device.open({ host: nodeHost, gpu: nothing, adapter: adapter!, force });
  assert.ok(opened.raw.features.has("chromium-experimental-subgroup-matrix"));
  return Object.defineProperty(opened, "capabilities", { value: capabilities });
}

test("the shader compiles for the units that are known, in all transposes", async () => {
  for (const shape of [
    [16, 16, 16],
    [16, 8, 16],
    [8, 16, 16],
    [8, 8, 8],
  ] as const) {
    const d = await dry(units(shape));
    for (const [transA, transB] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ]) {
      const choice = d.chosen(matmul, matrix, numbers(256, 128, 64, { transA, transB }), types(transA ? "f16" : "f32"));
      assert.match(choice.key, new RegExp(`TM=${shape[0]},TN=${shape[1]},TK=${shape[2]}`));
      assert.equal(choice.grid, [Math.ceil(256 / (8 * shape[0])), Math.ceil(128 / (8 * shape[1]))]);
      await d.compile(choice);
    }
    const text = await d.shaderText(d.chosen(matmul, matrix, numbers(256, 128, 64), types("f32")));
    assert.match(text, /subgroup_matrix_left<f16, TK, TM>/);
    d.destroy();
  }
});

test("it goes to whole tiles of f16 on adapters with a unit, the largest one, and only where it is forced or tuned", async () => {
  const both = units([8, 8, 8], [16, 16, 16]);
  assert.ok(fits(both, matrix, numbers(256, 128, 64), types("f32")));
  assert.not.ok(fits(both, matrix, numbers(250, 128, 64), types("f32")), "rows");
  assert.not.ok(fits(both, matrix, numbers(256, 128, 40), types("f32")), "terms");
  assert.not.ok(fits(both, matrix, numbers(256, 128, 64), { ...types("f32"), a: "f32" }), "f32");
  assert.not.ok(fits(units(), matrix, numbers(256, 128, 64), types("f32")), "no unit");
  assert.not.ok(fits({ ...both, lanes: 0 }, matrix, numbers(256, 128, 64), types("f32")), "lanes of no fixed number");
  const free = await dry(both);
  assert.is(free.choose(matmul, numbers(256, 128, 64), types("f32")).variant.name, "shared");
  const forced = await dry(both, "matmul:matrix");
  assert.match(forced.choose(matmul, numbers(256, 128, 64), types("f32")).key, /^matmul:matrix\{.*TM=16/);
});

test.run();
