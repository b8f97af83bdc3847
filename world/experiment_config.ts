// What an experiment is: a TOML file that names sizes, seeds and the systems to compare on the embedded world.
import { readFile } from "node:fs/promises";
import { parse } from "smol-toml";
import { z } from "zod";
import { WorldlineError } from "../engine/errors.ts";
import { FAMILIES } from "./tabletop/actions.ts";

const whole = (least: number) => z.number().int().min(least);

/** A world model and how it is used. `verifier`: who picks among k drawings: nobody, the CDM itself, one trained from another seed, or the exact oracle. */
const system = z.strictObject({
  name: z.string().min(1),
  synthetic: z.boolean().default(true),
  weights: z.boolean().default(true),
  epsilon: z.number().min(0).max(1).default(0.8),
  keep: z.number().gt(0).max(1).default(0.4),
  threshold: z.number().max(0).optional(),
  k: whole(1).default(1),
  verifier: z.enum(["none", "self", "other-seed", "oracle"]).default("none"),
});

const experiment = z.strictObject({
  title: z.string().min(1),
  /** What is asked, in a sentence. */
  question: z.string().min(1),
  seeds: z.array(whole(0)).min(1),
  labels: whole(1),
  test: whole(1),
  clips: whole(1),
  clip_actions: z.tuple([whole(1), whole(1)]).default([16, 24]),
  cdm_steps: whole(1),
  cwm_steps: whole(1),
  temperature: z.number().positive().default(0.85),
  /** The families that are tested and reported; all where absent. */
  families: z.array(z.enum(FAMILIES)).min(1).optional(),
  /** Test scenes unlike those of the training: other values of the world's settings. */
  transfer: z.record(z.string(), z.union([z.number(), z.tuple([z.number(), z.number()])])).optional(),
  system: z.array(system).min(1),
});

export type SystemConfig = z.infer<typeof system>;
export type ExperimentConfig = z.infer<typeof experiment>;

/** Reads an experiment. Throws a sentence that names the field that is wrong. */
export function parseExperiment(text: string, name: string): ExperimentConfig {
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new WorldlineError(`${name} is no TOML: ${(error as Error).message.split("\n")[0]}`);
  }
  const result = experiment.safeParse(value);
  if (!result.success) {
    const { path, message } = result.error.issues[0];
    throw new WorldlineError(`${name}: ${path.length ? `${path.join(".")}: ` : ""}${message}`);
  }
  const twice = result.data.system.find((s, i) => result.data.system.findIndex((o) => o.name === s.name) !== i);
  if (twice) throw new WorldlineError(`${name}: two systems are called "${twice.name}"; give each its own name`);
  const idle = result.data.system.find((s) => s.k > 1 && s.verifier === "none");
  if (idle)
    throw new WorldlineError(`${name}: "${idle.name}" draws ${idle.k} pictures but has no verifier to pick one; name one or set k = 1`);
  return result.data;
}

/** Reads an experiment's file. */
export async function readExperiment(path: string): Promise<ExperimentConfig> {
  const text = await readFile(path, "utf8").catch((cause: Error) => {
    throw new WorldlineError(`${path} cannot be read: ${cause.message.split(",")[0]}; check the path`);
  });
  return parseExperiment(text, path);
}

/** The same experiment with every size (labels, clips, steps; not the test) times `scale`, on the seeds given. */
export function resized(config: ExperimentConfig, scale: number, seeds?: readonly number[]): ExperimentConfig {
  const of = (n: number) => Math.max(1, Math.round(n * scale));
  const { labels, clips, cdm_steps, cwm_steps } = config;
  const sizes = { labels: of(labels), clips: of(clips), cdm_steps: of(cdm_steps), cwm_steps: of(cwm_steps) };
  return { ...config, ...sizes, seeds: seeds ? [...seeds] : config.seeds };
}
