// y = op(a) op(b) with bias, residual or accumulation added: every product of matrices that a transformer needs, forward and backward.
// b may be stored in any type (weights/quantize.ts) and its binding may hold a range of its rows: y, or op(a), is then a block of columns of a
// wider matrix. Where there are no scales, bias or residual, any tensor will do in their place.
import { grid2d, kernel, storedTypes, unitOf, type Variant } from "../kernel.ts";

const half = (alias: string) => ({ alias, dtypes: ["f32", "f16"] as const });

type Name =
  | "M"
  | "N"
  | "K"
  | "transA"
  | "transB"
  | "acc"
  | "hasBias"
  | "hasResidual"
  | "strideA"
  | "startA"
  | "strideY"
  | "startY"
  | "group";
type Sizes = Record<Name, number>;

/** Whether rows of both operands can be read as vec4 and N columns written so. */
const aligned = ({ M, N, K, transA, transB, strideA, startA, strideY, startY }: Sizes) =>
  [N, transA ? M : K, transB ? K : N, strideA, startA, strideY, startY].every((n) => n % 4 === 0);

/**
 * Rows of a up to which a matrix-vector kernel is used: where subgroups are small the register tile takes over early, which reads b no more
 * often (measured at 4096 x 4096 on the software adapter, docs/log.md).
 */
const few = (small: number) => (p: Sizes, lanes: number) => lanes >= 4 && p.M <= (lanes <= 16 ? small : 8) && !p.transA && p.transB === 1;

/** A matrix-vector kernel for b in bits; a lane reads `values` of them at a time. */
const packed = (dtype: "int8" | "int4", values: number, small: number): Variant<Name> => ({
  name: `gemv_${dtype}`,
  source: new URL("./gemv_packed.wgsl", import.meta.url),
  lib: ["grid", "packed_{b}"],
  needs: ["subgroups"],
  dtypes: { b: [dtype] },
  when: (p, { lanes }) => few(small)(p, lanes) && aligned(p) && p.N % 8 === 0 && p.K % values === 0 && 2 ** p.group >= values,
  consts: (_, { lanes }) => ({ WG: lanes }),
  rebind: ({ M }) => ({ ROWS: M }),
  grid: ({ N }) => grid2d(N / 8),
});

/** Subgroups on a side of a workgroup times tiles on a side of a subgroup, as matrix.wgsl has them. */
const tilesAcross = 2 * 4;

/** Rows of a register tile: 32 unless there are fewer. */
const tileRows = ({ M }: Sizes) => (M <= 8 ? 8 : M <= 16 ? 16 : 32);

export const matmul = kernel({
  name: "matmul",
  source: new URL("./matmul.wgsl", import.meta.url),
  lib: ["grid", "stored_{b}"],
  reads: ["a", "b", "scales", "bias", "residual"],
  writes: ["y"],
  params: {
    M: "u32",
    N: "u32",
    K: "u32",
    transA: "u32",
    transB: "u32",
    acc: "u32",
    hasBias: "u32",
    hasResidual: "u32",
    strideA: "u32",
    startA: "u32",
    strideY: "u32",
    startY: "u32",
    group: "u32",
  },
  types: {
    a: half("AT"),
    b: { stored: true, dtypes: storedTypes },
    scales: half("ST"),
    bias: half("CT"),
    residual: half("RT"),
    y: half("YT"),
  },
  consts: { WG: 64 },
  grid: ({ M, N }, { WG }) => grid2d(Math.ceil((M * N) / WG)),
  variants: [
    packed("int8", 16, 3),
    packed("int4", 32, 4),
    {
      name: "gemv",
      source: new URL("./gemv.wgsl", import.meta.url),
      lib: ["grid", "stored_{b}"],
      needs: ["subgroups"],
      when: (p, { lanes }) => few(2)(p, lanes) && aligned(p),
      consts: (_, { lanes }) => ({ WG: lanes }),
      rebind: ({ M }) => ({ ROWS: M }),
      grid: ({ N }) => grid2d(N / 4),
    },
    {
      name: "matrix",
      source: new URL("./matrix.wgsl", import.meta.url),
      lib: ["matrix_units"],
      needs: ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"],
      onTrial: true,
      dtypes: { a: ["f16"], b: ["f16"] },
      when: ({ M, N, K }, device) => {
        const unit = unitOf(device);
        if (!unit || !device.lanes || 4 * device.lanes > device.maxInvocations || 16 * unit.M * unit.N > device.maxStorage) return false;
        const [x, y] = [M / (unit.M * tilesAcross), N / (unit.N * tilesAcross)];
        return M % unit.M === 0 && N % unit.N === 0 && K % unit.K === 0 && x <= 65535 && y <= 65535;
      },
      consts: ({ transA, transB }, device) => {
        const { M, N } = unitOf(device)!;
        return { TRANS_A: transA, TRANS_B: transB, SPAN_M: M * tilesAcross, SPAN_N: N * tilesAcross };
      },
      rebind: (_, device) => {
        const { M, N, K } = unitOf(device)!;
        return { LANES: device.lanes, TM: M, TN: N, TK: K };
      },
      grid: ({ M, N }, { SPAN_M, SPAN_N }) => [Math.ceil(M / SPAN_M), Math.ceil(N / SPAN_N)],
    },
    {
      name: "tile",
      source: new URL("./tile.wgsl", import.meta.url),
      lib: ["stored_{b}"],
      needs: ["subgroups"],
      when: (p, { lanes }) => lanes >= 4 && lanes <= 16 && aligned(p) && p.M <= 65535 * 8 && p.N <= 65535 * 16,
      consts: ({ transA, transB }, { lanes }) => ({ TRANS_A: transA, TRANS_B: transB, WG: lanes }),
      rebind: (p, { lanes }) => ({ ROWS: tileRows(p), LANES: lanes, LOADS: Math.ceil(tileRows(p) / lanes) }),
      grid: (p, { WG }) => [Math.ceil(p.M / tileRows(p)), Math.ceil(p.N / (4 * WG))],
    },
    {
      name: "shared",
      source: new URL("./shared.wgsl", import.meta.url),
      lib: ["stored_{b}"],
      when: ({ M, N }, { maxInvocations }) => maxInvocations >= 256 && M <= 65535 * 64 && N <= 65535 * 64,
      consts: ({ transA, transB }) => ({ TRANS_A: transA, TRANS_B: transB }),
      grid: ({ M, N }) => [Math.ceil(M / 64), Math.ceil(N / 64)],
    },
  ],
});
