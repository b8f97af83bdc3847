// Low-rank adaptation (Hu et al. 2021, arXiv 2106.09685): y += s drop(x) A^T B^T beside a product with a frozen weight.
// With u = s drop(x) A^T (M, r): dB = dy^T u, du = dy B, dA = du^T s drop(x), dx += s drop(du A). Only x and u are kept for the gradient; the dropped
// x is drawn again (kernels/dropout).
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { dropout as drop } from "../../kernels/dropout/dropout.ts";
import { ShapeError, WorldlineError } from "../errors.ts";
import { hashName } from "../rng.ts";
import type { Tape } from "../tape.ts";
import { rowsOf, type Tensor } from "../tensor.ts";
import { multiply } from "./matmul.ts";

/** Which elements fall out: a function of seed, name, the tape's scalars "step" and "row", and the element's index. */
export interface Dropout {
  /** Share of elements that become 0, below 1. */
  readonly rate: number;
  readonly seed: number;
  /** Tells this place in the model from others. */
  readonly name: string;
}

export interface LowRank {
  /** (r, K). */
  readonly A: Tensor;
  /** (N, r). */
  readonly B: Tensor;
  /** s: alpha / r, or alpha / sqrt(r) with rank stabilisation (arXiv 2312.03732). */
  readonly scale: number;
  /** Applied to x on tapes that train. */
  readonly dropout?: Dropout;
}

/**
 * Adds s drop(x) A^T B^T to y in place: x (..., K), y (..., N). y must have just been made by the op whose result it adjusts, and not been read.
 * A micro-batch that comes after r rows of others in its update (scalar "row" = r) draws what rows r ... of one large batch would.
 */
export function addLowRank(y: Tensor, x: Tensor, { A, B, scale, dropout }: LowRank): void {
  const [M, K] = rowsOf(x);
  const [R, inner] = A.shape;
  const [N, columns] = rowsOf(y);
  if (A.shape.length !== 2 || inner !== K) throw new ShapeError("addLowRank", { x, A }, `A must be (rank, ${K}), one column for each of x`);
  if (B.shape.length !== 2 || B.shape[1] !== R || B.shape[0] !== columns || N !== M)
    throw new ShapeError("addLowRank", { x, y, A, B }, `B must be (${columns}, ${R}) and y have ${M} rows`);
  const { tape } = x;
  const dropped = tape.training && dropout !== undefined && dropout.rate > 0;
  const mask = dropped ? maskOf(tape, dropout, scale, K) : undefined;
  const masked = (from: Tensor, to: Tensor, acc: 0 | 1) => tape.launch(drop, { x: from, y: to }, { ...mask!, n: M * K, acc });
  /** x as A sees it; with dropout the scale is in it already. */
  const input = (): Tensor => {
    if (!mask) return x;
    const t = tape.empty([M, K], "f32", "dropped");
    masked(x, t, 0);
    return t;
  };
  const scaled = (t: Tensor): Tensor => {
    if (mask || scale === 1) return t;
    const out = tape.empty(t.shape, "f32", "scaled");
    tape.launch(accumulate, { x: t, y: out }, { n: t.size, scale, acc: 0 });
    return out;
  };
  const product = tape.empty([M, R], "f32", "low rank");
  multiply(tape, { a: input(), b: A, y: product }, { M, N: R, K, transB: 1 });
  const u = scaled(product);
  multiply(tape, { a: u, b: B, y }, { M, N: columns, K: R, transB: 1, acc: 1 });
  tape.onBackward(y, [x, A, B], () => {
    const dy = tape.grad(y);
    const dB = tape.into(B);
    if (dB) multiply(tape, { a: dy, b: u, y: dB.tensor }, { M: columns, N: R, K: M, transA: 1, acc: dB.acc });
    const [dA, dx] = [tape.into(A), tape.into(x)];
    if (!dA && !dx) return;
    const inward = tape.empty([M, R], "f32", "d low rank");
    multiply(tape, { a: dy, b: B, y: inward }, { M, N: R, K: columns });
    const du = scaled(inward);
    if (dA) multiply(tape, { a: du, b: input(), y: dA.tensor }, { M: R, N: K, K: M, transA: 1, acc: dA.acc });
    if (!dx) return;
    const to = mask ? tape.empty([M, K], "f32", "d dropped") : dx.tensor;
    multiply(tape, { a: du, b: A, y: to }, { M, N: K, K: R, acc: mask ? 0 : dx.acc });
    if (mask) masked(to, dx.tensor, dx.acc);
  });
}

/** Numbers of a dropout launch, for kept elements scaled by `factor` / (1 - rate). */
function maskOf(tape: Tape, { rate, seed, name }: Dropout, factor: number, columns: number) {
  if (!(rate >= 0 && rate < 1)) throw new WorldlineError(`dropout: the rate is ${rate} but must be at least 0 and below 1; give another`);
  return {
    scale: factor / (1 - rate),
    below: Math.round(rate * 2 ** 32),
    seed: seed >>> 0,
    stream: hashName(name),
    step: tape.scalar("step", 1),
    first: tape.scalar("row", 0).map((row) => row * columns),
  };
}
