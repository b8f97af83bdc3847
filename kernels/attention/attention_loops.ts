// What attention means, in f64 loops: the reference of the checks and of the gradient tests.
import type { Numbers } from "../kernel.ts";

type Data = Float32Array | Float64Array;

export interface AttentionData {
  readonly q: Data;
  readonly k: Data;
  readonly v: Data;
  /** First key seen, by batch row; all where absent. */
  readonly start?: Uint32Array;
}

/** Calls `use` for every query with its place in q, its place in lse, and the places in k and v of the keys it sees. */
function eachQuery(
  { B, T, S, N, K, D, causal }: Numbers,
  start: Uint32Array | undefined,
  use: (query: number, row: number, keys: number[]) => void,
): void {
  for (let b = 0; b < B; b++) {
    for (let t = 0; t < T; t++) {
      const end = causal ? Math.min(S, t + S - T + 1) : S;
      for (let n = 0; n < N; n++) {
        const keys: number[] = [];
        for (let s = start?.[b] ?? 0; s < end; s++) keys.push(((b * S + s) * K + Math.floor(n / (N / K))) * D);
        use(((b * T + t) * N + n) * D, (b * N + n) * T + t, keys);
      }
    }
  }
}

/** Dot product of D numbers. */
function dot(x: Data, i: number, y: Data, j: number, D: number): number {
  let sum = 0;
  for (let d = 0; d < D; d++) sum += x[i + d] * y[j + d];
  return sum;
}

/** o (B, T, N, D) and lse (B, N, T). */
export function attentionLoops(c: Numbers, { q, k, v, start }: AttentionData): { o: Float64Array; lse: Float64Array } {
  const { B, T, N, D, scale } = c;
  const o = new Float64Array(B * T * N * D);
  const lse = new Float64Array(B * N * T);
  eachQuery(c, start, (query, row, keys) => {
    if (keys.length === 0) return;
    const scores = keys.map((key) => scale * dot(q, query, k, key, D));
    const top = scores.reduce((a, b) => Math.max(a, b));
    lse[row] = top + Math.log(scores.reduce((sum, s) => sum + Math.exp(s - top), 0));
    keys.forEach((key, i) => {
      const p = Math.exp(scores[i] - lse[row]);
      for (let d = 0; d < D; d++) o[query + d] += p * v[key + d];
    });
  });
  return { o, lse };
}

/** sum over d of o dout, as (B, N, T). */
export function deltaLoops({ B, T, N, D }: Numbers, o: Data, dout: Data): Float64Array {
  const delta = new Float64Array(B * N * T);
  eachQuery({ B, T, S: 0, N, K: 1, D, causal: 0 }, undefined, (query, row) => {
    delta[row] = dot(o, query, dout, query, D);
  });
  return delta;
}

/** dq, dk and dv for the gradient dout of o. */
export function attentionGradientLoops(
  c: Numbers,
  { q, k, v, start }: AttentionData,
  dout: Data,
  lse: Data,
  delta: Data,
): { dq: Float64Array; dk: Float64Array; dv: Float64Array } {
  const { D, scale } = c;
  const [dq, dk, dv] = [new Float64Array(q.length), new Float64Array(k.length), new Float64Array(v.length)];
  eachQuery(c, start, (query, row, keys) => {
    for (const key of keys) {
      const p = Math.exp(scale * dot(q, query, k, key, D) - lse[row]);
      const ds = scale * p * (dot(dout, query, v, key, D) - delta[row]);
      for (let d = 0; d < D; d++) {
        dq[query + d] += ds * k[key + d];
        dk[key + d] += ds * q[query + d];
        dv[key + d] += p * dout[query + d];
      }
    }
  });
  return { dq, dk, dv };
}
