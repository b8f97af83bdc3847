// The demo's report: intervals against published Wilson values, targets, the page (balanced, escaped, complete, self-contained).
// Run: node --import tsx test/report.test.ts

import { test } from "uvu";
import * as assert from "uvu/assert";
import { commandLine } from "../cli/versions.ts";
import { logTicks, roundTicks, thinned } from "../world/charts.ts";
import { axisEnd, escapeHtml, figure } from "../world/markup.ts";
import { judgeTargets, type Rate, type Report, rate, rateOf } from "../world/report.ts";
import { reportHtml } from "../world/report_html.ts";
import { fakeReport } from "./report_fixture.ts";

const close = (a: number, b: number, e: number, what = "") => assert.ok(Math.abs(a - b) <= e, `${what} ${a} is not ${b}`);

test("rate: Wilson intervals as published and by hand", () => {
  // Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
  const published = [
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ];
  for (const [successes, n, low, high] of published) {
    const r = rate(successes, n);
    close(r.low, low, 5e-5, `${successes}/${n} low`);
    close(r.high, high, 5e-5, `${successes}/${n} high`);
    assert.is(r.value, successes / n);
    assert.is(r.n, n);
  }
  // By hand: 0 of n ends at z^2 / (n + z^2), and z^2 = 3.841459.
  close(rate(0, 10).high, 3.841459 / 13.841459, 1e-6);
  close(rate(10, 10).low, 10 / 13.841459, 1e-6);
  close(rate(5, 10).low, 0.236593, 1e-6);
  assert.equal(rate(0, 0), { value: 0, low: 0, high: 1, n: 0 });
  assert.is(rate(7, 7).high, 1);
});

test("rate and rateOf: bad numbers are named, means keep n = items", () => {
  assert.throws(() => rate(3, 2), /3 of 2 is no share/);
  assert.throws(() => rate(0.5, 2), /whole numbers/);
  assert.throws(() => rateOf([0.5, 1.5]), /1.5 is no share/);
  assert.throws(() => rateOf([Number.NaN]), /NaN is no share/);
  const mean = rateOf([1, 0.5, 0.25, 0.25]);
  assert.is(mean.value, 0.5);
  assert.equal(mean, rate(2, 4));
  assert.is(rateOf([]).n, 0);
});

const withRates = (success: Record<string, number>, more: Partial<Report> = {}): Report => ({
  ...fakeReport(),
  success: Object.fromEntries(Object.entries(success).map(([name, value]) => [name, { value, low: 0, high: 1, n: 200 }])),
  ...more,
});
const verdicts = (report: Report) => Object.fromEntries(judgeTargets(report).map(({ name, met }) => [name, met]));

test("judgeTargets: every bound from both sides, absent systems skipped", () => {
  assert.is(judgeTargets(fakeReport()).length, 16);
  assert.ok(judgeTargets(fakeReport()).every(({ met }) => met));
  const cdm = (value: number) => ({ cdm: { ...fakeReport().cdm, valid: { value, low: 0, high: 1, n: 200 } } });
  const base = { copy: 0, ft: 0.2, ft_weighted: 0.21, ft_synthetic: 0.21, cwm: 0.26, cwm_k4: 0.312, cwm_k8: 0.312 };
  assert.ok(Object.values(verdicts(withRates(base, cdm(0.36)))).every(Boolean));
  const missed = (success: object, name: string, more = cdm(0.36)) =>
    assert.is(verdicts(withRates({ ...base, ...success }, more))[name], false, name);
  missed({ copy: 0.005 }, "copying the source never succeeds");
  missed({}, "naming is easier than drawing", cdm(0.359));
  missed({ cwm: 0.259 }, "the CDM teaches the CWM");
  missed({ ft_weighted: 0.2 }, "recognition weights help");
  missed({ ft_synthetic: 0.2 }, "synthetic pairs help");
  missed({ cwm_k4: 0.311 }, "choosing among 4 helps");
  missed({ cwm_k8: 0.311 }, "choosing among 8 helps");
  missed({ ft: 0, cwm: 0 }, "the CDM teaches the CWM");
  const few = judgeTargets(withRates({ copy: 0, ft: 0.2, cwm: 0.3 }, { probe: {} })).map(({ name }) => name);
  assert.equal(few, [
    "copying the source never succeeds",
    "the oracle reads the picture codes",
    "naming is easier than drawing",
    "the CDM teaches the CWM",
  ]);
});

