// Products of matrices: `linear` with the weight stored (out, in) as checkpoints have it, and `matmul` of two matrices, either transposed.
// y = x W^T + b gives dx = dy W, dW = dy^T x, db = column sums of dy.
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { columnSum } from "../../kernels/column_sum/column_sum.ts";
import { matmul as product } from "../../kernels/matmul/matmul.ts";
import { ShapeError } from "../errors.ts";
import type { Scalar, Tape } from "../tape.ts";
import { rowsOf, type Tensor } from "../tensor.ts";
import { banded, bands } from "./bands.ts";

export interface LinearOptions {
  /** (N): added to every row. */
  readonly bias?: Tensor;
  /** (..., N), the shape of the result: added to it. */
  readonly residual?: Tensor;
  /** Storage of the result; f32 unless told. Gradients are f32. */
  readonly dtype?: "f32" | "f16";
  /** Name of the result in messages and profiles. */
  readonly name?: string;
}

/**
 * x W^T (+ bias) (+ residual): x (..., K), w (N, K) -> (..., N). x, bias and residual may be f16; w may be stored in any type and be larger than
 * one binding. The gradient of x goes through any stored type, that of w needs f32.
 */
export function linear(x: Tensor, w: Tensor, options: LinearOptions = {}): Tensor {
  const { bias, residual, dtype = "f32", name = "linear" } = options;
  const [M, K] = rowsOf(x);
  const N = w.shape[0];
  if (w.shape.length !== 2 || w.shape[1] !== K) throw new ShapeError("linear", { x, w }, `w must be (out, ${K}), one column for each of x`);
  if (bias && bias.size !== N) throw new ShapeError("linear", { w, bias }, `bias needs ${N} values, one for each row of w`);
  if (residual && (residual.size !== M * N || rowsOf(residual)[1] !== N)) {
    throw new ShapeError(
      "linear",
      { x, w, residual },
      `residual must be of the result's shape (${[...x.shape.slice(0, -1), N].join(", ")})`,
    );
  }
  const { tape } = x;
  const y = tape.empty([...x.shape.slice(0, -1), N], dtype, name);
  if (!tape.training && banded(tape, x, y)) {
    const part = (t: Tensor, columns: number, first: number, count: number) => t.reshape(M, columns).rows(first, count);
    for (const { first, count } of bands(tape, name, M, [x.bytes / M, y.bytes / M])) {
      const rest = residual && part(residual, N, first, count);
      multiply(
        tape,
        { a: part(x, K, first, count), b: w, y: part(y, N, first, count), bias, residual: rest },
        { M: count, N, K, transB: 1 },
      );
    }
    return y;
  }
  multiply(tape, { a: x, b: w, y, bias, residual }, { M, N, K, transB: 1 });
  tape.onBackward(y, [x, w, bias, residual], () => {
    const dy = tape.grad(y);
    const dx = tape.into(x);
    if (dx) multiply(tape, { a: dy, b: w, y: dx.tensor }, { M, N: K, K: N, acc: dx.acc });
    const dw = tape.into(w);
    if (dw) weightGradient(dy, x, dw.tensor, { acc: dw.acc });
    const db = bias && tape.into(bias);
    if (db) tape.launch(columnSum, { x: dy, y: db.tensor }, { rows: M, C: N, acc: db.acc });
    const dr = residual && tape.into(residual);
    if (dr) tape.launch(accumulate, { x: dy, y: dr.tensor }, { n: M * N, scale: 1, acc: dr.acc });
  });
  return y;
}

/**
 * x W^T of one token a row, x (R, 1, K), w (N, K), straight into a cache (R, cap, ..., of N values a token) at token `base`, which must be below cap; gives
 * the cache. Has no gradient.
 */
export function linearInto(x: Tensor, w: Tensor, { cache, base }: { readonly cache: Tensor; readonly base: Scalar | number }): Tensor {
  const [R, cap] = cache.shape;
  const [M, K] = rowsOf(x);
  const N = w.shape[0];
  if (w.shape.length !== 2 || w.shape[1] !== K)
    throw new ShapeError("linearInto", { x, w }, `w must be (out, ${K}), one column for each of x`);
  if (M !== R || cache.size !== R * cap * N) throw new ShapeError("linearInto", { x, w, cache }, `the cache must be (${M}, room, ${N})`);
  // Every start is a multiple of N: a kernel that fits the first one fits all.
  const startY = typeof base === "number" ? base * N : base.map((token) => token * N);
  multiply(x.tape, { a: x, b: w, y: cache }, { M, N, K, transB: 1, strideY: cap * N, startY });
  return cache;
}

