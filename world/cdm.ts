// The dynamics model's role: p(action | source, target). Annotation: the action a CDM reads off each unlabelled pair, with its log-probability.
import type { Device } from "../engine/device.ts";
import { Generator, type SamplingOptions } from "../models/generate.ts";
import { fixedRules } from "../models/rules.ts";
import { layoutTemplate } from "../tokenizer/prompt.ts";
import type { Template } from "../tokenizer/templates.ts";
import { allowedIds } from "../tokenizer/vocab.ts";
import type { Codes, Progress } from "./codes.ts";
import { type Model, promptOf } from "./model.ts";
import type { AnnotatedRecord, PairRecord } from "./records.ts";

export interface AnnotateOptions {
  readonly sampling: SamplingOptions;
  /** Longest action in tokens. */
  readonly maxTokens: number;
  readonly batch: number;
  readonly template?: Template | string;
  readonly onProgress?: Progress;
  readonly signal?: AbortSignal;
}

export const defaultAnnotate: AnnotateOptions = { sampling: { temperature: 0, seed: 0 }, maxTokens: 24, batch: 64 };

/** Labels pairs with the action the CDM finds most likely (or samples), with summed and mean log-probability over its tokens and eos. */
export async function annotate(
  device: Device,
  model: Model,
  codes: Codes,
  pairs: readonly PairRecord[],
  options: AnnotateOptions,
): Promise<AnnotatedRecord[]> {
  const { batch, maxTokens, template = promptOf(model, "cdm") } = options;
  if (pairs.length === 0) return [];
  const prompts = pairs.map(
    (p) => layoutTemplate(template, { source: codes.get(p.source).codes, target: codes.get(p.target).codes }, model).ids,
  );
  const longest = prompts.reduce((a, p) => Math.max(a, p.length), 0);
  const shape = {
    prompts: batch,
    branches: 1,
    promptTokens: longest,
    newTokens: maxTokens,
    rules: fixedRules(allowedIds(model.vocab, "text"), model.vocab.eos),
  };
  const generator = await Generator.make(device, model.lm, shape);
  const out: AnnotatedRecord[] = [];
  for (let i = 0; i < pairs.length; i += batch) {
    options.signal?.throwIfAborted();
    const part = prompts.slice(i, i + batch);
    const streams = Uint32Array.from({ length: batch }, (_, n) => i + n);
    const results = await generator.run(part, options.sampling, { streams, signal: options.signal });
    results.forEach(([c], n) => {
      const logprob = c.logprobs.reduce((a, v) => a + v, 0);
      const tokens = c.logprobs.length;
      out.push({ ...pairs[i + n], action: model.tokenizer.decode(c.ids), logprob, mean_logprob: logprob / tokens, tokens });
    });
    options.onProgress?.(out.length, pairs.length);
  }
  generator.destroy();
  return out;
}
