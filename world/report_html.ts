// The demo's report as one HTML file: an answer in words, the numbers with 95% intervals, charts as inline SVG, example pictures as data URLs.
// It needs no script and loads nothing, so it can be mailed, archived and read offline.

import { lineChart, thinned } from "./charts.ts";
import { axisEnd, bar, type Column, documentHtml, escapeHtml, figure, interval, percent, rateText, section, table } from "./markup.ts";
import { probed, type Rate, type Rates, type Report, type System, systems } from "./report.ts";
import { exampleSection } from "./report_examples.ts";
import { runSections } from "./report_run.ts";
import { answer, directionNames, negativeNames, probedNames, runName, spoken, systemNames } from "./report_words.ts";

/** The whole page. Parts that the report lacks are left out; all text in the report is escaped. */
export function reportHtml(report: Report): string {
  const title = `worldline ${report.preset} run, seed ${report.seed}`;
  return documentHtml(
    title,
    `<h1>Can a model that names changes teach a model that draws them?</h1>
<p class="note">${escapeHtml(title)}, version ${escapeHtml(report.worldline)}</p>
<p class="answer">${escapeHtml(answer(report))}</p>
${keyFigures(report)}
${terms}
${[...resultSections(report), ...runSections(report)].filter(Boolean).join("\n")}`,
  );
}

const terms = `<dl class="terms">
<dt>CDM</dt><dd>dynamics model: sees two pictures and says the action between them.</dd>
<dt>CWM</dt><dd>world model: sees a picture and an action and draws the next picture; taught with the CDM&#8217;s help.</dd>
<dt>FT</dt><dd>the same world model, fine-tuned on the labelled examples only: the comparison.</dd>
<dt>Right</dt><dd>an exact oracle reads the drawing: the edit was done, and nothing else changed.</dd>
<dt>Interval</dt><dd>95% (Wilson); small numbers below a share give it.</dd>
</dl>`;

function resultSections(report: Report): string[] {
  return [
    systemSection(report),
    exampleSection(report.examples),
    asymmetrySection(report),
    choiceSection(report),
    familySection(report),
    annotationSection(report),
    probeSection(report),
    curveSection(report),
  ];
}

function keyFigures({ cdm, success, annotation }: Report): string {
  const shown: [string, string, Rate | undefined][] = [
    ["cdm", "of changes named rightly by the CDM", cdm.valid],
    ["ft", "drawn right with labels only (FT)", success.ft],
    ["cwm", "drawn right after the CDM\u2019s lessons (CWM)", success.cwm],
    ["cwm_k8", "drawn right when the CDM picks 1 of 8", success.cwm_k8],
    ["cdm", "of the kept synthetic actions are right", annotation.kept_valid],
    ["copy", "right by copying the source", success.copy],
  ];
  const items = shown.map(([tone, name, rate]) =>
    rate?.n
      ? `<li class="${tone}"><span class="value">${percent(rate.value)}</span><span class="interval">${interval(rate)}</span><span class="name">${escapeHtml(name)}</span></li>`
      : "",
  );
  return `<ul class="figures">${items.join("\n")}</ul>`;
}

/** A first cell with a name above a bar, so that wide bars still fit a phone. */
const named = (name: string, rate: Rate | undefined, tone: string, end: number, mark?: number) =>
  `${escapeHtml(name)}${bar(rate, tone, end, mark)}`;

function systemSection({ success, done, minimal, data }: Report): string {
  const present = systems.filter((system) => success[system] ?? done[system] ?? minimal[system]);
  const end = axisEnd(present.map((system) => success[system]));
  const rows = present.map((system) => [
    named(systemNames[system], success[system], system, end),
    rateText(success[system]),
    rateText(done[system]),
    rateText(minimal[system]),
  ]);
  const columns = [`System (bar: right, 0 to ${figure(100 * end)}%)`, "Right", "Edit done", "Nothing else changed"];
  return section(
    "Who draws the right picture?",
    `Share of ${figure(data.test)} unseen test items. Recognition weights make the model attend to what changes; synthetic pairs are video frames whose actions the CDM named.`,
    table(
      "Drawings judged by the oracle, with 95% intervals",
      columns.map((title, c) => ({ title, number: c > 0 })),
      rows,
    ),
  );
}

