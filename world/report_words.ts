// The report in words: names that newcomers understand for systems, families and probes, and the one paragraph that answers whether it worked,
// built from the numbers alone.

import { figure, interval, percent } from "./markup.ts";
import type { Probed, Rate, Report, System } from "./report.ts";

export const systemNames: Readonly<Record<System, string>> = {
  copy: "Copy of the source",
  ft: "FT: labels only",
  ft_weighted: "FT + recognition weights",
  ft_synthetic: "FT + synthetic pairs",
  cwm: "CWM: pairs and weights",
  cwm_k4: "CWM, CDM picks 1 of 4",
  cwm_k8: "CWM, CDM picks 1 of 8",
};

export const probedNames: Readonly<Record<Probed, string>> = {
  base: "base model",
  cdm: "CDM",
  cwm: "CWM",
};

export const negativeNames: Readonly<Record<string, string>> = {
  action_random: "a random action",
  action_other: "another possible action",
  target_random: "a random picture",
  target_copy: "the source copied",
  inverted: "the pair reversed",
};

export const directionNames: Readonly<Record<string, string>> = {
  image: "Drawing direction: how likely is the picture, given source and action?",
  action: "Naming direction: how likely is the action, given both pictures?",
};

/** A name of settings, stages and kinds for people: underscores become spaces. */
export const spoken = (name: string): string => name.replaceAll("_", " ");

/** The name of a training run: that of the system or model it trains where there is one. */
export function runName(name: string): string {
  const names: Readonly<Record<string, string>> = { ...probedNames, ...systemNames };
  return Object.hasOwn(names, name) ? names[name] : spoken(name);
}

/** Yes, partly or no, in one paragraph of plain sentences. */
export function answer(report: Report): string {
  const { success, cdm, annotation, data } = report;
  const { ft, cwm } = success;
  const best = success.cwm_k8 ?? success.cwm_k4;
  const sentences: string[] = [verdict(ft, cwm)];
  sentences.push(
    `After ${figure(data.labels)} labelled examples the dynamics model (CDM), shown two pictures, names a true action in ${percent(cdm.valid.value)} of the test pairs` +
      (ft ? `; a world model trained on the same examples draws a right next picture in ${percent(ft.value)}.` : "."),
  );
  sentences.push(
    `The CDM then named the actions of ${figure(data.pairs)} unlabelled pairs, and the ${figure(annotation.kept)} it was surest of were kept (${percent(annotation.kept_valid.value)} of them right).`,
  );
  if (cwm) sentences.push(`Trained on these too, the world model (CWM) draws ${percent(cwm.value)} right${ft ? compared(ft, cwm) : ""}.`);
  if (best && cwm)
    sentences.push(
      `Letting the CDM choose among ${success.cwm_k8 ? 8 : 4} of its drawings ${best.value > cwm.value ? "raises" : "does not raise"} this: ${percent(best.value)}.`,
    );
  if (success.copy) sentences.push(`Merely copying the source picture scores ${percent(success.copy.value)}.`);
  return sentences.join(" ");
}

function verdict(ft: Rate | undefined, cwm: Rate | undefined): string {
  if (!ft?.n || !cwm?.n) return "This run did not train both world models, so it cannot say whether the one taught the other.";
  if (cwm.value <= ft.value) return "No: in this run the dynamics model did not make the world model better.";
  if (cwm.low > ft.high) return "Yes: the dynamics model taught the world model.";
  if (cwm.value >= 1.3 * ft.value)
    return "Yes, by the numbers, though the two intervals overlap: the dynamics model made the world model better.";
  return "Only slightly: the world model became better, but the difference may be chance.";
}

function compared(ft: Rate, cwm: Rate): string {
  const times = ft.value > 0 ? `, ${figure(cwm.value / ft.value, 2)} times as many` : "";
  return `${times} (95% intervals: ${interval(cwm)} against ${interval(ft)})`;
}
