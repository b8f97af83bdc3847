// Weighted cross-entropy: sum(w cost) divided by the sum of weights or by a given number (equation 2 of the paper is the second with recognition
// weights). Weights are data. cost = ce + smoothing (logit of the target - mean logit) + z lse^2: label smoothing (arXiv 1512.00567) and z-loss
// (arXiv 2204.02311). `linearCrossEntropy` takes hidden states and the head, so that the logits of all rows never exist at once.
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { crossEntropyDx, crossEntropy as forward, weightedMean } from "../../kernels/cross_entropy/cross_entropy.ts";
import { fillColumns } from "../../kernels/fill/fill.ts";
import { ShapeError } from "../errors.ts";
import type { Scalar, Tape } from "../tape.ts";
import { rowsOf, type Tensor } from "../tensor.ts";
import { type ChosenRows, checkRows } from "./embedding.ts";
import { multiply, weightGradient } from "./matmul.ts";

export interface LossOptions {
  readonly denominator: "weights" | number | Scalar;
  /** Share of the target spread over all ids. */
  readonly labelSmoothing?: number;
  /** Factor of log(sum exp)^2. */
  readonly zLoss?: number;
}

export interface CrossEntropy {
  /** (1). */
  readonly loss: Tensor;
  /** (4): weighted sum of the costs, sum of the weights, rows whose weight is not 0, and rows among them whose best id is the target. */
  readonly totals: Tensor;
  /** Cross-entropy of each row, unweighted and without smoothing or z-loss (R). */
  readonly ce: Tensor;
  /** 1 where the first largest logit is the target, u32 (R). */
  readonly correct: Tensor;
}

/** logits (R, V), targets u32 (R), weights (R). Rows of weight 0 have a loss of their own but no gradient. */
export function crossEntropy(logits: Tensor, targets: Tensor, weights: Tensor, options: LossOptions): CrossEntropy {
  const { tape } = logits;
  const [R, V] = rowsOf(logits);
  const rows = new Rows("crossEntropy", tape, { logits }, { R, V }, targets, weights, options);
  rows.forward(logits, 0, R);
  const result = rows.finish();
  tape.onBackward(result.loss, [logits], () => {
    const d = tape.into(logits);
    if (d) rows.backward(result.loss, logits, 0, R, d.tensor, d.acc);
  });
  return result;
}

export interface HeadOptions extends LossOptions {
  /** Most bytes of logits that exist at once; 64 MiB unless told. */
  readonly logitBytes?: number;
  /** Rows that stand in for the head's own. */
  readonly rows?: ChosenRows;
}

/**
 * Cross-entropy of h W^T: h (..., C), the head W (V, C) in any stored type, targets u32 (R), weights (R). As many rows as `logitBytes` hold are scored at
 * a time. Where one such part is all, its logits are kept for the gradient; else they are computed again: one more product for memory that does
 * not grow with R.
 */
export function linearCrossEntropy(h: Tensor, head: Tensor, targets: Tensor, weights: Tensor, options: HeadOptions): CrossEntropy {
  const { tape } = h;
  const [R, C] = rowsOf(h);
  const V = head.shape[0];
  if (head.shape.length !== 2 || head.shape[1] !== C)
    throw new ShapeError("linearCrossEntropy", { h, head }, `the head must be (ids, ${C}), one column for each of h`);
  const rows = new Rows("linearCrossEntropy", tape, { h, head }, { R, V }, targets, weights, options);
  const { rows: chosen } = options;
  if (chosen) checkRows("linearCrossEntropy", head, chosen);
  const flat = h.reshape(R, C);
  // Parts begin at multiples of 64 rows, where a view may be bound.
  const most = Math.max(64, Math.floor((options.logitBytes ?? 1 << 26) / (4 * V * 64)) * 64);
  const parts = Array.from({ length: Math.ceil(R / most) }, (_, i) => ({ first: i * most, count: Math.min(most, R - i * most) }));
  const logitsOf = ({ first, count }: { first: number; count: number }): Tensor => {
    const y = tape.empty([count, V], "f32", "logits");
    const part = flat.rows(first, count);
    multiply(tape, { a: part, b: head, y }, { M: count, N: V, K: C, transB: 1 });
    if (chosen) scoreRows(part, chosen, y);
    return y;
  };
  let kept: Tensor | undefined;
  for (const part of parts) {
    const logits = logitsOf(part);
    rows.forward(logits, part.first, part.count);
    if (parts.length === 1) kept = logits;
  }
  const result = rows.finish();
  tape.onBackward(result.loss, [h, chosen?.weight ?? head], () => {
    const [dh, dW] = [tape.into(h), tape.into(chosen?.weight ?? head)];
    parts.forEach((part, i) => {
      const { first, count } = part;
      const logits = kept ?? logitsOf(part);
      const d = tape.empty([count, V], "f32", "d logits");
      rows.backward(result.loss, logits, first, count, d, 0);
      const states = flat.rows(first, count);
      if (dW) weightGradient(d, states, dW.tensor, { acc: i ? 1 : dW.acc, first: chosen?.first });
      if (!dh) return;
      const y = dh.tensor.reshape(R, C).rows(first, count);
      if (chosen) throughRows(d, chosen, y, dh.acc);
      multiply(tape, { a: d, b: head, y }, { M: count, N: C, K: V, acc: chosen ? 1 : dh.acc });
    });
  });
  return result;
}