function asymmetrySection({ cdm, success, data }: Report): string {
  const rows: [string, string, Rate | undefined][] = [
    ["CDM names a true action", "cdm", cdm.valid],
    ["CDM uses the very same words", "cdm", cdm.exact],
    ["FT draws a right picture", "ft", success.ft],
  ];
  const end = axisEnd(rows.map(([, , rate]) => rate));
  const times =
    success.ft?.n && success.ft.value > 0 ? ` Here naming succeeds ${figure(cdm.valid.value / success.ft.value, 2)} times as often.` : "";
  return section(
    "Naming is easier than drawing",
    `Both models learnt from the same ${figure(data.labels)} labelled examples. This gap is what lets the one teach the other.${times}`,
    table(
      "Naming against drawing, same labels",
      [{ title: `Task (bar: 0 to ${figure(100 * end)}%)` }, { title: "Share", number: true }, { title: "Items", number: true }],
      rows.map(([name, tone, rate]) => [named(name, rate, tone, end), rateText(rate), rate?.n ? figure(rate.n) : "\u2013"]),
    ),
  );
}

function choiceSection({ success }: Report): string {
  const point = (x: number, rate: Rate | undefined) => (rate?.n ? [{ x, y: rate.value, low: rate.low, high: rate.high }] : []);
  const points = [...point(1, success.cwm), ...point(4, success.cwm_k4), ...point(8, success.cwm_k8)];
  if (points.length < 2) return "";
  const x = { title: "K, drawings to choose from", format: (v: number) => figure(v), ticks: [1, 4, 8] };
  const y = { title: "right", format: (v: number) => `${figure(100 * v)}%`, from: 0 };
  const chart = lineChart("Right pictures by number of candidates, with 95% intervals", x, y, [
    { name: "CWM, the CDM picks 1 of K", tone: "cwm", points },
    ...(success.ft?.n ? [{ name: systemNames.ft, tone: "ft", points: [{ x: 1, y: success.ft.value }], reference: true }] : []),
  ]);
  return section(
    "Let the CDM choose",
    "The CWM draws K pictures, and the one in which the CDM most clearly recognises the action is kept. No further training is needed.",
    `<div class="charts">${chart}</div>`,
  );
}

function familySection({ cdm, families }: Report): string {
  const shown = systems.filter((system) => system !== "copy" && families[system]);
  const rows: [string, Rates][] = [
    ["CDM (naming)", cdm.families],
    ...shown.map((s): [string, Rates] => [systemNames[s], families[s] ?? {}]),
  ];
  const names = [...new Set(rows.flatMap(([, rates]) => Object.keys(rates)))];
  if (!names.length) return "";
  const columns: Column[] = [{ title: "Model" }, ...names.map((name) => ({ title: name, number: true }))];
  const cells = rows.map(([name, rates]) => [escapeHtml(name), ...names.map((family) => rateText(rates[family]))]);
  return section(
    "By kind of action",
    "Some kinds are harder than others; each holds only a part of the test items, so the intervals are wide.",
    table("Right per family of actions, with 95% intervals", columns, cells),
  );
}

