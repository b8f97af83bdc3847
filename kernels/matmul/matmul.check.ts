import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { matmul } from "./matmul.ts";

/** Fills in what a case leaves out: plain a b, nothing added, whole matrices, groups of 32. */
const size = (c: Numbers): Numbers => ({
  transA: 0,
  transB: 0,
  acc: 0,
  hasBias: 0,
  hasResidual: 0,
  startA: 0,
  strideA: c.transA ? c.M : c.K,
  startY: 0,
  strideY: c.N,
  group: 5,
  ...c,
});
const shapes: Numbers[] = [
  { M: 1, N: 1, K: 1 },
  { M: 5, N: 7, K: 3 },
  { M: 33, N: 36, K: 20 },
  { M: 100, N: 68, K: 44 },
  { M: 64, N: 160, K: 64 },
  { M: 4, N: 64, K: 132 },
  { M: 1, N: 100, K: 300 },
  { M: 16, N: 48, K: 1001 },
];
const transposes = [
  { transA: 0, transB: 0 },
  { transA: 0, transB: 1 },
  { transA: 1, transB: 0 },
  { transA: 1, transB: 1 },
];
const added = [
  { acc: 0, hasBias: 0, hasResidual: 0 },
  { acc: 1, hasBias: 0, hasResidual: 0 },
  { acc: 0, hasBias: 1, hasResidual: 1 },
];
const timed: Numbers[] = [
  { M: 1024, N: 64, K: 64, transB: 1 },
  { M: 1024, N: 64, K: 160, transB: 1 },
  { M: 1024, N: 160, K: 64, transB: 1 },
  { M: 640, N: 448, K: 64, transB: 1 },
  { M: 1024, N: 64, K: 64 },
  { M: 1024, N: 64, K: 160 },
  { M: 1024, N: 160, K: 64 },
  { M: 640, N: 64, K: 448 },
  { M: 64, N: 64, K: 1024, transA: 1 },
  { M: 160, N: 64, K: 1024, transA: 1 },
  { M: 64, N: 160, K: 1024, transA: 1 },
  { M: 448, N: 64, K: 640, transA: 1 },
  { M: 8, N: 64, K: 64, transB: 1 },
  { M: 64, N: 448, K: 64, transB: 1 },
  { M: 256, N: 160, K: 64, transB: 1 },
  { M: 512, N: 512, K: 512, transB: 1 },
  { M: 1024, N: 1024, K: 1024, transB: 1 },
  { M: 1024, N: 1024, K: 1024 },
  { M: 1024, N: 1024, K: 1024, transA: 1 },
  { M: 256, N: 4096, K: 1024, transB: 1 },
  { M: 1, N: 4096, K: 4096, transB: 1 },
];

