// The report's second half: claims against their targets, seeds, data and oracle, time, throughput, and all that is needed to repeat the run.

import { type Column, escapeHtml, figure, percent, rateText, section, table } from "./markup.ts";
import type { Report } from "./report.ts";
import { runName, spoken } from "./report_words.ts";

/** Sections in reading order; those without content are empty. */
export function runSections(report: Report): string[] {
  return [
    targetSection(report),
    seedSection(report),
    dataSection(report),
    timeSection(report),
    trainingSection(report),
    repeatSection(report),
  ];
}

const titles = (first: string, ...numbers: string[]): Column[] => [{ title: first }, ...numbers.map((title) => ({ title, number: true }))];

function targetSection({ targets }: Report): string {
  const met = targets.filter((target) => target.met).length;
  const rows = targets.map(({ name, wanted, measured, met }) => [
    escapeHtml(name),
    escapeHtml(wanted),
    percent(measured),
    met ? `<span class="met">\u2713 met</span>` : `<span class="missed">\u2717 missed</span>`,
  ]);
  return section(
    "Claims against targets",
    `${met} of ${targets.length} targets are met. They are judged on the values, not on the intervals.`,
    table("Targets", [{ title: "Claim" }, { title: "Wanted" }, { title: "Measured", number: true }, { title: "Verdict" }], rows),
  );
}

function seedSection({ seeds = [] }: Report): string {
  const names = [...new Set(seeds.flatMap(({ values }) => Object.keys(values)))];
  const rows = names.map((name) => {
    const present = seeds.flatMap(({ values }) => (Number.isFinite(values[name]) ? [values[name]] : []));
    const mean = present.reduce((sum, value) => sum + value, 0) / present.length;
    return [escapeHtml(spoken(name)), ...seeds.map(({ values }) => percent(values[name])), `<b>${percent(mean)}</b>`];
  });
  return section(
    "Seeds",
    "The same run repeated; what changes from column to column is chance.",
    table("Results per seed", titles("Result", ...seeds.map(({ seed }) => `seed ${seed}`), "mean"), rows),
  );
}

function dataSection({ data, oracle }: Report): string {
  const { found, true: present, matched } = data.key_frames;
  const counts: [string, number][] = [
    ["labelled examples", data.labels],
    ["test items", data.test],
    ["clips without labels", data.clips],
    ["key frames in the clips", present],
    ["key frames found", found],
    ["key frames found that are true", matched],
    ["unlabelled pairs", data.pairs],
    ["pairs with two actions (a key frame missed)", data.pairs_with_two_actions],
  ];
  const share = (part: number, whole: number) => percent(whole ? part / whole : undefined);
  return section(
    "Data and oracle",
    `Of the key frames found, ${share(matched, found)} are true; of the true ones, ${share(matched, present)} were found. The oracle was checked on true targets turned into codes and back.`,
    table(
      "Data",
      titles("What", "Number"),
      counts.map(([name, count]) => [name, figure(count)]),
    ),
    table("Oracle errors", titles("What", "Error", "Checked"), [
      ["true targets judged wrong", rateText(oracle.vq_error), figure(oracle.vq_error.n)],
      ["cells read wrong", rateText(oracle.vq_cell_error), figure(oracle.vq_cell_error.n)],
    ]),
  );
}

function timeSection({ seconds }: Report): string {
  const { total } = seconds;
  const stages = Object.entries(seconds).filter(([name]) => name !== "total");
  const rows = stages.map(([name, value]) => [escapeHtml(runName(name)), figure(value, 1), percent(total ? value / total : undefined)]);
  if (total !== undefined) rows.push(["<b>total</b>", `<b>${figure(total, 1)}</b>`, ""]);
  return section("Time", "", table("Seconds per stage", titles("Stage", "Seconds", "Share"), rows));
}

function trainingSection({ training, device }: Report): string {
  const rows = Object.entries(training).map(([name, run]) => [
    escapeHtml(runName(name)),
    figure(run.steps),
    figure(run.tokens_per_s, 0),
    figure(run.gflop_per_s, 1),
    figure(run.ceiling_gflop_per_s, 1),
    percent(run.share),
    percent(run.host_share),
  ]);
  const columns = titles("Run", "Steps", "Tokens/s", "GFLOP/s", "Ceiling GFLOP/s", "Share", "Host busy");
  const software = device.software ? " This is a software adapter: compare its numbers only with its own." : "";
  return section(
    "Training throughput",
    `The ceiling is what this device reached in a plain multiply-add test of the same run.${software}`,
    table("Throughput per run", columns, rows),
  );
}

function repeatSection({ command, device, preset, seed, settings, versions, worldline }: Report): string {
  const facts: [string, string][] = [
    ["preset", preset],
    ["seed", String(seed)],
    ["device", device.name],
    ["architecture", device.architecture],
    ["kind", device.software ? "software adapter" : "hardware adapter"],
    ["features", device.features.join(", ") || "none"],
    ["worldline", worldline],
    ...Object.entries(versions),
  ];
  const list = (entries: readonly (readonly [string, unknown])[]) =>
    entries.map(([name, value]) => [escapeHtml(spoken(name)), `<code>${escapeHtml(value)}</code>`]);
  return section(
    "Repeat this run",
    "",
    `<pre>${escapeHtml(command)}</pre>`,
    table("Device and versions", [{ title: "What" }, { title: "Value" }], list(facts)),
    table("Settings", titles("Setting", "Value"), list(Object.entries(settings))),
  );
}