test("judgeTargets: the full preset has two targets of its own", () => {
  const full = { ...fakeReport(), preset: "full" };
  assert.is(judgeTargets(full).length, 18);
  const of = (valid: number, k8: number) => {
    const { cdm, success, ...rest } = full;
    const met = verdicts({ ...rest, cdm: { ...cdm, valid: rate(valid, 100) }, success: { ...success, cwm_k8: rate(k8, 100) } });
    return [met["the dynamics model names what happened"], met["the best of 8 drawings is right"]];
  };
  assert.equal(of(80, 60), [true, true]);
  assert.equal(of(79, 59), [false, false]);
});

test("judgeTargets: probes and oracle", () => {
  const r = (value: number): Rate => ({ value, low: 0, high: 1, n: 200 });
  const report = fakeReport();
  const probe = {
    base: { "image.action_other": r(0.63), "image.inverted": r(0.37), "action.action_other": r(0.38), "action.inverted": r(0.62) },
    cdm: { "action.action_random": r(0.85), "action.target_random": r(0.84) },
    cwm: { "image.action_random": r(0.849), "image.target_random": r(0.9) },
  };
  const found = verdicts({ ...report, probe, oracle: { ...report.oracle, vq_error: r(0.01) } });
  const failed = Object.keys(found).filter((name) => !found[name]);
  assert.equal(failed, [
    "the oracle reads the picture codes",
    "untuned model guesses: image.action_other",
    "untuned model guesses: image.inverted",
    "CWM tells apart: image.action_random",
    "CDM tells apart: action.target_random",
  ]);
});