/** Blocks of columns: of y (a range of rows of b, transposed), of a (a range of rows of b), of a transposed (a range of rows of y). */
const blocks: Numbers[] = [
  { M: 3, N: 8, K: 12, transB: 1, strideY: 20, startY: 8, hasBias: 1, hasResidual: 1 },
  { M: 33, N: 36, K: 20, transB: 1, strideY: 44, startY: 4, acc: 1 },
  { M: 5, N: 7, K: 9, transB: 1, strideY: 11, startY: 3, hasBias: 1 },
  { M: 33, N: 20, K: 36, strideA: 44, startA: 8, acc: 1 },
  { M: 5, N: 7, K: 3, strideA: 9, startA: 5 },
  { M: 36, N: 20, K: 33, transA: 1, strideA: 60, startA: 12 },
  { M: 3, N: 7, K: 5, transA: 1, strideA: 10, startA: 1 },
];
/** Weights as they are stored, forward and back: rows that end inside a group or a word, single groups, one row of a and several. */
const frozen: Numbers[] = [
  { M: 1, N: 100, K: 300, transB: 1, hasBias: 1, hasResidual: 1 },
  { M: 3, N: 64, K: 132, transB: 1, acc: 1, group: 4 },
  { M: 1, N: 48, K: 320, transB: 1, hasBias: 1, group: 5 },
  { M: 2, N: 40, K: 608, transB: 1, strideY: 56, startY: 8, hasResidual: 1, group: 7 },
  { M: 3, N: 24, K: 304, transB: 1, acc: 1, group: 6 },
  { M: 4, N: 36, K: 256, transB: 1, group: 6 },
  { M: 7, N: 20, K: 96, transB: 1, group: 7 },
  { M: 8, N: 68, K: 44, transB: 1, group: 3 },
  { M: 33, N: 36, K: 20, transB: 1, group: 6 },
  { M: 40, N: 36, K: 128, transB: 1 },
  { M: 5, N: 7, K: 35, transB: 1 },
  { M: 3, N: 8, K: 64, transB: 1, strideY: 20, startY: 8, hasResidual: 1 },
  { M: 33, N: 36, K: 20 },
  { M: 4, N: 132, K: 64, acc: 1, group: 4 },
  { M: 5, N: 37, K: 3, group: 4 },
  { M: 6, N: 40, K: 8, strideA: 24, startA: 12, acc: 1 },
];
const timedFrozen: Numbers[] = [
  { M: 1, N: 4096, K: 4096, transB: 1, group: 6 },
  { M: 4, N: 4096, K: 4096, transB: 1, group: 6 },
  { M: 8, N: 4096, K: 4096, transB: 1, group: 6 },
  { M: 256, N: 4096, K: 1024, transB: 1, group: 6 },
  { M: 256, N: 1024, K: 4096, group: 6 },
];

/** Columns of the matrix that b is stored as. */
const columns = ({ N, K, transB }: Numbers) => (transB ? K : N);

const shared = {
  kernel: matmul,
  outputs: ({ M, strideY }: Numbers) => ({ y: M * strideY }),
  reference: (c: Numbers, v: Values) => ({ y: product(c, v) }),
  tolerance: { f32: 2e-6, f16: 2e-3 },
  terms: ({ K }: Numbers) => K,
  flops: ({ M, N, K }: Numbers) => 2 * M * N * K,
};

const inputs = ({ M, N, K, transA, acc, strideA, strideY }: Numbers, rng: CheckRng): Values => ({
  a: rng.normals((transA ? K : M) * strideA),
  b: rng.normals(K * N),
  scales: new Float32Array(4),
  bias: rng.normals(strideY),
  residual: rng.normals(M * strideY),
  ...(acc || strideY > N ? { y: rng.normals(M * strideY) } : {}),
});

export default [
  check({
    ...shared,
    cases: [...shapes.flatMap((s, i) => transposes.map((t, j) => ({ ...s, ...t, ...added[(i + j) % added.length] }))), ...blocks].map(size),
    bench: timed.map(size),
    inputs,
    dtypes: [{ b: "f16" }, { a: "f16", b: "f16", bias: "f16", residual: "f16", y: "f16" }],
    bytes: ({ M, N, K }) => 4 * (M * K + K * N + M * N),
  }),
  check({
    ...shared,
    cases: frozen.map(size),
    bench: timedFrozen.map(size),
    inputs,
    quantized: { b: { scales: "scales", columns } },
    dtypes: [{ b: "f16" }, { b: "bf16" }, { b: "int8" }, { b: "int4" }],
  }),
];

function product(c: Numbers, v: Values): Float64Array {
  const { M, N, K, transA, transB, acc, hasBias, hasResidual, strideA, startA, strideY, startY } = c;
  const [a, b, bias, residual, old] = ["a", "b", "bias", "residual", "y"].map((name) => v[name] as Float32Array);
  const y = old ? Float64Array.from(old) : new Float64Array(M * strideY);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      const at = m * strideY + startY + n;
      let sum = (acc ? old[at] : 0) + (hasBias ? bias[startY + n] : 0) + (hasResidual ? residual[at] : 0);
      for (let k = 0; k < K; k++) sum += a[startA + (transA ? k * strideA + m : m * strideA + k)] * b[transB ? n * K + k : k * N + n];
      y[at] = sum;
    }
  }
  return y;
}
