// What a demo run measured, as one plain object that is written as report.json, and the two statistics it needs: a share with its 95% interval
// (Wilson, 1927) and the judgement of each claim against its target. The page drawn from it is world/report_html.ts.

import { WorldlineError } from "../engine/errors.ts";

/** A share 0 ... 1 with its 95% interval and the number of items behind it; n = 0 (value 0, interval 0 ... 1) means that nothing was measured. */
export interface Rate {
  readonly value: number;
  readonly low: number;
  readonly high: number;
  readonly n: number;
}

/** The picture makers that are compared, weakest first. `cwm` has synthetic pairs and weights; `cwm_k4`, `cwm_k8` add the CDM's choice among K. */
export const systems = ["copy", "ft", "ft_weighted", "ft_synthetic", "cwm", "cwm_k4", "cwm_k8"] as const;
export type System = (typeof systems)[number];

/** The models that are probed; probe kinds are named `<image|action>.<action_random|action_other|target_random|target_copy|inverted>`. */
export const probed = ["base", "cdm", "cwm"] as const;
export type Probed = (typeof probed)[number];

export type Rates = Readonly<Record<string, Rate>>;
type PerSystem<T> = Readonly<Partial<Record<System, T>>>;

/** One claim: `wanted` in words with its number, `measured` the share 0 ... 1 it is about. */
export interface Target {
  readonly name: string;
  readonly wanted: string;
  readonly measured: number;
  readonly met: boolean;
}

/** Throughput of one training run; `share` is gflop_per_s over the ceiling measured on the device, `host_share` the time the host was busy. */
export interface TrainingRun {
  readonly steps: number;
  readonly tokens_per_s: number;
  readonly gflop_per_s: number;
  readonly ceiling_gflop_per_s: number;
  readonly share: number;
  readonly host_share: number;
}

/** One test item for the picture grid; pictures are data URLs, weights run row by row over grid [rows, columns]. */
export interface Example {
  readonly id: string;
  readonly family: string;
  readonly action: string;
  /** What the CDM says for the true pair. */
  readonly cdm: string;
  readonly success: PerSystem<boolean>;
  readonly pictures: {
    readonly source: string;
    readonly truth: string;
    readonly ft?: string;
    readonly cwm?: string;
    readonly best?: string;
  };
  /** score: mean log-likelihood of the action under the CDM; the best is chosen. */
  readonly candidates: readonly { readonly picture: string; readonly score: number; readonly success: boolean }[];
  readonly weights: readonly number[];
  readonly grid: readonly [number, number];
}

/** Everything one run measured. Records may lack systems, families, kinds and runs that the preset leaves out. */
export interface Report {
  readonly worldline: string;
  readonly preset: string;
  readonly seed: number;
  readonly command: string;
  readonly device: {
    readonly name: string;
    readonly architecture: string;
    readonly software: boolean;
    readonly features: readonly string[];
  };
  readonly versions: Readonly<Record<string, string>>;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  /** Seconds per stage and `total`. */
  readonly seconds: Readonly<Record<string, number>>;
  readonly data: {
    readonly labels: number;
    readonly test: number;
    readonly clips: number;
    readonly key_frames: { readonly found: number; readonly true: number; readonly matched: number };
    readonly pairs: number;
    readonly pairs_with_two_actions: number;
  };
  readonly oracle: { readonly vq_error: Rate; readonly vq_cell_error: Rate };
  readonly cdm: { readonly exact: Rate; readonly valid: Rate; readonly families: Rates };
  readonly annotation: {
    readonly all_valid: Rate;
    readonly kept_valid: Rate;
    readonly kept: number;
    /** Lowest mean log-likelihood that was kept. */
    readonly threshold: number;
    /** Pairs kept per family. */
    readonly families: Readonly<Record<string, number>>;
  };
  /** Mean weight of changed and unchanged cells, and changed : unchanged. */
  readonly weights: { readonly epsilon: number; readonly ratio: number; readonly changed: number; readonly unchanged: number };
  /** The picture is right: done and minimal. */
  readonly success: PerSystem<Rate>;
  /** The edit was done. */
  readonly done: PerSystem<Rate>;
  /** Nothing else changed. */
  readonly minimal: PerSystem<Rate>;
  readonly families: PerSystem<Rates>;
  readonly probe: Readonly<Partial<Record<Probed, Rates>>>;
  readonly curves: Readonly<Record<string, readonly { readonly step: number; readonly loss: number }[]>>;
  readonly training: Readonly<Record<string, TrainingRun>>;
  readonly targets: readonly Target[];
  /** Shares 0 ... 1 per seed by name (`success.cwm`, `cdm.valid` ...), where a preset repeats the run. */
  readonly seeds?: readonly { readonly seed: number; readonly values: Readonly<Record<string, number>> }[];
  readonly examples: readonly Example[];
}

