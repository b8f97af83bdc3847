// generation_config.json: how a model's makers advise to sample from it. Published files hold little; every field is optional.

import { WorldlineError } from "../engine/errors.ts";
import { type Fields, fieldsOf } from "./fields.ts";
import { quote } from "./source.ts";

/** What the file says; what it does not say is absent. */
export interface GenerationConfig {
  readonly doSample?: boolean;
  readonly temperature?: number;
  readonly topK?: number;
  readonly topP?: number;
  readonly repetitionPenalty?: number;
  readonly maxNewTokens?: number;
  readonly maxLength?: number;
  /** Ids that end a text. `bos_token_id` is not read: published files give the library's wrong default. */
  readonly eosIds?: readonly number[];
  readonly padId?: number;
}

/** Reads generation_config.json. Throws a WorldlineError for values that cannot be meant. */
export function parseGenerationConfig(json: Record<string, unknown>, where = "generation_config.json"): GenerationConfig {
  const f = fieldsOf(json, where);
  const within = (name: string, low: number, high: number) => {
    if (!f.has(name)) return undefined;
    const value = f.number(name);
    if (value < low || value > high) throw f.refuse(name, `a number from ${low} to ${high}`);
    return value;
  };
  const eos = json.eos_token_id;
  const fields = {
    doSample: f.has("do_sample") ? f.flag("do_sample") : undefined,
    temperature: within("temperature", 0, 1000),
    topK: f.has("top_k") ? (f.id("top_k") ?? undefined) : undefined,
    topP: within("top_p", 0, 1),
    repetitionPenalty: within("repetition_penalty", 1e-3, 1000),
    maxNewTokens: f.has("max_new_tokens") ? f.count("max_new_tokens") : undefined,
    maxLength: f.has("max_length") ? f.count("max_length") : undefined,
    eosIds: eos === undefined || eos === null ? undefined : idList(f, eos, where),
    padId: f.id("pad_token_id") ?? undefined,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function idList(f: Fields, value: unknown, where: string): number[] {
  if (!Array.isArray(value)) return [f.id("eos_token_id") ?? 2];
  if (value.every((id) => Number.isSafeInteger(id) && id >= 0)) return value as number[];
  throw new WorldlineError(`${where}: eos_token_id is ${quote(value)}, token ids are needed; correct the file`);
}
