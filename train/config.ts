// Configurations of training runs: one TOML or JSON file, strictly checked, under flags and over a preset and the defaults. A fault is one sentence
// with file, line, the key as written, and what was expected.
import { parse, stringify, TomlError } from "smol-toml";
import type { z } from "zod";
import { WorldlineError } from "../engine/errors.ts";
import type { TrainOptions } from "./loop.ts";
import { defaults, fields, type PartialConfig, schema, type TrainConfig } from "./options.ts";
import { presets } from "./presets.ts";

/** Reads the text of a configuration file; `name` ends in .json or .toml and opens messages. */
export function parseConfigFile(text: string, name: string): PartialConfig {
  const json = name.endsWith(".json");
  if (!json && !name.endsWith(".toml")) throw new WorldlineError(`${name}: a configuration ends in .toml or .json; rename the file`);
  let value: unknown;
  try {
    value = json ? JSON.parse(text) : parse(text);
  } catch (cause) {
    const at = cause instanceof TomlError ? `${name}:${cause.line}` : name;
    throw new WorldlineError(`${at}: this is no ${json ? "JSON" : "TOML"} (${(cause as Error).message.split("\n")[0]}); correct the file`);
  }
  return check(value, (key) => `${name}${lineOf(text, key)}`);
}

/** Checks an object that came from a file or flags; `where` opens the message about a key. */
export function check(value: unknown, where: (key: string) => string): PartialConfig {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw new WorldlineError(sentence(result.error.issues[0], value, where));
}

/** The first fault as one sentence. */
function sentence(issue: z.core.$ZodIssue, value: unknown, where: (key: string) => string): string {
  const path = issue.path.map(String);
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0];
    const known = path.length ? ["path", "factor", "max_samples", "root"] : Object.keys(fields);
    const place = path.length ? ` in ${path.join(".")}` : "";
    return `${where(key)}: there is no option "${key}"${place}${likeliest(key, known)}`;
  }
  if (issue.code === "invalid_union" && issue.errors) {
    // A union of a text and a list or table: the branch that got furthest says most.
    const inner = issue.errors.flat().sort((a, b) => b.path.length - a.path.length)[0];
    if (inner && (inner.path.length > 0 || inner.code === "unrecognized_keys"))
      return sentence({ ...inner, path: [...issue.path, ...inner.path] }, value, where);
  }
  const given = path.reduce<unknown>((v, key) => (v as Record<string, unknown> | undefined)?.[key], value);
  const wanted =
    issue.code === "invalid_type"
      ? `${issue.expected === "int" ? "a whole number" : `a ${issue.expected}`} is needed`
      : issue.code === "invalid_value"
        ? `one of ${issue.values.map((v) => JSON.stringify(v)).join(", ")} is needed`
        : issue.code === "invalid_union"
          ? "a path, or a list of paths or tables with path, factor, max_samples, root is needed"
          : issue.message;
  return `${where(path[0] ?? "")}: ${path.join(".") || "the configuration"} is ${JSON.stringify(given) ?? "not set"}; ${wanted}`;
}

/** ", did you mean ...?" where a known key is near. */
function likeliest(key: string, known: readonly string[]): string {
  const plain = (s: string) => s.toLowerCase().replaceAll("-", "_");
  const near = known.map((name) => ({ name, far: distance(plain(key), name) })).sort((a, b) => a.far - b.far)[0];
  return near.far <= Math.max(2, key.length / 3) ? `; did you mean "${near.name}"?` : "; see worldline train --help for all of them";
}

/** Edits between two words (Levenshtein). */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
    row = next;
  }
  return row[b.length];
}

function lineOf(text: string, key: string): string {
  const name = key.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const line = text.split("\n").findIndex((l) => new RegExp(`(^|[\\s{,"'[])${name}["'\\]]*\\s*[=:\\]]`).test(l));
  return line < 0 ? "" : `:${line + 1}`;
}

/** The values of a preset. */
export function presetConfig(name: string): PartialConfig {
  if (!Object.hasOwn(presets, name))
    throw new WorldlineError(
      `there is no preset "${name}"${likeliest(name, Object.keys(presets))}; known are ${Object.keys(presets).join(", ")}`,
    );
  return Object.fromEntries(Object.entries(presets[name]).map(([key, [value]]) => [key, value])) as PartialConfig;
}

