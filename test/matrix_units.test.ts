// Products, attention and convolution on matrix units, which no software adapter has: the shaders with units that plain WGSL stands in for, run against the checks
// of their kernels; the shaders as they are, compiled for the units that adapters are known to offer by Dawn's backend that runs nothing; and who gets it. One file, because they share the stand-ins.
// Run: `npm test -- matrix_units`.
import { readFileSync } from "node:fs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { create } from "webgpu";
import { runCheck } from "../bench/check.ts";
import { Device, fits } from "../engine/device.ts";
import { nodeHost } from "../engine/host_node.ts";
import { openDevice } from "../engine/node.ts";
import attentionChecks from "../kernels/attention/attention.check.ts";
import { attention } from "../kernels/attention/attention.ts";
import convolutionChecks from "../kernels/conv2d/conv2d.check.ts";
import { conv2d } from "../kernels/conv2d/conv2d.ts";
import type { Capabilities, Check, Numbers, Variant } from "../kernels/kernel.ts";
import checks from "../kernels/matmul/matmul.check.ts";
import { matmul } from "../kernels/matmul/matmul.ts";

const device = await openDevice();
const matrix = matmul.variants.find((v) => v.name === "matrix")!;
const flash = attention.variants.find((v) => v.name === "matrix")!;
const convolution = conv2d.variants.find((v) => v.name === "matrix")!;
const half = { a: "f16", b: "f16" } as const;

/** Numbers of a case: nothing added, whole matrices, unless told. */
const numbers = (M: number, N: number, K: number, c: Numbers = {}): Numbers => ({
  ...checks[0].cases[0],
  ...{ acc: 0, hasBias: 0, hasResidual: 0, startA: 0, startY: 0, transA: 0, transB: 1, strideA: K, strideY: N, M, N, K, ...c },
});

/** The functions of lib/matrix_units.wgsl without units: every lane holds whole tiles. Bounds known at run time alone keep loops rolled, which compile faster. */
const load = (tile: "Left" | "Right", layout: "rows" | "columns") => {
  const [rows, columns] = tile === "Left" ? ["TM", "TK"] : ["TK", "TN"];
  const [r, c] = [`i / ${columns}`, `i % ${columns}`];
  const place = layout === "rows" ? `${r} * stride + ${c}` : `${c} * stride + ${r}`;
  return `fn ${tile.toLowerCase()}_${layout}(source: ptr<storage, array<f16>, read>, at: u32, stride: u32) -> ${tile} {
  var t: ${tile};
  for (var i = 0u; i < min(${rows} * ${columns}, UNROLLED); i++) { t[i] = f32(source[at + ${place}]); }
  return t;
}`;
};
const standIn = `
alias Left = array<f32, TM * TK>;
alias Right = array<f32, TK * TN>;
alias Sums = array<f32, TM * TN>;
${load("Left", "rows")}
${load("Left", "columns")}
${load("Right", "rows")}
${load("Right", "columns")}
fn multiply_tiles(l: Left, r: Right, s: Sums) -> Sums {
  var t = s;
  for (var i = 0u; i < min(TM * TN, UNROLLED); i++) {
    for (var k = 0u; k < TK; k++) { t[i] += l[i / TN * TK + k] * r[k * TN + i % TN]; }
  }
  return t;
}
fn put_sums(s: Sums, at: u32) { for (var i = 0u; i < min(TM * TN, UNROLLED); i++) { tiles[at + i] = s[i]; } }
fn take_sums(at: u32) -> Sums {
  var t: Sums;
  for (var i = 0u; i < min(TM * TN, UNROLLED); i++) { t[i] = tiles[at + i]; }
  return t;
}
`;
/** A load of a tile on the left from workgroup memory. */
const memoryLoad = /return subgroupMatrixLoad<Left, row_major>\(&(\w+), at, (\w+)\);/;
const memoryStandIn =
  "var t: Left; for (var i = 0u; i < min(TM * TK, UNROLLED); i++) { t[i] = f32($1[at + i / TK * $2 + i % TK]); } return t;";