/** Writes the scores h R^T of chosen rows over their columns of the logits. */
export function scoreRows(h: Tensor, { first, weight }: ChosenRows, logits: Tensor): void {
  const [M, K] = rowsOf(h);
  const V = logits.shape[logits.shape.length - 1];
  multiply(h.tape, { a: h, b: weight, y: logits }, { M, N: weight.shape[0], K, transB: 1, strideY: V, startY: first });
}

/** The part of dh that comes through chosen rows; takes their columns out of d, so that the head's own rows there give nothing. */
function throughRows(d: Tensor, { first, weight }: ChosenRows, dh: Tensor, acc: 0 | 1): void {
  const [M, V] = rowsOf(d);
  const [count, C] = weight.shape;
  multiply(d.tape, { a: d, b: weight, y: dh }, { M, N: C, K: count, strideA: V, startA: first, acc });
  d.tape.launch(fillColumns, { y: d }, { rows: M, columns: count, stride: V, first, value: 0 });
}

/** The numbers of all rows of a batch, whose logits come part by part. */
class Rows {
  private readonly tape: Tape;
  private readonly sizes: { readonly R: number; readonly V: number };
  private readonly targets: Tensor;
  private readonly weights: Tensor;
  private readonly options: LossOptions;
  private readonly ce: Tensor;
  private readonly lse: Tensor;
  private readonly cost: Tensor;
  private readonly correct: Tensor;
  private readonly inverse: Tensor;

  constructor(
    op: string,
    tape: Tape,
    given: Record<string, Tensor>,
    sizes: { R: number; V: number },
    targets: Tensor,
    weights: Tensor,
    options: LossOptions,
  ) {
    const { R } = sizes;
    const [first] = Object.keys(given);
    if (targets.size !== R || weights.size !== R)
      throw new ShapeError(op, { ...given, targets, weights }, `targets and weights need ${R} values, one per row of ${first}`);
    this.tape = tape;
    this.sizes = sizes;
    this.targets = targets;
    this.weights = weights;
    this.options = options;
    this.ce = tape.empty([R], "f32", "losses");
    this.lse = tape.empty([R], "f32", "log sum exp");
    this.cost = tape.empty([R], "f32", "costs");
    this.correct = tape.empty([R], "u32", "correct");
    this.inverse = tape.empty([1], "f32", "1 / denominator");
  }

  private get numbers() {
    return { V: this.sizes.V, smoothing: this.options.labelSmoothing ?? 0, z: this.options.zLoss ?? 0 };
  }

  /** Scores rows first ... first + count - 1. */
  forward(logits: Tensor, first: number, count: number): void {
    const { tape, targets, ce, lse, correct, cost } = this;
    tape.launch(forward, { logits, targets, ce, lse, correct, cost }, { R: count, row: first, ...this.numbers });
  }

  /** The loss, once all rows are scored. */
  finish(): CrossEntropy {
    const { tape, weights, cost, ce, correct, inverse } = this;
    const { denominator } = this.options;
    const loss = tape.empty([1], "f32", "loss");
    const totals = tape.empty([4], "f32", "totals");
    const byWeights = denominator === "weights";
    const numbers = { R: this.sizes.R, byWeights: byWeights ? 1 : 0, denominator: byWeights ? 1 : denominator };
    tape.launch(weightedMean, { cost, weights, correct, loss, inverse, totals }, numbers);
    return { loss, totals, ce, correct };
  }

  /** The gradient of those rows' logits. */
  backward(loss: Tensor, logits: Tensor, first: number, count: number, dlogits: Tensor, acc: 0 | 1): void {
    const { tape, targets, weights, lse, inverse } = this;
    const reads = { logits, targets, weights, lse, inverse, dloss: tape.grad(loss) };
    tape.launch(crossEntropyDx, { ...reads, dlogits }, { R: count, row: first, acc, ...this.numbers });
  }
}

/** The sum of single values, each times its weight: (1). */
export function weightedSum(terms: readonly (readonly [value: Tensor, weight: number])[]): Tensor {
  const { tape } = terms[0][0];
  const y = tape.empty([1], "f32", "weighted sum");
  terms.forEach(([x, scale], i) => {
    if (x.size !== 1) throw new ShapeError("weightedSum", { x }, "every term must be a single value");
    tape.launch(accumulate, { x, y }, { n: 1, scale, acc: i === 0 ? 0 : 1 });
  });
  tape.onBackward(
    y,
    terms.map(([x]) => x),
    () => {
      for (const [x, scale] of terms) {
        const dx = tape.into(x);
        if (dx) tape.launch(accumulate, { x: tape.grad(y), y: dx.tensor }, { n: 1, scale, acc: dx.acc });
      }
    },
  );
  return y;
}
