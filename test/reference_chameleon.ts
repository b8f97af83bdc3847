// An independent Chameleon in plain f64 loops on the CPU, to judge the GPU by. Written from the published description of the architecture:
// x += Attn(RMS(x)), x += MLP(RMS(x)) or, with swin norm, x += RMS(Attn(x)), x += RMS(MLP(x)); logits = RMS(x) lm_head^T.
// Sequences are never padded and nothing is cached: every call computes every position anew.

/** Sizes and constants; a ChameleonConfig has them all. */
export interface ReferenceConfig {
  readonly vocabSize: number;
  readonly hidden: number;
  readonly intermediate: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly maxPositions: number;
  readonly rmsNormEps: number;
  readonly ropeTheta: number;
  readonly ropeScaling: { readonly type: "linear" | "dynamic"; readonly factor: number } | null;
  readonly swinNorm: boolean;
}

/** Weights by checkpoint name, row-major, [out, in] for matrices. */
export type ReferenceWeights = ReadonlyMap<string, ArrayLike<number>>;

const qkNormEps = 1e-5;

/** Logits (T, V) of one sequence at positions 0 ... T - 1. */
export function referenceLogits(config: ReferenceConfig, weights: ReferenceWeights, ids: ArrayLike<number>): Float64Array {
  const { hidden: H, swinNorm, rmsNormEps: eps } = config;
  const T = ids.length;
  const embed = get(weights, "model.embed_tokens.weight");
  let x = new Float64Array(T * H);
  for (let t = 0; t < T; t++) for (let h = 0; h < H; h++) x[t * H + h] = embed[ids[t] * H + h];
  for (let i = 0; i < config.layers; i++) {
    const p = `model.layers.${i}`;
    const before = get(weights, `${p}.input_layernorm.weight`);
    const after = get(weights, `${p}.post_attention_layernorm.weight`);
    if (swinNorm) {
      x = sum(x, rms(attention(config, weights, `${p}.self_attn`, x), before, eps));
      x = sum(x, rms(mlp(config, weights, `${p}.mlp`, x), after, eps));
    } else {
      x = sum(x, attention(config, weights, `${p}.self_attn`, rms(x, before, eps)));
      x = sum(x, mlp(config, weights, `${p}.mlp`, rms(x, after, eps)));
    }
  }
  return times(rms(x, get(weights, "model.norm.weight"), eps), get(weights, "lm_head.weight"), H, config.vocabSize);
}

/** -log softmax(logits[t])[ids[t + 1]] for t = 0 ... T - 2. */
export function referenceTokenLosses(config: ReferenceConfig, weights: ReferenceWeights, ids: ArrayLike<number>): Float64Array {
  const V = config.vocabSize;
  const logits = referenceLogits(config, weights, ids);
  return Float64Array.from({ length: ids.length - 1 }, (_, t) => -logSoftmax(logits.subarray(t * V, (t + 1) * V))[ids[t + 1]]);
}

/**
 * The weighted loss of a batch: sum(w[t] ce of predicting ids[t]) over `denominator`, by default the sum of those weights. The first token
 * of a row is nobody's target.
 */
export function referenceLoss(
  config: ReferenceConfig,
  weights: ReferenceWeights,
  batch: readonly { readonly ids: ArrayLike<number>; readonly weights: ArrayLike<number> }[],
  denominator?: number,
): number {
  let total = 0;
  let mass = 0;
  for (const row of batch) {
    const ce = referenceTokenLosses(config, weights, row.ids);
    for (let t = 0; t < ce.length; t++) {
      total += row.weights[t + 1] * ce[t];
      mass += row.weights[t + 1];
    }
  }
  return total / (denominator ?? mass);
}

/** log softmax of one row; ids that `allowed` flags 0 take no part and get -infinity. */
export function logSoftmax(row: ArrayLike<number>, allowed?: ArrayLike<number>): Float64Array {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < row.length; i++) if (!allowed || allowed[i]) top = Math.max(top, row[i]);
  let total = 0;
  for (let i = 0; i < row.length; i++) if (!allowed || allowed[i]) total += Math.exp(row[i] - top);
  return Float64Array.from({ length: row.length }, (_, i) =>
    !allowed || allowed[i] ? row[i] - top - Math.log(total) : Number.NEGATIVE_INFINITY,
  );
}

