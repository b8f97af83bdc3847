// The world model's role: p(target picture | source, action). Loss weights by the recognition model, and candidates: K target pictures sampled from
// one shared prompt.
import type { Device } from "../engine/device.ts";
import { Generator, type SamplingOptions } from "../models/generate.ts";
import { fixedRules } from "../models/rules.ts";
import { layoutTemplate } from "../tokenizer/prompt.ts";
import type { Template } from "../tokenizer/templates.ts";
import { allowedIds, idsToCodes } from "../tokenizer/vocab.ts";
import type { Codes, Progress } from "./codes.ts";
import { type Model, promptOf } from "./model.ts";
import { featureDistances, type RecognitionOptions, recognitionWeights } from "./recognition.ts";

/** Loss weights of a pair's target codes, in raster order. */
export function pairWeights(
  model: Pick<Model, "vqgan">,
  codes: Codes,
  pair: { source: string; target: string },
  options: RecognitionOptions,
): Float32Array {
  const dim = model.vqgan.config.embedDim;
  return recognitionWeights(featureDistances(codes.get(pair.source).features, codes.get(pair.target).features, dim), options);
}

export interface CandidateOptions {
  readonly sampling: SamplingOptions;
  readonly candidates: number;
  readonly batch: number;
  /** Where the first request stands in a longer list, so that a part draws what the whole would. */
  readonly first?: number;
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
  codes: Codes,
  requests: readonly { readonly source: string; readonly action: string }[],
  options: CandidateOptions,
): Promise<Drawn[]> {
  const { batch, candidates, template = promptOf(model, "cwm") } = options;
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
    const streams = Uint32Array.from({ length: batch * candidates }, (_, n) => ((options.first ?? 0) + i) * candidates + n);
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
