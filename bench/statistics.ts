// Statistics of timings: quantiles, how well a median is known, geometric means, and the rank test that decides whether two sets of runs
// differ. Timings are skewed and have outliers, so everything here works on ranks and quantiles, nothing on means and deviations.

/** The q-quantile (0 to 1) of ascending values, linear between neighbours. */
export function quantile(sorted: readonly number[], q: number): number {
  const at = (sorted.length - 1) * q;
  const low = Math.floor(at);
  return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (at - low);
}

export const ascending = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);

/** The middle value. */
export const median = (values: readonly number[]): number => quantile(ascending(values), 0.5);

export interface Summary {
  readonly samples: number;
  readonly min: number;
  readonly median: number;
  readonly p95: number;
  /** Half width of the median's 95% interval, relative to the median: 1.82 IQR / sqrt(n), exact for normal noise. */
  readonly spread: number;
}

export function summarize(values: readonly number[]): Summary {
  const sorted = ascending(values);
  const middle = quantile(sorted, 0.5);
  const range = quantile(sorted, 0.75) - quantile(sorted, 0.25);
  const spread = sorted.length < 2 ? Number.POSITIVE_INFINITY : (1.82 * range) / Math.sqrt(sorted.length) / middle;
  return { samples: sorted.length, min: sorted[0], median: middle, p95: quantile(sorted, 0.95), spread };
}

/** exp of the mean logarithm: the average of ratios. */
export function geometricMean(values: readonly number[]): number {
  return Math.exp(values.reduce((a, v) => a + Math.log(v), 0) / values.length);
}

/**
 * Two-sided p of the Mann-Whitney test that a and b come from one distribution: the share of all ways to deal the pooled values into two
 * hands of these sizes whose rank sum is at least as far from the middle. Exact, ties given middle ranks; a normal approximation past 10
 * values a side.
 */
export function rankTest(a: readonly number[], b: readonly number[]): number {
  const [n, m] = [a.length, b.length];
  if (n === 0 || m === 0) return 1;
  const pooled = ascending([...a, ...b]);
  // Twice the middle rank, so that ties stay whole numbers.
  const rank = (v: number) => pooled.indexOf(v) + pooled.lastIndexOf(v) + 2;
  const ranks = pooled.map(rank);
  const middle = n * (n + m + 1);
  const seen = Math.abs(a.reduce((s, v) => s + rank(v), 0) - middle);
  if (n > 10 || m > 10) {
    const mean = (n + m + 1) / 2;
    const variance = (n * m * ranks.reduce((s, r) => s + (r / 2 - mean) ** 2, 0)) / ((n + m) * (n + m - 1));
    return variance === 0 ? 1 : Math.min(1, 2 * upperNormal(Math.max(0, seen / 2 - 0.5) / Math.sqrt(variance)));
  }
  // ways[k] maps a rank sum to the number of hands of k values that have it.
  const ways = Array.from({ length: n + 1 }, () => new Map<number, number>());
  ways[0].set(0, 1);
  for (const r of ranks) {
    for (let k = n; k > 0; k--) for (const [sum, count] of ways[k - 1]) ways[k].set(sum + r, (ways[k].get(sum + r) ?? 0) + count);
  }
  let far = 0;
  let all = 0;
  for (const [sum, count] of ways[n]) {
    all += count;
    if (Math.abs(sum - middle) >= seen) far += count;
  }
  return far / all;
}

/** P(Z > z) of the standard normal (Abramowitz and Stegun 26.2.17, error under 1e-7). */
function upperNormal(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const poly = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * poly;
}

/**
 * The exponent p and factor of y = factor x^p, fitted to the logarithms by least squares, and the exponent's standard error: the root of the
 * residuals' mean square (n - 2 degrees of freedom) over the spread of log x; infinite for two points.
 */
export function powerFit(x: readonly number[], y: readonly number[]): { exponent: number; factor: number; error: number } {
  const [u, v] = [x.map(Math.log), y.map(Math.log)];
  const mean = (a: readonly number[]) => a.reduce((s, e) => s + e, 0) / a.length;
  const [mu, mv] = [mean(u), mean(v)];
  const width = u.reduce((s, e) => s + (e - mu) ** 2, 0);
  const exponent = u.reduce((s, e, i) => s + (e - mu) * (v[i] - mv), 0) / width;
  const residuals = u.reduce((s, e, i) => s + (v[i] - mv - exponent * (e - mu)) ** 2, 0);
  const error = x.length > 2 ? Math.sqrt(residuals / (x.length - 2) / width) : Number.POSITIVE_INFINITY;
  return { exponent, factor: Math.exp(mv - exponent * mu), error };
}