function annotationSection({ annotation, data, weights }: Report): string {
  const { all_valid, kept_valid, kept, threshold, families } = annotation;
  const end = axisEnd([all_valid, kept_valid]);
  const two = data.pairs ? data.pairs_with_two_actions / data.pairs : undefined;
  const ceiling =
    two === undefined
      ? ""
      : ` ${figure(data.pairs_with_two_actions)} pairs (${percent(two)}) hold two actions, which no one sentence names.`;
  const pairs = Object.entries(families).map(([name, count]) => [
    escapeHtml(name),
    figure(count),
    percent(kept ? count / kept : undefined),
  ]);
  return section(
    "The CDM annotates unlabelled pairs",
    `Pairs are neighbouring key frames of ${figure(data.clips)} clips. The CDM names the action of each, and only the likeliest are kept (mean log-likelihood per token from ${figure(threshold, 3)} on).${ceiling}`,
    table(
      "True actions before and after the filter",
      [{ title: `Pairs (bar: 0 to ${figure(100 * end)}%)` }, { title: "Right", number: true }, { title: "Checked", number: true }],
      [
        [named(`All ${figure(data.pairs)}`, all_valid, "base", end), rateText(all_valid), figure(all_valid.n)],
        [named(`Kept ${figure(kept)}`, kept_valid, "cdm", end), rateText(kept_valid), figure(kept_valid.n)],
      ],
    ),
    table(
      "Kept pairs by the kind of action the CDM named",
      [{ title: "Kind" }, { title: "Pairs", number: true }, { title: "Share", number: true }],
      pairs,
    ),
    `<p class="note">Recognition weights: a changed cell weighs ${figure(weights.changed, 2)}, an unchanged one ${figure(weights.unchanged, 2)}, ${figure(weights.ratio, 2)} : 1 (epsilon ${figure(weights.epsilon)}).</p>`,
  );
}

function probeSection({ probe }: Report): string {
  const kinds = [...new Set(probed.flatMap((model) => Object.keys(probe[model] ?? {})))];
  const directions = [...new Set(kinds.map((kind) => kind.split(".")[0]))];
  const tables = directions.map((direction) => {
    const rows = kinds
      .filter((kind) => kind.split(".")[0] === direction)
      .flatMap((kind) =>
        probed
          .filter((model) => probe[model]?.[kind])
          .map((model) => {
            const negative = kind.slice(direction.length + 1);
            const rate = probe[model]?.[kind];
            return [
              escapeHtml(negativeNames[negative] ?? spoken(negative || kind)),
              named(probedNames[model], rate, model, 1, 0.5),
              rateText(rate),
            ];
          }),
      );
    return table(
      directionNames[direction] ?? spoken(direction),
      [{ title: "True against" }, { title: "Model (bar: 0 to 100%)" }, { title: "Prefers the true", number: true }],
      rows,
    );
  });
  return section(
    "What the models can tell apart",
    "Each model chooses between the true answer and a false one by likelihood. The dashed line marks 50%, a coin toss. The base model has seen no actions yet; what it has learnt from looking at pictures can still lean it either way.",
    ...tables,
  );
}

function curveSection({ curves }: Report): string {
  const names = Object.keys(curves).filter((name) => curves[name].length);
  const isSystem = (name: string) => systems.includes(name as System);
  const x = { title: "step", format: (v: number) => figure(v), from: 0 };
  const y = { title: "loss (log scale)", format: (v: number) => String(Number(v.toPrecision(3))), log: true };
  const chart = (title: string, group: readonly string[]) =>
    lineChart(
      title,
      x,
      y,
      group.map((name, i) => ({
        name: runName(name),
        tone: isSystem(name) || name in probedNames ? name : ["cdm", "ft", "ft_synthetic", "cwm"][i % 4],
        points: thinned(
          curves[name].map(({ step, loss }) => ({ x: step, y: loss })),
          120,
        ),
      })),
    );
  const charts = [
    chart("World models", names.filter(isSystem)),
    chart(
      "Other models",
      names.filter((name) => !isSystem(name)),
    ),
  ].filter(Boolean);
  if (!charts.length) return "";
  const ends = names.map((name) => {
    const [first, last] = [curves[name][0], curves[name][curves[name].length - 1]];
    return [escapeHtml(runName(name)), figure(first.loss, 3), figure(last.loss, 3), figure(last.step)];
  });
  const columns = ["Run", "First loss", "Last loss", "Last step"].map((title, c) => ({ title, number: c > 0 }));
  return section(
    "Loss curves",
    "Means of neighbouring steps. Losses with and without recognition weights are not comparable with each other.",
    `<div class="charts">${charts.join("\n")}</div>`,
    table("Loss at both ends", columns, ends),
  );
}
