// Training examples of a role, made when they are needed from triplets, picture codes and a wording drawn for this example and epoch. The loss
// covers the completion alone: the action's words and eos (cdm), or the target's codes, weighted by the recognition model if asked (cft, cwm).
import { WorldlineError } from "../engine/errors.ts";
import { Rng } from "../engine/rng.ts";
import { type Coder, layoutTemplate, lossWeights } from "../tokenizer/prompt.ts";
import type { Template } from "../tokenizer/templates.ts";
import type { Example, Shape } from "../train/data.ts";
import type { ExampleSet } from "../train/order.ts";
import type { Codes } from "./codes.ts";
import { featureDistances, type RecognitionOptions, recognitionWeights } from "./recognition.ts";
import type { TripletRecord } from "./records.ts";

export type Role = "cdm" | "cft" | "cwm";

/** Triplets and how often each counts in an epoch. */
export interface Share {
  readonly records: readonly Pick<TripletRecord, "source" | "target" | "action">[];
  readonly factor: number;
}

export interface ExampleOptions {
  readonly role: Role;
  /** One is drawn for each example and epoch; the model is used with the first. */
  readonly templates: readonly Template[];
  /** Recognition weights on the target's codes; none: plain loss. */
  readonly recognition?: RecognitionOptions;
  readonly seed: number;
}

/** One example. */
export function exampleOf(coder: Coder, codes: Codes, r: Share["records"][number], template: Template, o: ExampleOptions): Example {
  const [source, target] = [codes.get(r.source), codes.get(r.target)];
  const values = { source: source.codes, target: target.codes, action: r.action };
  if (o.role === "cdm") {
    const l = layoutTemplate(template, values, coder);
    return { ids: l.ids, weights: lossWeights(l) };
  }
  const l = layoutTemplate(template, values, coder, { closeTarget: false, end: "none" });
  if (!o.recognition) return { ids: l.ids, weights: lossWeights(l) };
  if (source.codes.length !== target.codes.length)
    throw new WorldlineError(
      `${r.source} and ${r.target} have ${source.codes.length} and ${target.codes.length} codes; recognition weights compare pictures of one size`,
    );
  const dim = source.features.length / source.codes.length;
  return {
    ids: l.ids,
    weights: lossWeights(l, recognitionWeights(featureDistances(source.features, target.features, dim), o.recognition)),
  };
}

/** The examples of a mixture: whole copies first, then, for the fraction of a factor, a part that is drawn anew each epoch. */
export function tripletSet(coder: Coder, codes: Codes, shares: readonly Share[], o: ExampleOptions): ExampleSet {
  const records = shares.flatMap((s) => s.records);
  const sizes: (Shape | undefined)[] = [];
  const entries = (epoch: number): number[] => {
    const out: number[] = [];
    let first = 0;
    for (const [n, { records: own, factor }] of shares.entries()) {
      const all = own.map((_, i) => first + i);
      for (let k = 1; k <= factor; k++) for (const i of all) out.push(i);
      const part = Math.round((factor - Math.floor(factor)) * own.length);
      if (part) out.push(...new Rng(o.seed, `share ${n} of epoch ${epoch}`).shuffle(all).slice(0, part));
      first += own.length;
    }
    return out;
  };
  const phrase = (i: number, epoch: number) =>
    o.templates.length === 1 ? o.templates[0] : new Rng(o.seed, `phrase ${i} of epoch ${epoch}`).pick(o.templates);
  const measure = (i: number): Shape => {
    let [T, scored] = [0, 0];
    for (const template of o.templates) {
      const values = { source: codes.get(records[i].source).codes, target: codes.get(records[i].target).codes, action: records[i].action };
      const l = layoutTemplate(template, values, coder, o.role === "cdm" ? {} : { closeTarget: false, end: "none" });
      T = Math.max(T, l.ids.length);
      scored = Math.max(scored, l.completion.end - l.completion.begin);
    }
    return { T, scored };
  };
  return {
    entries,
    all: records.map((_, i) => i),
    size: (i) => (sizes[i] ??= measure(i)),
    make: (i, epoch) => exampleOf(coder, codes, records[i], phrase(i, epoch), o),
  };
}