const z = 1.959963984540054;

/** The share of successes among n items with its Wilson 95% interval. Throws unless both are whole numbers and 0 <= successes <= n. */
export function rate(successes: number, n: number): Rate {
  if (!(Number.isInteger(successes) && Number.isInteger(n) && successes >= 0 && successes <= n))
    throw new WorldlineError(`rate: ${successes} of ${n} is no share; give whole numbers, at most as many successes as items`);
  return wilson(n ? successes / n : 0, n);
}

/**
 * The mean over items of a mean over several samples each (0 ... 1). The samples of one item are not independent, so the interval is Wilson's with
 * n = items, as if each had been sampled once: never narrower than the truth, since p (1 - p) is the largest variance values in 0 ... 1 can have.
 */
export function rateOf(perItemMeans: readonly number[]): Rate {
  const wrong = perItemMeans.find((value) => !(value >= 0 && value <= 1));
  if (wrong !== undefined) throw new WorldlineError(`rateOf: ${wrong} is no share; give one mean from 0 to 1 per item`);
  const n = perItemMeans.length;
  return wilson(n ? Math.min(1, perItemMeans.reduce((sum, value) => sum + value, 0) / n) : 0, n);
}

/** (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n); the end at which p itself lies is exact. */
function wilson(value: number, n: number): Rate {
  if (n === 0) return { value: 0, low: 0, high: 1, n };
  const middle = value + (z * z) / (2 * n);
  const reach = z * Math.sqrt((value * (1 - value)) / n + (z * z) / (4 * n * n));
  const scale = 1 + (z * z) / n;
  return {
    value,
    low: value === 0 ? 0 : Math.max(0, (middle - reach) / scale),
    high: value === 1 ? 1 : Math.min(1, (middle + reach) / scale),
    n,
  };
}

const percent = (share: number) => `${(100 * share).toFixed(1)}%`;

/**
 * Judges the claims of arXiv 2506.06006 on a report (its own `targets` are not read). A comparison with a factor also wants more than zero. Claims
 * about systems, models or kinds that the report lacks, or that hold no items, are left out.
 */
export function judgeTargets(report: Omit<Report, "targets">): Target[] {
  const { success, probe } = report;
  return [
    ...bound("copying the source never succeeds", success.copy, "exactly 0%", (value) => value === 0),
    ...bound("the oracle reads the picture codes", report.oracle.vq_error, "error below 1%", (value) => value < 0.01),
    ...against("naming is easier than drawing", report.cdm.valid, 1.8, success.ft, "labels only"),
    ...against("the CDM teaches the CWM", success.cwm, 1.3, success.ft, "labels only"),
    ...against("recognition weights help", success.ft_weighted, 1, success.ft, "labels only"),
    ...against("synthetic pairs help", success.ft_synthetic, 1, success.ft, "labels only"),
    ...against("choosing among 4 helps", success.cwm_k4, 1.2, success.cwm, "one drawing"),
    ...against("choosing among 8 helps", success.cwm_k8, 1.2, success.cwm, "one drawing"),
    ...(report.preset === "full"
      ? [
          ...bound("the dynamics model names what happened", report.cdm.valid, "at least 80%", (value) => value >= 0.8),
          ...bound("the best of 8 drawings is right", success.cwm_k8, "at least 60%", (value) => value >= 0.6),
        ]
      : []),
    ...["image.action_other", "image.inverted", "action.action_other", "action.inverted"].flatMap((kind) =>
      bound(`untuned model guesses: ${kind}`, probe.base?.[kind], "38% to 62%", (value) => value >= 0.38 && value <= 0.62),
    ),
    ...["action_random", "target_random"].flatMap((negative) => [
      ...bound(`CWM tells apart: image.${negative}`, probe.cwm?.[`image.${negative}`], "at least 85%", (value) => value >= 0.85),
      ...bound(`CDM tells apart: action.${negative}`, probe.cdm?.[`action.${negative}`], "at least 85%", (value) => value >= 0.85),
    ]),
  ];
}

function bound(name: string, measured: Rate | undefined, wanted: string, met: (value: number) => boolean): Target[] {
  return measured?.n ? [{ name, wanted, measured: measured.value, met: met(measured.value) }] : [];
}

/** measured >= factor x reference; with factor 1, measured > reference. */
function against(name: string, measured: Rate | undefined, factor: number, reference: Rate | undefined, what: string): Target[] {
  if (!measured?.n || !reference?.n) return [];
  const floor = factor * reference.value;
  const met = measured.value > 0 && (factor === 1 ? measured.value > floor : measured.value >= floor - 1e-12);
  const wanted =
    factor === 1
      ? `more than ${percent(floor)} (${what})`
      : `at least ${percent(floor)} (${factor} \u00d7 the ${percent(reference.value)} of ${what})`;
  return [{ name, wanted, measured: measured.value, met }];
}
