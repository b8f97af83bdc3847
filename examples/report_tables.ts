// The tables of a demo's report or of an experiment's results as Markdown, for docs/results.md, so that no number is typed by hand.
//   node --import tsx examples/report_tables.ts runs/demo/report.json
//   node --import tsx examples/report_tables.ts runs/table4/results.json
import { readFileSync } from "node:fs";
import type { SeedOutcome } from "../world/experiment.ts";
import type { ExperimentConfig } from "../world/experiment_config.ts";
import { labelLines, labelRows, systemLines, systemRows } from "../world/experiment_report.ts";
import { type Rate, type Report, type System, systems } from "../world/report.ts";

/** What `worldline experiment` writes. */
interface Results {
  readonly config: ExperimentConfig;
  readonly outcomes: readonly SeedOutcome[];
}

const [from] = process.argv.slice(2);
if (!from) {
  console.error("usage: report_tables.ts <report.json or results.json>");
  process.exit(1);
}
const read = JSON.parse(readFileSync(from, "utf8")) as Report | Results;
const percent = (share: number) => (100 * share).toFixed(1);
const interval = (r: Rate) => `${percent(r.value)} (${percent(r.low)} to ${percent(r.high)})`;
const names: Record<System, string> = {
  copy: "copy the source",
  ft: "labels only (FT)",
  ft_weighted: "FT + recognition weights",
  ft_synthetic: "FT + synthetic pairs",
  cwm: "CWM (both)",
  cwm_k4: "CWM, CDM picks 1 of 4",
  cwm_k8: "CWM, CDM picks 1 of 8",
};

/** A Markdown table. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

function facts(report: Report): string {
  const { cdm, annotation, data, oracle, weights } = report;
  const { found, matched } = data.key_frames;
  return [
    `Dynamics model: exact sentence ${interval(cdm.exact)}, valid ${interval(cdm.valid)}.`,
    `Annotation of ${data.pairs} unlabelled pairs: valid ${interval(annotation.all_valid)}, of the ${annotation.kept} kept ${interval(annotation.kept_valid)}.`,
    `Key frames: ${matched} of ${data.key_frames.true} rests found, ${found - matched} others.`,
    `Oracle on reconstructed truths: wrong verdicts ${interval(oracle.vq_error)}, wrong cells ${interval(oracle.vq_cell_error)}.`,
    `Recognition weights, changed : unchanged cells = ${weights.ratio.toFixed(2)} : 1.`,
  ].join(" ");
}

function experimentParts({ config, outcomes }: Results): string[] {
  const rows = [systemLines(systemRows(config, outcomes)), labelLines(labelRows(config, outcomes))];
  return [config.question, ...rows.map(({ head, lines }) => table(head, lines))];
}

function reportParts(report: Report): string[] {
  const shown = systems.filter((s) => report.success[s]);
  const families = Object.keys(report.cdm.families);
  const kinds = [...new Set(Object.values(report.probe).flatMap((rates) => Object.keys(rates).map((k) => k.split(".")[1])))];
  const probes = Object.entries(report.probe).flatMap(([model, rates]) =>
    ["image", "action"]
      .filter((direction) => rates[`${direction}.${kinds[0]}`])
      .map((direction) => [`${model}, ${direction}`, ...kinds.map((k) => percent(rates[`${direction}.${k}`].value))]),
  );
  return [
    table(
      ["system", "success", "edit done", "nothing else changed"],
      shown.map((s) => [names[s], ...[report.success, report.done, report.minimal].map((r) => interval(r[s]!))]),
    ),
    facts(report),
    table(
      ["success by family", ...families],
      [
        ["CDM (valid)", ...families.map((f) => percent(report.cdm.families[f].value))],
        ...shown.filter((s) => s !== "copy").map((s) => [names[s], ...families.map((f) => percent(report.families[s]![f].value))]),
      ],
    ),
    "Preference probe, % preferring the real trajectory (50 is chance):",
    table(["model, direction", ...kinds], probes),
    ...(report.seeds ?? []).map(
      ({ seed, values }) =>
        `Seed ${seed}: ${Object.entries(values)
          .map(([k, v]) => `${k} ${percent(v)}`)
          .join(", ")}.`,
    ),
    table(
      ["target", "wanted", "measured %", ""],
      report.targets.map((t) => [t.name, t.wanted, percent(t.measured), t.met ? "met" : "**missed**"]),
    ),
    table(
      ["stage", "seconds"],
      Object.entries(report.seconds).map(([stage, s]) => [stage, s.toFixed(1)]),
    ),
    table(
      ["training", "steps", "tokens/s", "GFLOP/s", "share of the matmul ceiling measured in the run", "JavaScript's share of the time"],
      Object.entries(report.training).map(([name, t]) => [
        name,
        `${t.steps}`,
        t.tokens_per_s.toFixed(0),
        t.gflop_per_s.toFixed(1),
        `${(100 * t.share).toFixed(0)}% of ${t.ceiling_gflop_per_s.toFixed(1)}`,
        `${(100 * t.host_share).toFixed(1)}%`,
      ]),
    ),
  ];
}

console.log(("outcomes" in read ? experimentParts(read) : reportParts(read)).join("\n\n"));
