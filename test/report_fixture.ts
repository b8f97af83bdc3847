// An invented report for tests of the page: numbers drawn at random, no run produced them.

import { Rng } from "../engine/rng.ts";
import { type Example, judgeTargets, type Rate, type Rates, type Report, rate, rateOf, type System, systems } from "../world/report.ts";
import { pngDataUrl } from "../world/sheets.ts";

const families = ["edit", "move", "swap", "spatial", "count"];
const negatives = ["action_random", "action_other", "target_random", "target_copy", "inverted"];

/** A striped 36 x 36 picture as a data URL. */
export function fakePicture(rng: Rng): string {
  const data = new Uint8Array(36 * 36 * 3);
  const colours = Array.from({ length: 9 }, () => [rng.int(256), rng.int(256), rng.int(256)]);
  for (let y = 0; y < 36; y++)
    for (let x = 0; x < 36; x++) data.set(colours[Math.floor(y / 12) * 3 + Math.floor(x / 12)], (y * 36 + x) * 3);
  return pngDataUrl({ width: 36, height: 36, data });
}

/** A report with every part filled. */
export function fakeReport(seed = 1): Report {
  const rng = new Rng(seed, "fake report");
  const near = (share: number, n = 200) => rateOf(Array.from({ length: n }, () => Math.min(1, Math.max(0, share + rng.normal(0, 0.02)))));
  const perSystem = (shares: Partial<Record<System, number>>) =>
    Object.fromEntries(Object.entries(shares).map(([name, share]) => [name, share === 0 ? rate(0, 200) : near(share)]));
  const success = { copy: 0, ft: 0.186, ft_weighted: 0.223, ft_synthetic: 0.252, cwm: 0.336, cwm_k4: 0.433, cwm_k8: 0.451 };
  const perFamily = (share: number): Rates => Object.fromEntries(families.map((f) => [f, near(share + rng.uniform(-0.1, 0.1), 40)]));
  const probe = (share: (kind: string) => number, direction: string): Record<string, Rate> =>
    Object.fromEntries(negatives.map((negative) => [`${direction}.${negative}`, near(share(`${direction}.${negative}`))]));
  const runs = ["cdm", "ft", "ft_weighted", "ft_synthetic", "cwm"];
  const report = {
    worldline: "9.9.9-fake",
    preset: "standard",
    seed,
    command: `worldline demo --preset standard --seed ${seed} # <fake>`,
    device: { name: "Fake adapter & sons", architecture: "fake-arch", software: true, features: ["shader-f16", "subgroups"] },
    versions: { node: "v0.0.1-fake", webgpu: "0.0.2-fake" },
    settings: { learning_rate: 0.003, batch: 32, temperature: 0.5, keep: 0.4, weighted: true, order: "text <first>" },
    seconds: { data: 3.21, cdm: 51.73, annotate: 12.34, ft: 55.55, cwm: 56.78, score: 23.45, total: 203.06 },
    data: {
      labels: 2000,
      test: 200,
      clips: 1931,
      key_frames: { found: 9921, true: 9870, matched: 9755 },
      pairs: 8017,
      pairs_with_two_actions: 803,
    },
    oracle: { vq_error: rate(1, 512), vq_cell_error: rate(3, 4608) },
    cdm: { exact: rate(89, 200), valid: rate(96, 200), families: perFamily(0.48) },
    annotation: {
      all_valid: rate(3239, 8017),
      kept_valid: rate(2000, 3207),
      kept: 3207,
      threshold: -0.318,
      families: { edit: 811, move: 402, swap: 1254, spatial: 123, count: 617 },
    },
    weights: { epsilon: 0.8, ratio: 2.31, changed: 1.68, unchanged: 0.73 },
    success: perSystem(success),
    done: perSystem({ ...success, ft: 0.226, cwm: 0.415, cwm_k4: 0.52, cwm_k8: 0.55 }),
    minimal: perSystem({ copy: 1, ft: 0.544, ft_weighted: 0.476, ft_synthetic: 0.605, cwm: 0.562, cwm_k4: 0.651, cwm_k8: 0.67 }),
    families: Object.fromEntries(systems.filter((s) => s !== "copy").map((s) => [s, perFamily(success[s])])),
    probe: {
      base: {
        ...probe((k) => ({ "image.target_random": 0.97, "image.target_copy": 0.02 })[k] ?? 0.49, "image"),
        ...probe((k) => (k === "action.action_random" ? 0.75 : 0.53), "action"),
      },
      cdm: probe(() => 0.93, "action"),
      cwm: probe((k) => (k === "image.target_copy" ? 0.51 : 0.95), "image"),
    },
    curves: Object.fromEntries(
      runs.map((run, r) => [
        run,
        Array.from({ length: 240 }, (_, i) => ({ step: i * 5 + 1, loss: 0.3 + 0.1 * r + 3.5 * Math.exp(-i / 40) + rng.uniform(0, 0.08) })),
      ]),
    ),
    training: Object.fromEntries(
      runs.map((run, r) => [
        run,
        {
          steps: 1000 + r,
          tokens_per_s: 14321 + r,
          gflop_per_s: 17.4 + r,
          ceiling_gflop_per_s: 61.3,
          share: 0.284 + r / 100,
          host_share: 0.117,
        },
      ]),
    ),
    seeds: [1, 2, 3].map((s) => ({
      seed: s,
      values: { "cdm.valid": rng.uniform(0.4, 0.5), "success.ft": rng.uniform(0.17, 0.2), "success.cwm": rng.uniform(0.3, 0.35) },
    })),
    examples: families.map((family, i) => fakeExample(rng, family, i)),
  };
  return { ...report, targets: judgeTargets(report) };
}

function fakeExample(rng: Rng, family: string, i: number): Example {
  const scores = Array.from({ length: 8 }, () => -rng.uniform(0.05, 3));
  return {
    id: `fake-${i}`,
    family,
    action:
      ["paint the red ring blue", "move the blue square up", "swap the red ring and the blue ring"][i] ??
      "put the yellow triangle left of the blue square",
    cdm: i % 2 ? "remove the green ring" : "paint the red ring blue",
    success: { copy: false, ft: i % 3 === 0, cwm: i % 2 === 0, cwm_k8: i !== 3 },
    pictures: { source: fakePicture(rng), truth: fakePicture(rng), ft: fakePicture(rng), cwm: fakePicture(rng), best: fakePicture(rng) },
    candidates: scores.map((score, k) => ({ picture: fakePicture(rng), score, success: k % 3 === 0 })),
    weights: Array.from({ length: 9 }, (_, k) => (k === i ? rng.uniform(1.4, 2) : rng.uniform(0.8, 0.9))),
    grid: [3, 3],
  };
}
