// Statistics of the evaluations: means with standard errors, the Wilcoxon signed-rank test, rank correlation. Shares with Wilson intervals are
// `rate` in world/report.ts.
import { WorldlineError } from "../engine/errors.ts";

/** A mean over n values with its standard error (0 for a single value). */
export interface Mean {
  readonly mean: number;
  readonly se: number;
  readonly n: number;
}

/** Mean and standard error (sample deviation over the root of n); NaN of no values. */
export function meanOf(values: readonly number[]): Mean {
  const n = values.length;
  const mean = values.reduce((a, v) => a + v, 0) / n;
  const squares = values.reduce((a, v) => a + (v - mean) ** 2, 0);
  return { mean, se: n > 1 ? Math.sqrt(squares / (n - 1) / n) : 0, n };
}

/** Ranks from 1, ties sharing the mean of theirs. */
export function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((i, j) => values[i] - values[j]);
  const out = new Array<number>(values.length);
  for (let first = 0; first < order.length; ) {
    let end = first + 1;
    while (end < order.length && values[order[end]] === values[order[first]]) end++;
    for (let k = first; k < end; k++) out[order[k]] = (first + end + 1) / 2;
    first = end;
  }
  return out;
}

/** The result of a paired test: how many pairs differ, the rank sum of those in favour of the first, and the two-sided p. */
export interface Paired {
  readonly n: number;
  readonly positive: number;
  readonly p: number;
}

/**
 * Wilcoxon's signed-rank test of paired values, two-sided. Equal pairs are left out (Wilcoxon 1945). Exact over all signs up to `exactUpTo` differing pairs, ties
 * among them included; beyond, the normal approximation with tie and continuity corrections. p is 1 where nothing differs.
 */
export function wilcoxon(a: readonly number[], b: readonly number[], exactUpTo = 50): Paired {
  if (a.length !== b.length)
    throw new WorldlineError(`wilcoxon: ${a.length} and ${b.length} values cannot be paired; give both systems the same items`);
  // Rounded to what f64 holds for sure, so that equal differences of shares (9/9 - 8/9 and 2/9 - 1/9) are ties and rounding alone is no difference.
  const step = 1e-12 * [...a, ...b].reduce((most, v) => Math.max(most, Math.abs(v)), 0) || 1;
  const differences = a.map((v, i) => Math.round((v - b[i]) / step)).filter((d) => d !== 0);
  const n = differences.length;
  const rank = ranks(differences.map(Math.abs));
  const positive = rank.reduce((sum, r, i) => sum + (differences[i] > 0 ? r : 0), 0);
  if (n === 0) return { n, positive: 0, p: 1 };
  return { n, positive, p: n <= exactUpTo ? exactP(rank, positive) : normalP(rank, positive) };
}

/** Twice the smaller tail of the rank sum's distribution when every sign is a fair coin. Ranks are halves, so doubled ranks are whole. */
function exactP(rank: readonly number[], positive: number): number {
  const doubled = rank.map((r) => Math.round(2 * r));
  const total = doubled.reduce((a, r) => a + r, 0);
  let ways = new Float64Array(total + 1);
  ways[0] = 1;
  for (const r of doubled) {
    const next = ways.map((w) => w / 2);
    for (let s = r; s <= total; s++) next[s] += ways[s - r] / 2;
    ways = next;
  }
  const low = Math.min(Math.round(2 * positive), total - Math.round(2 * positive));
  return Math.min(1, 2 * ways.subarray(0, low + 1).reduce((a, w) => a + w, 0));
}

function normalP(rank: readonly number[], positive: number): number {
  const n = rank.length;
  const sizes = new Map<number, number>();
  for (const r of rank) sizes.set(r, (sizes.get(r) ?? 0) + 1);
  const ties = [...sizes.values()].reduce((a, t) => a + t ** 3 - t, 0);
  const deviation = Math.sqrt((n * (n + 1) * (2 * n + 1)) / 24 - ties / 48);
  const distance = Math.max(0, Math.abs(positive - (n * (n + 1)) / 4) - 0.5);
  return Math.min(1, 2 * normalTail(distance / deviation));
}

/** P(Z > z) of the standard normal, z >= 0, by the continued fraction of Mills' ratio or the series near 0. */
export function normalTail(z: number): number {
  const density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  if (z < 2.5) {
    let term = z;
    let sum = z;
    for (let k = 1; k < 100; k++) sum += term *= (z * z) / (2 * k + 1);
    return Math.max(0, 0.5 - density * sum);
  }
  let fraction = z;
  for (let k = 60; k >= 1; k--) fraction = z + k / fraction;
  return density / fraction;
}

/** Pearson's correlation; NaN where one side does not vary. */
export function pearson(x: readonly number[], y: readonly number[]): number {
  const [mx, my] = [meanOf(x).mean, meanOf(y).mean];
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < x.length; i++) {
    xy += (x[i] - mx) * (y[i] - my);
    xx += (x[i] - mx) ** 2;
    yy += (y[i] - my) ** 2;
  }
  return xy / Math.sqrt(xx * yy);
}

/** Spearman's rank correlation with the two-sided p of its t approximation with n - 2 degrees of freedom. */
export function spearman(x: readonly number[], y: readonly number[]): { readonly rho: number; readonly p: number; readonly n: number } {
  if (x.length !== y.length)
    throw new WorldlineError(`spearman: ${x.length} and ${y.length} values cannot be paired; give both the same items`);
  const n = x.length;
  const rho = pearson(ranks(x), ranks(y));
  if (n < 3 || Number.isNaN(rho)) return { rho, p: Number.NaN, n };
  const rest = 1 - rho * rho;
  return { rho, n, p: rest <= 0 ? 0 : incompleteBeta((n - 2) / 2, 0.5, rest) };
}

/**
 * The regularised incomplete beta function I_x(a, b), by the continued fraction of Abramowitz and Stegun 26.5.8. With x = df / (df + t^2), a = df / 2
 * and b = 1 / 2 it is the two-sided p of Student's t; for a correlation 1 - rho^2 is that x.
 */
export function incompleteBeta(a: number, b: number, x: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(b, a, 1 - x);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log(1 - x)) / a;
  let fraction = 1;
  for (let m = 200; m >= 1; m--) {
    const odd = (-(a + m - 1) * (a + b + m - 1) * x) / ((a + 2 * m - 2) * (a + 2 * m - 1));
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    fraction = 1 + odd / (1 + even / fraction);
  }
  return front / fraction;
}

/** ln of the gamma function for x > 0: Stirling's series after shifting x above 10. */
function logGamma(x: number): number {
  let shift = 0;
  let y = x;
  for (; y < 10; y++) shift -= Math.log(y);
  const s = 1 / (y * y);
  return shift + (y - 0.5) * Math.log(y) - y + Math.log(2 * Math.PI) / 2 + (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s / 1680))) / y;
}
