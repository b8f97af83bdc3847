// The world model's role: p(target picture | source, action). Training examples with the loss on the target's codes, weighted by the recognition
// model if asked, and candidates: K target pictures sampled from one shared prompt.
import type { Device } from "../engine/device.ts";
import { Generator, type SamplingOptions } from "../models/generate.ts";
import { fixedRules } from "../models/rules.ts";
import { layoutTemplate, lossWeights } from "../tokenizer/prompt.ts";
import type { Template } from "../tokenizer/templates.ts";
import { allowedIds, idsToCodes } from "../tokenizer/vocab.ts";
import type { Example } from "../train/data.ts";
import type { CodeStore, Progress } from "./codes.ts";
import type { Model } from "./model.ts";
import { featureDistances, type RecognitionOptions, recognitionWeights } from "./recognition.ts";
import type { TripletRecord } from "./records.ts";

/** Loss weights of a pair's target codes, in raster order. */
export function pairWeights(
  model: Model,
  codes: CodeStore,
  pair: { source: string; target: string },
  options: RecognitionOptions,
): Float32Array {
  const dim = model.vqgan.config.embedDim;
  return recognitionWeights(featureDistances(codes.get(pair.source).features, codes.get(pair.target).features, dim), options);
}

/** Training examples: the loss covers the target's codes; with `recognition` each code has its weight (equation 2). */
export function cwmExamples(
  model: Model,
  codes: CodeStore,
  records: readonly TripletRecord[],
  recognition?: RecognitionOptions,
  template: Template | string = "cwm",
): Example[] {
  return records.map((r) => {
    const values = { source: codes.get(r.source).codes, target: codes.get(r.target).codes, action: r.action };
    const l = layoutTemplate(template, values, model, { closeTarget: false, end: "none" });
    return { ids: l.ids, weights: lossWeights(l, recognition && pairWeights(model, codes, r, recognition)) };
  });
}

export interface CandidateOptions {
  readonly sampling: SamplingOptions;
  readonly candidates: number;
  readonly batch: number;
  readonly template?: Template | string;
  readonly onProgress?: Progress;
  readonly signal?: AbortSignal;
}

/** What a world model drew for one request: candidates as codes, `columns` codes wide, with their log-probabilities. */
export interface Drawn {
  readonly codes: Uint32Array[];
  readonly logprobs: number[];
  readonly columns: number;
}

/** Draws K candidates of the picture that follows `source` under `action`. */
export async function draw(
  device: Device,
  model: Model,
  codes: CodeStore,
  requests: readonly { readonly source: string; readonly action: string }[],
  options: CandidateOptions,
): Promise<Drawn[]> {
  const { batch, candidates, template = "cwm" } = options;
  if (requests.length === 0) return [];
  const prompts = requests.map((r) => layoutTemplate(template, { source: codes.get(r.source).codes, action: r.action }, model).ids);
  const longest = prompts.reduce((a, p) => Math.max(a, p.length), 0);
  const cells = codes.get(requests[0].source).codes.length;
  const shape = {
    prompts: batch,
    branches: candidates,
    promptTokens: longest,
    newTokens: cells,
    rules: fixedRules(allowedIds(model.vocab, "image")),
  };
  const generator = await Generator.make(device, model.lm, shape);
  const out: Drawn[] = [];
  for (let i = 0; i < requests.length; i += batch) {
    options.signal?.throwIfAborted();
    const streams = Uint32Array.from({ length: batch * candidates }, (_, n) => i * candidates + n);
    const results = await generator.run(prompts.slice(i, i + batch), options.sampling, { streams, signal: options.signal });
    for (const [n, branches] of results.entries()) {
      const drawn = branches.map((b) => idsToCodes(model.vocab, b.ids));
      const logprobs = branches.map((b) => b.logprobs.reduce((a, v) => a + v, 0));
      out.push({ codes: drawn, logprobs, columns: codes.get(requests[i + n].source).columns });
    }
    options.onProgress?.(out.length, requests.length);
  }
  generator.destroy();
  return out;
}
