// Verification at inference (paper section 3.3): each candidate picture is scored by the dynamics model with p(action | source, candidate) and the
// best is kept. The candidates of one request share the prefilled source picture.
import type { Device } from "../engine/device.ts";
import { type Scored, Scorer } from "../models/score.ts";
import { layoutTemplate, lossWeights } from "../tokenizer/prompt.ts";
import type { Template } from "../tokenizer/templates.ts";
import type { Codes, Progress } from "./codes.ts";
import type { Drawn } from "./cwm.ts";
import { type Model, promptOf } from "./model.ts";

/** Mean log-probability of the action for every candidate: result[request][candidate]. */
export async function verify(
  device: Device,
  model: Model,
  codes: Codes,
  requests: readonly { readonly source: string; readonly action: string }[],
  drawn: readonly Drawn[],
  options: { batch: number; template?: Template | string; onProgress?: Progress; signal?: AbortSignal },
): Promise<number[][]> {
  if (requests.length === 0) return [];
  const groups = requests.map((r, i) => groupOf(model, codes, r, drawn[i], options.template ?? promptOf(model, "cdm")));
  const count = (weights: Float32Array) => weights.reduce((a, w) => a + (w !== 0 ? 1 : 0), 0);
  const all = groups.flatMap((g) => g.candidates);
  const most = (list: readonly number[]) => list.reduce((a, v) => Math.max(a, v), 0);
  const scorer = await Scorer.make(device, model.lm, {
    prompts: options.batch,
    branches: most(groups.map((g) => g.candidates.length)),
    prefixTokens: most(groups.map((g) => g.prefix.length)),
    tokens: most(all.map((c) => c.ids.length)),
    scored: most(all.map((c) => count(c.weights))),
  });
  const out: number[][] = [];
  for (let i = 0; i < groups.length; i += options.batch) {
    options.signal?.throwIfAborted();
    const scores = await scorer.run(groups.slice(i, i + options.batch));
    for (const s of scores) out.push(s.map((c) => c.mean));
    options.onProgress?.(out.length, groups.length);
  }
  scorer.destroy();
  return out;
}

function groupOf(
  model: Model,
  codes: Codes,
  request: { source: string; action: string },
  drawn: Drawn,
  template: Template | string,
): { prefix: Uint32Array; candidates: Scored[] } {
  let prefix = new Uint32Array(0);
  const candidates = drawn.codes.map((target) => {
    const l = layoutTemplate(template, { source: codes.get(request.source).codes, target, action: request.action }, model);
    const end = l.spans.find((s) => s.slot === "source")!.end;
    prefix = l.ids.slice(0, end);
    return { ids: l.ids.slice(end), weights: lossWeights(l).slice(end) };
  });
  return { prefix, candidates };
}

/** Index of the best score, the first on a tie. */
export function bestOf(scores: readonly number[]): number {
  return scores.reduce((best, s, i) => (s > scores[best] ? i : best), 0);
}
