// Weighted cross-entropy over rows of logits: sum(w ce) divided by the sum of weights or by a given number (equation 2 of the paper is the second
// with recognition weights). Weights are data.
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { crossEntropyDx, crossEntropy as forward, weightedMean } from "../../kernels/cross_entropy/cross_entropy.ts";
import { ShapeError } from "../errors.ts";
import type { Scalar } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

export interface CrossEntropy {
  /** (1). */
  readonly loss: Tensor;
  /** Loss of each row, unweighted (R). */
  readonly ce: Tensor;
  /** 1 where the first largest logit is the target, u32 (R). */
  readonly correct: Tensor;
}

/** logits (R, V), targets u32 (R), weights (R). Rows of weight 0 have a loss of their own but no gradient. */
export function crossEntropy(
  logits: Tensor,
  targets: Tensor,
  weights: Tensor,
  { denominator }: { denominator: "weights" | number | Scalar },
): CrossEntropy {
  const { tape } = logits;
  const V = logits.shape[logits.shape.length - 1];
  const R = logits.size / V;
  if (targets.size !== R || weights.size !== R)
    throw new ShapeError("crossEntropy", { logits, targets, weights }, `targets and weights need ${R} values, one per row of logits`);
  const ce = tape.empty([R], "f32", "losses");
  const lse = tape.empty([R], "f32", "log sum exp");
  const correct = tape.empty([R], "u32", "correct");
  const loss = tape.empty([1], "f32", "loss");
  const inverse = tape.empty([1], "f32", "1 / denominator");
  tape.launch(forward, { logits, targets, ce, lse, correct }, { R, V });
  const byWeights = denominator === "weights";
  tape.launch(weightedMean, { ce, weights, loss, inverse }, { R, byWeights: byWeights ? 1 : 0, denominator: byWeights ? 1 : denominator });
  tape.onBackward(loss, [logits], () => {
    const d = tape.into(logits);
    if (!d) return;
    const reads = { logits, targets, weights, lse, inverse, dloss: tape.grad(loss) };
    tape.launch(crossEntropyDx, { ...reads, dlogits: d.tensor }, { R, V, acc: d.acc });
  });
  return { loss, ce, correct };
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
