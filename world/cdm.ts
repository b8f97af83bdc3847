// The dynamics model's role: p(action | source, target). Annotation: the action a CDM reads off each unlabelled pair, with its log-probability.
import type { Device } from "../engine/device.ts";
import { type Continuation, Generator, type SamplingOptions } from "../models/generate.ts";
import { fixedRules } from "../models/rules.ts";
import { layoutTemplate } from "../tokenizer/prompt.ts";
import type { Template } from "../tokenizer/templates.ts";
import { allowedIds } from "../tokenizer/vocab.ts";
import { AnswerStore, contentKey } from "./answers.ts";
import type { Codes, Progress } from "./codes.ts";
import { type Model, promptOf } from "./model.ts";
import type { AnnotatedRecord, PairRecord } from "./records.ts";

/** What a CDM read off a pair: the words, and the summed log-probability of its tokens and eos. */
export interface Answer {
  readonly action: string;
  readonly logprob: number;
  readonly tokens: number;
}

export interface AnnotateOptions {
  readonly sampling: SamplingOptions;
  /** Longest action in tokens. */
  readonly maxTokens: number;
  readonly batch: number;
  readonly template?: Template | string;
  /** What was answered before; each pair's content is asked about once. `modelName` tells apart whose answers they are. */
  readonly answers?: AnswerStore<Answer>;
  readonly modelName?: string;
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
  const { answers = await AnswerStore.open<Answer>(), modelName = "" } = options;
  const how = JSON.stringify([options.sampling, maxTokens, longest]);
  const keys = prompts.map((p) => contentKey(modelName, how, p));
  const open = [...new Map(keys.map((key, i) => [key, i])).values()].filter((i) => !answers.get(keys[i])).sort((i, j) => i - j);
  const begun = keys.filter((key) => answers.get(key)).length;
  options.onProgress?.(begun, pairs.length);
  const generator = open.length ? await Generator.make(device, model.lm, shape) : undefined;
  for (let at = 0; at < open.length; at += batch) {
    options.signal?.throwIfAborted();
    const part = open.slice(at, at + batch);
    // A row's draws follow its content, so that they do not depend on what else is asked or was answered before.
    const streams = Uint32Array.from({ length: batch }, (_, n) => Number.parseInt(keys[part[n] ?? part[0]].slice(0, 8), 16));
    const results = await generator!.run(
      part.map((i) => prompts[i]),
      options.sampling,
      { streams, signal: options.signal },
    );
    await answers.add(results.map(([c], n) => [keys[part[n]], answerOf(model, c)]));
    options.onProgress?.(keys.filter((key) => answers.get(key)).length, pairs.length);
  }
  generator?.destroy();
  return pairs.map((pair, i) => {
    const { action, logprob, tokens } = answers.get(keys[i])!;
    return { ...pair, action, logprob, mean_logprob: logprob / tokens, tokens };
  });
}

function answerOf(model: Model, { ids, logprobs }: Continuation): Answer {
  return { action: model.tokenizer.decode(ids), logprob: logprobs.reduce((a, v) => a + v, 0), tokens: logprobs.length };
}
