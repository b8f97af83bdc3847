// The training step that engines are compared at: a decoder with RMS norms, causal attention and a SwiGLU layer, learned positions, cross
// entropy over all tokens, plain Adam. Here are its weights from a seed, one batch, and its loss in f64.
import { Rng } from "../../engine/rng.ts";

export interface TrainingShape {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly hidden: number;
  readonly vocabulary: number;
  readonly T: number;
  readonly batch: number;
}

export const adam = { lr: 1e-3, b1: 0.9, b2: 0.999, eps: 1e-8 } as const;
export const normEps = 1e-5;

/** Shapes of the weights by name; matrices are (out, in). */
export function weightShapes(s: TrainingShape): Record<string, readonly number[]> {
  const shapes: Record<string, readonly number[]> = { tokens: [s.vocabulary, s.width], positions: [s.T, s.width] };
  for (let l = 0; l < s.layers; l++) {
    shapes[`norm1_${l}`] = [s.width];
    for (const name of ["q", "k", "v", "o"]) shapes[`${name}_${l}`] = [s.width, s.width];
    shapes[`norm2_${l}`] = [s.width];
    shapes[`gate_${l}`] = [s.hidden, s.width];
    shapes[`up_${l}`] = [s.hidden, s.width];
    shapes[`down_${l}`] = [s.width, s.hidden];
  }
  return { ...shapes, norm: [s.width], head: [s.vocabulary, s.width] };
}

export function initialWeights(s: TrainingShape, rng: Rng): Record<string, Float32Array> {
  return Object.fromEntries(
    Object.entries(weightShapes(s)).map(([name, shape]) => {
      const size = shape.reduce((a, b) => a * b, 1);
      return [
        name,
        shape.length === 1
          ? new Float32Array(size).fill(1)
          : rng.normals(size, shape[1] === s.width && shape[0] >= s.T ? 0.05 : 1 / Math.sqrt(shape[1])),
      ];
    }),
  );
}

/** Ids and the ids that follow, (batch, T) each. */
export function trainingBatch(s: TrainingShape): { ids: Uint32Array; targets: Uint32Array } {
  const rng = new Rng(3, "batch");
  const line = Uint32Array.from({ length: s.batch * (s.T + 1) }, () => rng.int(s.vocabulary));
  const cut = (from: number) =>
    Uint32Array.from({ length: s.batch * s.T }, (_, i) => line[Math.floor(i / s.T) * (s.T + 1) + (i % s.T) + from]);
  return { ids: cut(0), targets: cut(1) };
}

/** Mean cross entropy of the batch by plain f64 loops. */
export function lossLoops(
  s: TrainingShape,
  w: Readonly<Record<string, Float32Array>>,
  { ids, targets }: { ids: Uint32Array; targets: Uint32Array },
): number {
  const C = s.width;
  let loss = 0;
  for (let b = 0; b < s.batch; b++) {
    let x = new Float64Array(s.T * C);
    for (let t = 0; t < s.T; t++) for (let c = 0; c < C; c++) x[t * C + c] = w.tokens[ids[b * s.T + t] * C + c] + w.positions[t * C + c];
    for (let l = 0; l < s.layers; l++) {
      const a = rms(x, w[`norm1_${l}`]);
      const [q, k, v] = ["q", "k", "v"].map((name) => times(a, w[`${name}_${l}`], C));
      x = plus(x, times(attend(q, k, v, s), w[`o_${l}`], C));
      const h = rms(x, w[`norm2_${l}`]);
      const [gate, up] = ["gate", "up"].map((name) => times(h, w[`${name}_${l}`], C));
      x = plus(
        x,
        times(
          gate.map((g, i) => (g / (1 + Math.exp(-g))) * up[i]),
          w[`down_${l}`],
          s.hidden,
        ),
      );
    }
    const logits = times(rms(x, w.norm), w.head, C);
    for (let t = 0; t < s.T; t++) {
      const row = logits.subarray(t * s.vocabulary, (t + 1) * s.vocabulary);
      const top = row.reduce((m, v) => Math.max(m, v), Number.NEGATIVE_INFINITY);
      loss += top + Math.log(row.reduce((m, v) => m + Math.exp(v - top), 0)) - row[targets[b * s.T + t]];
    }
  }
  return loss / (s.batch * s.T);
}

const plus = (a: Float64Array, b: Float64Array) => a.map((v, i) => v + b[i]);

function rms(x: Float64Array, w: Float32Array): Float64Array {
  const C = w.length;
  const y = new Float64Array(x.length);
  for (let r = 0; r < x.length; r += C) {
    let sum = 0;
    for (let c = 0; c < C; c++) sum += x[r + c] ** 2;
    const scale = 1 / Math.sqrt(sum / C + normEps);
    for (let c = 0; c < C; c++) y[r + c] = x[r + c] * scale * w[c];
  }
  return y;
}

/** x (rows, inner) times w (out, inner) transposed. */
function times(x: Float64Array, w: Float32Array, inner: number): Float64Array {
  const [rows, out] = [x.length / inner, w.length / inner];
  const y = new Float64Array(rows * out);
  for (let r = 0; r < rows; r++) {
    for (let o = 0; o < out; o++) {
      let sum = 0;
      for (let i = 0; i < inner; i++) sum += x[r * inner + i] * w[o * inner + i];
      y[r * out + o] = sum;
    }
  }
  return y;
}

function attend(q: Float64Array, k: Float64Array, v: Float64Array, s: TrainingShape): Float64Array {
  const D = s.width / s.heads;
  const y = new Float64Array(q.length);
  for (let h = 0; h < s.heads; h++) {
    for (let t = 0; t < s.T; t++) {
      const weights = Array.from({ length: t + 1 }, (_, u) => {
        let sum = 0;
        for (let d = 0; d < D; d++) sum += q[t * s.width + h * D + d] * k[u * s.width + h * D + d];
        return sum / Math.sqrt(D);
      });
      const top = Math.max(...weights);
      const total = weights.reduce((a, p) => a + Math.exp(p - top), 0);
      weights.forEach((p, u) => {
        for (let d = 0; d < D; d++) y[t * s.width + h * D + d] += (Math.exp(p - top) / total) * v[u * s.width + h * D + d];
      });
    }
  }
  return y;
}