/** Later parts win. What is missing and has no default is named. */
export function wholeConfig(...parts: readonly PartialConfig[]): TrainConfig {
  const given = parts.map((p) => Object.fromEntries(Object.entries(p).filter(([, v]) => v !== undefined)));
  const all: PartialConfig = Object.assign({}, defaults, ...given);
  for (const [key, flag] of [
    ["role", "a role (cdm, cft or cwm)"],
    ["model_name_or_path", "--model"],
    ["data", "--data"],
    ["output_dir", "--out"],
  ] as const)
    if (all[key] === undefined) throw new WorldlineError(`${key} is not set; give ${flag} or set it in the configuration file`);
  const chosen = all.trainable_rows !== "" || listOf(all.trainable_parameters).length > 0;
  if (all.use_peft && chosen)
    throw new WorldlineError(
      "use_peft trains an adapter, but trainable_parameters or trainable_rows choose from the model; leave one of the two out (modules_to_save trains a table beside an adapter)",
    );
  if (all.dtype?.startsWith("int") && !all.use_peft)
    throw new WorldlineError(
      `dtype is "${all.dtype}" but ${chosen ? "weights" : "all weights"} are to be trained; set use_peft for an adapter, or dtype "f32", "bf16" or "f16"`,
    );
  return all as TrainConfig;
}

/** One pattern or several as a list; none where empty. */
export const listOf = (value: string | readonly string[] | undefined): readonly string[] => [value ?? []].flat().filter((v) => v !== "");

/** A configuration as TOML that gives the same one back; with a preset's sources as comments. */
export function printConfig(c: PartialConfig, preset?: string): string {
  const sources = preset ? presets[preset] : {};
  const fromPreset = preset ? presetConfig(preset) : {};
  const lines = Object.keys(fields).flatMap((name) => {
    const key = name as keyof PartialConfig;
    const value = c[key];
    if (value === undefined || (Array.isArray(value) && value.some((v) => typeof v === "object"))) return [];
    const same = JSON.stringify(value) === JSON.stringify(fromPreset[key]);
    const source = same && sources[key] ? ` # ${sources[key][1]}` : "";
    return [stringify({ [name]: value }).trimEnd() + source];
  });
  const tables = (["data", "synthetic", "eval_data"] as const).flatMap((key) => {
    const value = c[key];
    if (!Array.isArray(value) || !value.some((v) => typeof v === "object")) return [];
    return value.map((v) => `\n[[${key}]]\n${stringify(typeof v === "string" ? { path: v } : v).trimEnd()}`);
  });
  return `${[...lines, ...tables].join("\n")}\n`;
}

/** What the loop needs, for `examples` in an epoch. */
export function trainOptions(c: TrainConfig, examples: number): TrainOptions {
  const perStep = c.per_device_train_batch_size * c.gradient_accumulation_steps;
  return {
    steps: c.max_steps || Math.ceil((examples * c.num_train_epochs) / perStep),
    batch: c.per_device_train_batch_size,
    accumulate: c.gradient_accumulation_steps,
    learningRate: c.learning_rate,
    type: c.lr_scheduler_type === "constant_with_warmup" ? "constant" : c.lr_scheduler_type,
    warmupRatio: c.lr_scheduler_type === "constant" ? 0 : c.warmup_ratio,
    ...(c.warmup_steps > 0 && c.lr_scheduler_type !== "constant" ? { warmupSteps: c.warmup_steps } : {}),
    floor: c.min_lr_rate,
    weightDecay: c.weight_decay,
    ...(listOf(c.no_decay).length ? { noDecay: listOf(c.no_decay) } : {}),
    betas: [c.adam_beta1, c.adam_beta2],
    epsilon: c.adam_epsilon,
    clip: c.max_grad_norm,
    divideBy: c.loss_normalization,
    recompute: c.gradient_checkpointing,
    labelSmoothing: c.label_smoothing_factor,
    zLoss: c.z_loss,
    maxSkipped: c.max_skipped_steps,
    seed: c.seed,
    logEvery: c.logging_steps,
    saveEvery: c.save_steps,
    evalEvery: c.eval_steps,
  };
}