/** A shader of matrix units as a shader without; `unrolled`: more than a tile has, known at run time alone. */
function emulation(source: URL, spoil: (text: string) => string, unrolled = "p.N * 64u"): URL {
  const text = spoil(readFileSync(source, "utf8"))
    .replace("enable chromium_experimental_subgroup_matrix;", "")
    .replace(memoryLoad, memoryStandIn);
  return new URL(`data:text/plain,${encodeURIComponent((text + standIn).replaceAll("UNROLLED", unrolled))}`);
}

/** The product over tiles of 2 x 4 x 2, two on a side of a subgroup, without units; pipelines are kept by name. */
function withoutUnits(name: string, spoil: (text: string) => string = (text) => text): Check {
  const emulated: Variant = {
    name,
    source: emulation(matrix.source, spoil),
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

/** Attention over tiles of 2 queries, 4 keys and 2 columns, or of 2, 2 and 4, without units. */
function attentionWithoutUnits(name: string, [TN, TK]: readonly [number, number], spoil?: (text: string) => string): Check {
  const whole = spoil === undefined;
  const emulated: Variant = {
    name,
    source: emulation(flash.source, spoil ?? ((text) => text)),
    needs: ["shader-f16", "subgroups"],
    dtypes: { q: ["f16"], k: ["f16"], v: ["f16"] },
    when: ({ T, S, D }, { lanes }) => lanes > 0 && lanes % 2 === 0 && D % 4 === 0 && T >= 2 && S >= 4,
    consts: { ROWS: 8 },
    rebind: ({ D }, { lanes }) => ({ LANES: lanes, TM: 2, TN, TK, DEPTH: D, GROUP: 4, GROUPS: 3 }),
    grid: ({ B, T, N }) => [Math.ceil(T / 8), B * N],
  };
  const cases: Numbers[] = [
    { B: 1, T: 37, S: 70, N: 4, K: 2, D: 8, causal: 1, padded: 0 },
    { B: 3, T: 70, S: 37, N: 2, K: 1, D: 8, causal: 1, padded: 1 },
    ...(whole
      ? [
          { B: 1, T: 2, S: 4, N: 1, K: 1, D: 4, causal: 0, padded: 0 },
          { B: 2, T: 5, S: 5, N: 2, K: 1, D: 8, causal: 1, padded: 1 },
          { B: 1, T: 9, S: 43, N: 2, K: 2, D: 12, causal: 0, padded: 0 },
        ]
      : []),
  ];
  const [check] = attentionChecks;
  // Keys of growing length, so that scores exceed the reference of their row again and again.
  const inputs: Check["inputs"] = (c, rng) => {
    const v = check.inputs(c, rng);
    const row = c.K * c.D;
    return { ...v, k: (v.k as Float32Array).map((x, i) => x * (1 + (Math.floor(i / row) % c.S) / 4)) };
  };
  return { ...check, kernel: { ...attention, variants: [emulated] }, cases, bench: [], inputs };
}

/** Numbers of a convolution: pictures (B, H, W, I), K x K weights, nothing added unless told. */
const pictures = (B: number, [H, W]: readonly [number, number], I: number, O: number, K: number, c: Numbers = {}): Numbers => ({
  ...{ B, H, W, I, OH: H, OW: W, O, KH: K, KW: K, stride: 1, pad: (K - 1) / 2, up: 1, bias: 0, residual: 0, acc: 0 },
  ...c,
});

/** Convolution over tiles of 4 pixels, 2 output channels and 12 input channels, of which most lanes gather more than one vec4, without units. */
function convolutionWithoutUnits(name: string, spoil?: (text: string) => string): Check {
  const emulated: Variant = {
    name,
    source: emulation(convolution.source, spoil ?? ((text) => text), "p.O * 64u"),
    needs: ["shader-f16", "subgroups"],
    dtypes: { x: ["f16"], w: ["f16"] },
    when: ({ I, O, up }, { lanes }) => lanes > 0 && I % 12 === 0 && O % 2 === 0 && up === 1,
    consts: { SPAN_M: 16, SPAN_N: 8 },
    rebind: (_, { lanes }) => ({ LANES: lanes, TM: 4, TN: 2, TK: 12, TILES_M: 2, TILES_N: 2 }),
    grid: ({ B, OH, OW, O }) => [Math.ceil((B * OH * OW) / 16), Math.ceil(O / 8)],
  };
  const cases = [
    pictures(1, [1, 1], 12, 2, 1),
    pictures(2, [5, 7], 12, 10, 3, { bias: 1, residual: 1 }),
    pictures(3, [3, 5], 24, 14, 3, { bias: 1, acc: 1 }),
    pictures(2, [6, 10], 12, 18, 3, { OH: 3, OW: 5, stride: 2, pad: 0, bias: 1 }),
    pictures(1, [4, 3], 12, 8, 5, { acc: 1 }),
    pictures(2, [5, 3], 36, 16, 1, { residual: 1 }),
  ];
  const [check] = convolutionChecks;
  const operands = { x: "f16", w: "f16" } as const;
  const dtypes = spoil ? [operands] : [operands, { ...operands, b: "f16", r: "f16" } as const];
  return { ...check, kernel: { ...conv2d, variants: [emulated] }, cases, bench: [], dtypes };
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

(runs ? test : test.skip)("attention on units: grouped heads, padding, ends that are no whole tiles, references that move", async () => {
  for (const shape of [
    [4, 2],
    [2, 4],
  ] as const) {
    const { passed, failures } = await runCheck(device, { name: "attention", check: attentionWithoutUnits(`right ${shape}`, shape) });
    assert.equal(failures, []);
    assert.is(passed, 5);
  }
});

(runs ? test : test.skip)("a fault in attention on units is seen by those checks", async () => {
  const faults: ((text: string) => string)[] = [
    (text) => text.replace("tiles[own + e] *= factors[subgroup * TM + e / TN];", ""),
    (text) => text.replace("s >= from_key && s < ends", "s < ends"),
    (text) => text.replace("total * factor + row_sum(sum)", "total + row_sum(sum)"),
    (text) => text.replace("n / (p.N / p.K)", "n % p.K"),
    (text) => text.replace("+ c % GROUP;", ";"),
  ];
  for (const [i, fault] of faults.entries()) {
    const { failures } = await runCheck(device, { name: "attention", check: attentionWithoutUnits(`fault ${i}`, [4, 2], fault) });
    assert.ok(failures.length > 0, `${fault}`);
  }
});

(runs ? test : test.skip)(
  "convolution on units: borders, strides, several pictures, pixels that are no whole tiles, what is added",
  async () => {
    const { passed, failures } = await runCheck(device, { name: "conv2d", check: convolutionWithoutUnits("right") });
    assert.equal(failures, []);
    assert.is(passed, 12);
  },
);

(runs ? test : test.skip)("a fault in convolution on units is seen by those checks", async () => {
  const faults: ((text: string) => string)[] = [
    (text) => text.replace("s.x >= p.H || s.y >= p.W", "s.x >= p.H"),
    (text) => text.replace("at.yz * p.stride", "at.yz"),
    (text) => text.replace("(at.x * p.H + s.x)", "s.x"),
    (text) => text.replace("q < count && n < p.O", "n < p.O"),
    (text) => text.replace("half + (down + i * TM) * TK", "(down + i * TM) * TK"),
    (text) => text.replace("half + (down + i * TM) * TK", "half + i * TM * TK"),
    (text) => text.replace("f32(r[q * p.O + n])", "f32(r[q + n])"),
  ];
  for (const [i, fault] of faults.entries()) {
    const { failures } = await runCheck(device, { name: "conv2d", check: convolutionWithoutUnits(`fault ${i}`, fault) });
    assert.ok(failures.length > 0, `${fault}`);
  }
});

// The object must live as long as its devices.
const nothing = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
const units = (...shapes: (readonly [number, number, number])[]): Capabilities => ({
  features: new Set(["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"]),
  lanes: 32,
  maxInvocations: 1024,
  maxStorage: 16384,
  matrices: shapes.map(([M, N, K]) => ({ M, N, K, type: "f16", sums: "f32" })),
  software: false,
});
const types = (y: "f16" | "f32") => ({ ...half, scales: "f32", bias: y, residual: y, y }) as const;

const heads = (c: Numbers = {}): Numbers => ({ B: 2, T: 100, S: 100, N: 8, K: 4, D: 64, scale: 0.125, causal: 1, padded: 0, ...c });
const heads16 = { q: "f16", k: "f16", v: "f16", start: "u32" } as const;

const large = (c: Numbers = {}): Numbers => ({ ...pictures(3, [50, 30], 64, 96, 3), ...c });
const pictures16 = { x: "f16", w: "f16", b: "f32", r: "f32" } as const;

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
    for (const D of [16, 64, 128]) {
      const choice = d.chosen(attention, flash, heads({ D }), heads16);
      assert.match(
        choice.key,
        new RegExp(
          `TM=${shape[0]},TN=${shape[1]},TK=${shape[2]},DEPTH=${D},GROUP=${Math.max(shape[1], shape[2])},GROUPS=${shape[0] * Math.max(shape[1], shape[2]) === 256 ? 2 : 4}`,
        ),
      );
      assert.equal(choice.grid, [Math.ceil(100 / (4 * shape[0])), 16]);
      await d.compile(choice);
    }
    // Output channels that are one tile, some, and more than a workgroup makes; the tiles that a subgroup makes of them.
    for (const [tiles, across] of [
      [1, 1],
      [6, 3],
      [10, 3],
      [16, 4],
    ]) {
      const types = tiles === 6 ? ({ ...pictures16, b: "f16", r: "f16" } as const) : pictures16;
      const choice = d.chosen(conv2d, convolution, large({ O: tiles * shape[1] }), types);
      assert.match(choice.key, new RegExp(`TM=${shape[0]},TN=${shape[1]},TK=${shape[2]},TILES_N=${across}`));
      assert.equal(choice.grid, [Math.ceil((3 * 50 * 30) / (8 * shape[0])), Math.ceil(tiles / (2 * across))]);
      await d.compile(choice);
    }
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
  assert.ok(fits(both, flash, heads(), heads16));
  assert.not.ok(fits(both, flash, heads({ T: 15 }), heads16), "queries");
  assert.not.ok(fits(both, flash, heads({ S: 8 }), heads16), "keys");
  assert.not.ok(fits(both, flash, heads({ D: 24 }), heads16), "columns");
  assert.not.ok(fits({ ...both, lanes: 8 }, flash, heads(), heads16), "lanes");
  assert.not.ok(fits(both, flash, heads(), { ...heads16, q: "f32" }), "f32 queries");
  assert.ok(fits(both, convolution, large(), pictures16));
  assert.ok(fits(both, convolution, large({ OH: 25, OW: 15, stride: 2, pad: 0 }), { ...pictures16, b: "f16" }), "stride 2");
  assert.not.ok(fits(both, convolution, large({ I: 40 }), pictures16), "input channels");
  assert.not.ok(fits(both, convolution, large({ O: 40 }), pictures16), "output channels");
  assert.not.ok(fits(both, convolution, large({ up: 2 }), pictures16), "spread pixels");
  assert.not.ok(fits(both, convolution, large(), { ...pictures16, w: "f32" }), "f32 weights");
  assert.not.ok(fits(both, convolution, large({ B: 5600 }), pictures16), "more pixels than a grid has");
  assert.not.ok(fits({ ...both, maxStorage: 12000 }, convolution, large(), pictures16), "memory");
  assert.not.ok(fits({ ...both, lanes: 0 }, convolution, large(), pictures16), "lanes of no fixed number");
  assert.not.ok(fits(units(), convolution, large(), pictures16), "no unit for a convolution");
  const free = await dry(both);
  assert.is(free.choose(conv2d, large(), pictures16).variant.name, "tiled");
  assert.is(free.choose(attention, heads(), heads16).variant.name, "tile");
  assert.is(free.choose(matmul, numbers(256, 128, 64), types("f32")).variant.name, "shared");
  const forced = await dry(both, "matmul:matrix,conv2d:matrix");
  assert.match(forced.choose(matmul, numbers(256, 128, 64), types("f32")).key, /^matmul:matrix\{.*TM=16/);
  assert.match(forced.choose(conv2d, large(), pictures16).key, /^conv2d:matrix\{.*TM=16/);
});

test.run();
