// Statistics against tables: Wilcoxon's exact critical values, the normal and t tables, hand-made ranks.
// Run: node --import tsx test/statistics.test.ts
import { test } from "uvu";
import * as assert from "uvu/assert";
import * as S from "../world/statistics.ts";

const near = (got: number, want: number, within: number, what: string) =>
  assert.ok(Math.abs(got - want) <= within, `${what}: ${got}, not ${want}`);

test("means, standard errors and ranks by hand", () => {
  assert.equal(S.meanOf([2, 4, 4, 6]), { mean: 4, se: Math.sqrt(8 / 3 / 4), n: 4 });
  assert.equal(S.meanOf([3]), { mean: 3, se: 0, n: 1 });
  assert.equal(S.ranks([10, 30, 20, 20, 5]), [2, 5, 3.5, 3.5, 1]);
});

test("Wilcoxon: all ways of signing the ranks, counted", () => {
  const zeros = (n: number) => new Array<number>(n).fill(0);
  assert.equal(S.wilcoxon([1, 2, 3, 4, 5], zeros(5)), { n: 5, positive: 15, p: 2 / 32 });
  // Rank sum 1 of 5 pairs: of 32 signings {} and {1} reach it.
  assert.equal(S.wilcoxon([1, -2, -3, -4, -5], zeros(5)), { n: 5, positive: 1, p: 4 / 32 });
  assert.equal(S.wilcoxon([1, -1], zeros(2)).p, 1);
  assert.equal(S.wilcoxon([7, 7], [7, 7]), { n: 0, positive: 0, p: 1 });
  // The largest smaller rank sum with two-sided p <= 0.05 in Wilcoxon's table: 8 for n = 10, 52 for n = 20.
  for (const [n, critical] of [
    [10, 8],
    [20, 52],
  ]) {
    const summing = (sum: number) => {
      let left = sum;
      const signs = Array.from({ length: n }, (_, i) => {
        const r = n - i;
        if (r > left) return -r;
        left -= r;
        return r;
      });
      return S.wilcoxon(signs, zeros(n));
    };
    assert.is(summing(critical).positive, critical);
    assert.ok(summing(critical).p <= 0.05 && summing(critical + 1).p > 0.05, `n = ${n}`);
  }
  assert.throws(() => S.wilcoxon([1], [1, 2]), /1 and 2 values cannot be paired/);
});

test("Wilcoxon: shares that differ by the same are ties, and rounding alone is no difference", () => {
  const [a, b] = [
    [9, 5, 2, 7, 1, 3, 8, 1, 2],
    [8, 4, 1, 9, 3, 3, 7, 2, 1],
  ];
  const of = (n: number, list: number[]) => list.map((v) => v / n);
  for (const n of [3, 9, 1024]) assert.equal(S.wilcoxon(of(n, a), of(n, b)), S.wilcoxon(a, b));
  assert.is(S.wilcoxon([0.1 + 0.2], [0.3]).n, 0);
});

test("Wilcoxon: the exact count and the normal approximation meet where one takes over", () => {
  const values = Array.from({ length: 50 }, (_, i) => (i % 3 === 0 ? -1 : 1) * (i + 1));
  const zeros = values.map(() => 0);
  const [exact, approximate] = [S.wilcoxon(values, zeros), S.wilcoxon(values, zeros, 0)];
  near(approximate.p / exact.p, 1, 0.05, "ratio of p");
  const tied = values.map((v) => Math.sign(v) * Math.ceil(Math.abs(v) / 5));
  near(S.wilcoxon(tied, zeros, 0).p / S.wilcoxon(tied, zeros).p, 1, 0.05, "ratio of p with ties");
});

test("tails of the normal and of Student's t as tables print them", () => {
  for (const [z, p] of [
    [0, 0.5],
    [1, 0.1586553],
    [1.959964, 0.025],
    [2.575829, 0.005],
    [4, 3.1671e-5],
  ])
    near(S.normalTail(z), p, 1e-6 * Math.max(p, 0.1), `P(Z > ${z})`);
  // Two-sided 5% points of t.
  for (const [df, t] of [
    [1, 12.7062],
    [5, 2.570582],
    [10, 2.228139],
    [30, 2.042272],
    [120, 1.97993],
  ])
    near(S.incompleteBeta(df / 2, 0.5, df / (df + t * t)), 0.05, 2e-6, `t of ${df}`);
});

test("Spearman: ranks by hand, a tie, and p", () => {
  assert.equal(S.spearman([1, 2, 3, 4], [10, 20, 30, 40]), { rho: 1, n: 4, p: 0 });
  // 1 - 6 sum d^2 / (n (n^2 - 1)) with d = (1, -1, 1, -1, 0).
  const { rho, p } = S.spearman([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]);
  near(rho, 1 - (6 * 4) / (5 * 24), 1e-12, "rho");
  // t = 0.8 sqrt(3 / 0.36) = 2.3094 with 3 degrees of freedom.
  near(p, 0.104088, 1e-5, "p");
  near(S.spearman([1, 2, 2, 3], [1, 2, 3, 4]).rho, 4.5 / Math.sqrt(4.5 * 5), 1e-12, "rho with a tie");
  assert.ok(Number.isNaN(S.spearman([1, 1, 1], [1, 2, 3]).rho), "one side does not vary");
});

test.run();
