import { check, type Numbers, type Values } from "../kernel.ts";
import { matmul } from "./matmul.ts";

/** Fills in what a case leaves out: plain a b, nothing added. */
const size = (c: Numbers): Numbers => ({ transA: 0, transB: 0, acc: 0, hasBias: 0, hasResidual: 0, ...c });
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

export default check({
  kernel: matmul,
  cases: shapes.flatMap((s, i) => transposes.map((t, j) => ({ ...s, ...t, ...added[(i + j) % added.length] }))),
  bench: timed.map(size),
  inputs: ({ M, N, K, acc }, rng) => ({
    a: rng.normals(M * K),
    b: rng.normals(K * N),
    bias: rng.normals(N),
    residual: rng.normals(M * N),
    ...(acc ? { y: rng.normals(M * N) } : {}),
  }),
  outputs: ({ M, N }) => ({ y: M * N }),
  reference: (c, v) => ({ y: product(c, v) }),
  tolerance: { f32: 2e-6, f16: 2e-3 },
  dtypes: [{ b: "f16" }, { a: "f16", b: "f16", bias: "f16", residual: "f16", y: "f16" }],
  flops: ({ M, N, K }) => 2 * M * N * K,
  bytes: ({ M, N, K }) => 4 * (M * K + K * N + M * N),
});

function product({ M, N, K, transA, transB, acc, hasBias, hasResidual }: Numbers, v: Values): Float64Array {
  const [a, b, bias, residual, old] = ["a", "b", "bias", "residual", "y"].map((name) => v[name] as Float32Array);
  const y = new Float64Array(M * N);
  for (let m = 0; m < M; m++) {
    for (let n = 0; n < N; n++) {
      let sum = (acc ? old[m * N + n] : 0) + (hasBias ? bias[n] : 0) + (hasResidual ? residual[m * N + n] : 0);
      for (let k = 0; k < K; k++) sum += a[transA ? k * M + m : m * K + k] * b[transB ? n * K + k : k * N + n];
      y[m * N + n] = sum;
    }
  }
  return y;
}