function attention(config: ReferenceConfig, weights: ReferenceWeights, p: string, x: Float64Array): Float64Array {
  const { hidden: H, heads: N, kvHeads: K } = config;
  const D = H / N;
  const T = x.length / H;
  const project = (name: string, heads: number) => times(x, get(weights, `${p}.${name}.weight`), H, heads * D);
  const normed = (y: Float64Array, name: string, heads: number) =>
    headNorm(y, get(weights, `${p}.${name}.weight`), get(weights, `${p}.${name}.bias`), heads, D);
  const q = rotate(config, normed(project("q_proj", N), "q_norm", N), N, D, T);
  const k = rotate(config, normed(project("k_proj", K), "k_norm", K), K, D, T);
  const v = project("v_proj", K);
  const out = new Float64Array(T * N * D);
  for (let n = 0; n < N; n++) {
    const g = Math.floor(n / (N / K));
    for (let t = 0; t < T; t++) {
      const scores = Float64Array.from({ length: t + 1 }, (_, s) => {
        let dot = 0;
        for (let d = 0; d < D; d++) dot += q[(t * N + n) * D + d] * k[(s * K + g) * D + d];
        return dot / Math.sqrt(D);
      });
      logSoftmax(scores).forEach((log, s) => {
        for (let d = 0; d < D; d++) out[(t * N + n) * D + d] += Math.exp(log) * v[(s * K + g) * D + d];
      });
    }
  }
  return times(out, get(weights, `${p}.o_proj.weight`), N * D, H);
}

function mlp(config: ReferenceConfig, weights: ReferenceWeights, p: string, x: Float64Array): Float64Array {
  const { hidden: H, intermediate: I } = config;
  const gate = times(x, get(weights, `${p}.gate_proj.weight`), H, I);
  const up = times(x, get(weights, `${p}.up_proj.weight`), H, I);
  return times(
    gate.map((a, i) => (a / (1 + Math.exp(-a))) * up[i]),
    get(weights, `${p}.down_proj.weight`),
    I,
    H,
  );
}

/** LayerNorm over the D values of each head, with a row of weights per head (or one row for all). */
function headNorm(x: Float64Array, w: ArrayLike<number>, b: ArrayLike<number>, heads: number, D: number): Float64Array {
  const y = new Float64Array(x.length);
  for (let r = 0; r < x.length / D; r++) {
    const row = x.subarray(r * D, (r + 1) * D);
    const mean = row.reduce((a, v) => a + v, 0) / D;
    const variance = row.reduce((a, v) => a + (v - mean) ** 2, 0) / D;
    const from = w.length === D ? 0 : (r % heads) * D;
    for (let d = 0; d < D; d++) y[r * D + d] = ((row[d] - mean) / Math.sqrt(variance + qkNormEps)) * w[from + d] + b[from + d];
  }
  return y;
}

/** Turns the pair (j, j + D/2) of every head by position * theta^(-2j/D). */
function rotate(config: ReferenceConfig, x: Float64Array, heads: number, D: number, T: number): Float64Array {
  const { ropeScaling: scaling, maxPositions: most } = config;
  const grown = scaling?.type === "dynamic" && T > most ? ((scaling.factor * T) / most - (scaling.factor - 1)) ** (D / (D - 2)) : 1;
  const theta = config.ropeTheta * grown;
  const shrink = scaling?.type === "linear" ? scaling.factor : 1;
  const y = new Float64Array(x.length);
  for (let t = 0; t < T; t++) {
    for (let j = 0; j < D / 2; j++) {
      const angle = (t / shrink) * theta ** ((-2 * j) / D);
      for (let h = 0; h < heads; h++) {
        const a = (t * heads + h) * D + j;
        const b = a + D / 2;
        y[a] = x[a] * Math.cos(angle) - x[b] * Math.sin(angle);
        y[b] = x[b] * Math.cos(angle) + x[a] * Math.sin(angle);
      }
    }
  }
  return y;
}

function rms(x: Float64Array, w: ArrayLike<number>, eps: number): Float64Array {
  const C = w.length;
  const y = new Float64Array(x.length);
  for (let r = 0; r < x.length; r += C) {
    let squares = 0;
    for (let c = 0; c < C; c++) squares += x[r + c] ** 2;
    for (let c = 0; c < C; c++) y[r + c] = (w[c] * x[r + c]) / Math.sqrt(squares / C + eps);
  }
  return y;
}

/** x W^T: x (M, K), w (N, K). */
function times(x: Float64Array, w: ArrayLike<number>, K: number, N: number): Float64Array {
  const y = new Float64Array((x.length / K) * N);
  for (let m = 0; m < x.length / K; m++) {
    for (let n = 0; n < N; n++) {
      let total = 0;
      for (let k = 0; k < K; k++) total += x[m * K + k] * w[n * K + k];
      y[m * N + n] = total;
    }
  }
  return y;
}

function sum(a: Float64Array, b: Float64Array): Float64Array<ArrayBuffer> {
  return Float64Array.from(a, (v, i) => v + b[i]);
}

function get(weights: ReferenceWeights, name: string): ArrayLike<number> {
  const w = weights.get(name);
  if (!w) throw new Error(`the reference model was given no ${name}`);
  return w;
}