/** Throws at the first tag that does not close in order; returns the visible text. */
function readPage(html: string): string {
  const empty = new Set(["meta", "img", "br", "link", "hr"]);
  const open: string[] = [];
  let text = "";
  let at = 0;
  for (const match of html.matchAll(/<(\/?)([a-zA-Z][\w-]*)((?:\s+[\w:-]+(?:="[^"<>]*")?)*)\s*(\/?)>|<!DOCTYPE html>/g)) {
    const between = html.slice(at, match.index);
    if (open[open.length - 1] !== "style") assert.not.ok(/[<>]/.test(between), `stray bracket near: ${between.slice(0, 80)}`);
    if (open[open.length - 1] !== "style") text += `${between} `;
    at = match.index + match[0].length;
    const [, closing, name, , selfClosing] = match;
    if (!name || empty.has(name) || selfClosing) continue;
    if (closing) assert.is(open.pop(), name, `</${name}> closes another tag`);
    else open.push(name);
  }
  assert.equal(open, []);
  assert.is(html.slice(at).trim(), "");
  return text.replace(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code))).replace(/\s+/g, " ");
}

const pct = (share: number) => `${(100 * share).toFixed(1)}%`;
const thousands = (value: number) => String(value).replace(/(\d)(?=(\d{3})+$)/g, "$1,");

/** The text that each number of the report must show up as. */
function expected(report: Report): [string, string][] {
  const found: [string, string][] = [];
  const rates = (path: string, value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    if ("low" in value && "high" in value) {
      const { value: v, low, high } = value as Rate;
      found.push([path, `${pct(v)} ${(100 * low).toFixed(1)} to ${pct(high)}`]);
    } else for (const [name, inner] of Object.entries(value)) rates(`${path}.${name}`, inner);
  };
  for (const part of ["oracle", "cdm", "annotation", "success", "done", "minimal", "families", "probe"] as const) rates(part, report[part]);
  const { data, annotation, weights } = report;
  const { key_frames, ...counts } = data;
  for (const [name, value] of Object.entries({ ...counts, ...key_frames, ...annotation.families, kept: annotation.kept }))
    found.push([name, ` ${thousands(value)} `]);
  for (const [name, value] of Object.entries(report.seconds)) found.push([name, ` ${value.toFixed(1)} `]);
  for (const [name, value] of Object.entries({ ...report.settings, ...report.versions })) found.push([name, ` ${value} `]);
  for (const [name, run] of Object.entries(report.training))
    found.push([
      name,
      ` ${thousands(run.steps)} ${thousands(run.tokens_per_s)} ${run.gflop_per_s.toFixed(1)} ${run.ceiling_gflop_per_s.toFixed(1)} ${pct(run.share)} ${pct(run.host_share)} `,
    ]);
  for (const { wanted, measured, met, name } of report.targets)
    found.push([name, `${name} ${wanted} ${pct(measured)} ${met ? "\u2713 met" : "\u2717 missed"}`]);
  for (const { seed, values } of report.seeds ?? []) for (const value of Object.values(values)) found.push([`seed ${seed}`, pct(value)]);
  for (const [name, points] of Object.entries(report.curves))
    found.push([name, ` ${points[0].loss.toFixed(3)} `], [name, ` ${points[points.length - 1].loss.toFixed(3)} `]);
  for (const example of report.examples) {
    for (const { score } of example.candidates) found.push([example.id, ` \u2212${(-score).toFixed(3)}`]);
    for (const weight of example.weights) found.push([example.id, ` ${weight.toFixed(2)} `]);
    found.push([example.id, example.action], [example.id, example.cdm], [example.id, `${example.family}, ${example.id}`]);
  }
  found.push(["threshold", `\u2212${(-annotation.threshold).toFixed(3)}`], ["changed", weights.changed.toFixed(2)]);
  found.push(
    ["unchanged", weights.unchanged.toFixed(2)],
    ["ratio", `${weights.ratio.toFixed(2)} : 1`],
    ["epsilon", `epsilon ${weights.epsilon.toFixed(2)}`],
  );
  found.push(["command", report.command], ["device", report.device.name], ["features", report.device.features.join(", ")]);
  return found;
}

test("page: tags balance, every number is there, nothing is fetched", () => {
  for (const seed of [1, 2]) {
    const report = fakeReport(seed);
    const html = reportHtml(report);
    const text = readPage(html);
    for (const [path, wanted] of expected(report)) assert.ok(text.includes(wanted), `${path}: "${wanted}" is not on the page`);
    assert.not.ok(/https?:|\/\/|<script|url\(|@import/i.test(html.replace(/data:image\/png;base64,[\w+/=]+/g, "")), "an outside reference");
    assert.not.ok(/NaN|undefined|Infinity|\[object/.test(text), "a raw value leaked");
    for (const [tag] of html.matchAll(/<img[^>]*>/g)) assert.ok(/ alt="[^"]+"/.test(tag), tag.slice(0, 60));
    for (const [tag] of html.matchAll(/<svg[^>]*>/g)) assert.ok(/ aria-label="[^"]+"/.test(tag), tag);
  }
});

test("page: the answer follows the numbers", () => {
  const say = (report: Report) => readPage(reportHtml(report)).match(/version \S+ (.*?\.) /)![1];
  const r = (value: number, low: number, high: number): Rate => ({ value, low, high, n: 200 });
  const report = fakeReport();
  const of = (ft: Rate, cwm: Rate) => say({ ...report, success: { ft, cwm } });
  assert.match(of(r(0.19, 0.15, 0.24), r(0.34, 0.28, 0.4)), /^Yes: /);
  assert.match(of(r(0.19, 0.15, 0.25), r(0.27, 0.22, 0.33)), /^Yes, by the numbers, though the two intervals overlap/);
  assert.match(of(r(0.19, 0.15, 0.25), r(0.2, 0.16, 0.26)), /^Only slightly/);
  assert.match(of(r(0.2, 0.15, 0.25), r(0.2, 0.15, 0.25)), /^No: /);
  assert.match(say({ ...report, success: { copy: rate(0, 200) } }), /cannot say/);
});

test("page: text is escaped wherever it comes from", () => {
  assert.is(escapeHtml(`<a href="x">&'`), "&#60;a href=&#34;x&#34;&#62;&#38;&#39;");
  assert.is(escapeHtml("a\u0000b\ud800c\u00e9\u{1f600}"), "a\ufffdb\ufffdc\u00e9\u{1f600}");
  const evil = `"><script>alert(1)</script>`;
  const report = fakeReport();
  const [first, ...others] = report.examples;
  const pictures = { ...first.pictures, ft: `data:image/png;base64,AAAA"onerror="x`, cwm: "https:example.png" };
  const html = reportHtml({
    ...report,
    worldline: evil,
    preset: evil,
    command: evil,
    device: { ...report.device, name: evil, architecture: evil, features: [evil] },
    versions: { [evil]: evil },
    settings: { [evil]: evil },
    seconds: { [evil]: 1 },
    cdm: { ...report.cdm, families: { [evil]: rate(1, 2) } },
    annotation: { ...report.annotation, families: { [evil]: 1 } },
    probe: { base: { [evil]: rate(1, 2), [`image.${evil}`]: rate(1, 2) } },
    curves: { [evil]: [{ step: 1, loss: 1 }] },
    training: { [evil]: report.training.cdm },
    targets: [{ name: evil, wanted: evil, measured: 0, met: false }],
    seeds: [{ seed: 1, values: { [evil]: 0.5 } }],
    examples: [{ ...first, id: evil, family: evil, action: evil, cdm: evil, pictures }, ...others],
  });
  readPage(html);
  assert.not.ok(html.includes("<script"));
  assert.not.ok(html.includes('onerror="') || html.includes("https:"));
});

test("page: parts that a small preset lacks are left out without a crash", () => {
  const full = fakeReport();
  const none = rate(0, 0);
  const { seeds: _, ...rest } = full;
  const small: Report = {
    ...rest,
    cdm: { exact: none, valid: none, families: {} },
    oracle: { vq_error: none, vq_cell_error: none },
    annotation: { all_valid: none, kept_valid: none, kept: 0, threshold: 0, families: {} },
    data: { labels: 0, test: 0, clips: 0, key_frames: { found: 0, true: 0, matched: 0 }, pairs: 0, pairs_with_two_actions: 0 },
    success: {},
    done: {},
    minimal: {},
    families: {},
    probe: {},
    curves: { cdm: [], ft: [{ step: 0, loss: Number.NaN }] },
    training: {},
    targets: [],
    seconds: {},
    examples: [],
  };
  const text = readPage(reportHtml(small));
  for (const heading of ["Seeds", "Let the CDM choose", "Pictures", "Claims against targets"])
    assert.not.ok(text.includes(` ${heading} `), heading);
  assert.not.ok(/NaN|undefined|Infinity/.test(text));
  const { ft: _ft, best: _best, ...pictures } = full.examples[0].pictures;
  const quick: Report = {
    ...full,
    success: { copy: full.success.copy, ft: full.success.ft, cwm: full.success.cwm },
    families: { cwm: {} },
    examples: [{ ...full.examples[0], pictures, candidates: [], weights: [], success: {} }],
  };
  assert.not.ok(/NaN|undefined/.test(readPage(reportHtml(quick))));
  readPage(reportHtml(JSON.parse(JSON.stringify(small))));
});

test("charts: ticks enclose the range, thinning keeps the mean", () => {
  assert.equal(roundTicks(0, 0.53, 6), [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6]);
  assert.equal(roundTicks(0, 1201, 6), [0, 500, 1000, 1500]);
  assert.equal(roundTicks(3, 3, 6), [3, 3.5]);
  assert.equal(logTicks(0.31, 3.9), [0.2, 0.5, 1, 2, 5]);
  assert.equal(logTicks(1, 1), [1, 2]);
  assert.equal(axisEnd([rate(1, 20), undefined]), 0.25);
  const points = Array.from({ length: 1001 }, (_, x) => ({ x, y: x * 2 }));
  const few = thinned(points, 100);
  assert.ok(few.length <= 100);
  assert.equal(few[0], { x: 5, y: 10 });
  assert.equal(thinned([], 10), []);
  assert.is(figure(12345.6), "12,346");
  assert.is(figure(-0.5), "\u22120.50");
  assert.is(figure(0.003), "0.0030");
  assert.is(figure(undefined), "\u2013");
});

test("the command in a report has no password in it", () => {
  assert.is(commandLine(["jobs", "work", "o", "--redis", "redis://me:pw@h:1"]), "worldline jobs work o --redis redis://h:1");
});

test.run();