export interface MatmulOptions {
  /** a is stored (K, M). */
  readonly transposeA?: boolean;
  /** b is stored (N, K). */
  readonly transposeB?: boolean;
  readonly name?: string;
}

/** op(a) op(b) -> (M, N): a (M, K) or, transposed, (K, M); b (K, N) or, transposed, (N, K). a must be an activation. */
export function matmul(a: Tensor, b: Tensor, options: MatmulOptions = {}): Tensor {
  const { transposeA = false, transposeB = false, name = "matmul" } = options;
  if (a.shape.length !== 2 || b.shape.length !== 2)
    throw new ShapeError("matmul", { a, b }, "both must have two dimensions; reshape them first");
  const [M, K] = transposeA ? [a.shape[1], a.shape[0]] : a.shape;
  const [N, inner] = transposeB ? b.shape : [b.shape[1], b.shape[0]];
  if (inner !== K) throw new ShapeError("matmul", { a, b }, `the inner sizes ${K} and ${inner} differ; is one of them to be transposed?`);
  const { tape } = a;
  const y = tape.empty([M, N], "f32", name);
  const [ta, tb] = [transposeA ? 1 : 0, transposeB ? 1 : 0];
  multiply(tape, { a, b, y }, { M, N, K, transA: ta, transB: tb });
  tape.onBackward(y, [a, b], () => {
    const dy = tape.grad(y);
    const da = tape.into(a);
    if (da && !ta) multiply(tape, { a: dy, b, y: da.tensor }, { M, N: K, K: N, transB: 1 - tb, acc: da.acc });
    if (da && ta) multiply(tape, { a: b, b: dy, y: da.tensor }, { M: K, N: M, K: N, transA: tb, transB: 1, acc: da.acc });
    const db = tape.into(b);
    if (db && !tb) multiply(tape, { a, b: dy, y: db.tensor }, { M: K, N, K: M, transA: 1 - ta, acc: db.acc });
    if (db && tb) multiply(tape, { a: dy, b: a, y: db.tensor }, { M: N, N: K, K: M, transA: 1, transB: ta, acc: db.acc });
  });
  return y;
}

interface Operands {
  readonly a: Tensor;
  readonly b: Tensor;
  readonly y: Tensor;
  readonly bias?: Tensor;
  readonly residual?: Tensor;
}

interface Sizes {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly transA?: number;
  readonly transB?: number;
  readonly acc?: 0 | 1;
  /** a as a block of columns of a wider matrix: its row length and the block's first column. */
  readonly strideA?: number;
  readonly startA?: number;
  /** y as a block of columns of a wider matrix. */
  readonly strideY?: number;
  readonly startY?: number | Scalar;
}

/** dw (N, K) (+)= dy^T x: dy (M, ...), of which N columns from `first` on count, x (M, K). A dw larger than one binding is written in row ranges. */
export function weightGradient(dy: Tensor, x: Tensor, dw: Tensor, { acc, first = 0 }: { acc: 0 | 1; first?: number }): void {
  const { tape } = dy;
  const [M, strideA] = rowsOf(dy);
  const [, K] = rowsOf(x);
  for (const { first: row, tensor } of tape.device.rowRanges(dw)) {
    const block = { strideA, startA: first + row };
    multiply(tape, { a: dy, b: x, y: tensor }, { M: tensor.shape[0], N: K, K: M, transA: 1, acc, ...block });
  }
}

/**
 * One product. A b that is larger than one binding is read in row ranges: where it is transposed each makes a block of columns of y, else
 * each adds the part of the sum over its rows.
 */
export function multiply(tape: Tape, { a, b, y, bias, residual }: Operands, sizes: Sizes): void {
  const { M, N, K, transA = 0, transB = 0, acc = 0, strideA = transA ? M : K, startA = 0, strideY = N, startY = 0 } = sizes;
  const { unread } = tape.device;
  for (const { first, tensor } of tape.device.rowRanges(b)) {
    const [rows] = rowsOf(tensor);
    const { scales = unread, group = 0 } = tensor.quantized ?? {};
    const begins = transB === 1 || first === 0;
    const part = transB
      ? { N: rows, K, startA, startY: typeof startY === "number" ? startY + first : startY.map((start) => start + first) }
      : { N, K: rows, startA: startA + first * (transA ? strideA : 1), startY };
    tape.launch(
      product,
      { a, b: tensor, scales, y, bias: bias ?? unread, residual: residual ?? unread },
      {
        ...part,
        M,
        transA,
        transB,
        acc: begins ? acc : 1,
        hasBias: bias && begins ? 1 : 0,
        hasResidual: residual && begins ? 1 : 0,
        strideA,
        strideY,
        group,
      },
    );
  }
}
