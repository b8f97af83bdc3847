// What experiments share on one seed: the folder with its stages, the picture codes, and the data (labelled triplets, clips with their key frames, test
// scenes), all named by what decides what they hold.

import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Device } from "../engine/device.ts";
import { modelKey } from "./answers.ts";
import { CodeStore, type Progress } from "./codes.ts";
import type { ExperimentConfig } from "./experiment_config.ts";
import { allRead, extractKeyFrames } from "./frames.ts";
import type { Model } from "./model.ts";
import { Stages } from "./stages.ts";
import { writeClips } from "./tabletop/clip_files.ts";
import { writeTriplets } from "./tabletop/dataset.ts";
import { FAMILIES } from "./tabletop/index.ts";
import { makeWorld, type Tabletop } from "./tabletop/world.ts";
import { listVideos } from "./video.ts";

export interface ExperimentHooks {
  readonly say: (text: string) => void;
  readonly progress: (label: string) => Progress;
  readonly signal?: AbortSignal;
}

export interface ExperimentPlace {
  /** Holds one folder a seed; experiments of any sizes may use the same one. */
  readonly folder: string;
  readonly world: Tabletop;
  readonly base: string;
}

/** What experiments share on one seed. */
export interface Seed {
  readonly seed: number;
  readonly stages: Stages;
  readonly codes: CodeStore;
}

/** Opens or begins the folder of a seed. Throws where it belongs to another world or base. */
export async function openSeed(device: Device, base: Model, place: ExperimentPlace, seed: number, { say }: ExperimentHooks): Promise<Seed> {
  const settings = { seed, world: place.world, base: await modelKey(place.base) };
  const stages = await Stages.open(join(place.folder, `seed-${seed}`), settings, { say, now: () => performance.now() });
  return { seed, stages, codes: await CodeStore.open(device, base, stages.path("codes.bin")) };
}

/** What stages and their folders are called: by everything that decides what they hold, beside world, base and seed. */
export type Names = ReturnType<typeof namesOf>;

/** Names for one experiment. */
export function namesOf({ labels, clips, clip_actions, cdm_steps, test, families, transfer }: ExperimentConfig) {
  const labelled = `labels-${labels}`;
  const film = `clips-${clips}-${clip_actions.join("-")}`;
  const cdm = `cdm-${digest(labelled, cdm_steps)}`;
  return {
    labels: labelled,
    film,
    test: `test-${digest(test, families, transfer)}`,
    cdm,
    other: `${cdm}-other-seed`,
    annotated: `annotated-${digest(film, cdm)}.jsonl`,
  };
}

/** The world of an experiment's test scenes. Throws where `transfer` names a setting that there is not, or a value that cannot be. */
export function testedWorld(world: Tabletop, { transfer }: ExperimentConfig): Tabletop {
  return transfer ? makeWorld({ ...world, ...transfer } as Partial<Tabletop>) : world;
}

/** Eight digits that stand for what decides a result. */
export const digest = (...decisive: unknown[]) => createHash("sha256").update(JSON.stringify(decisive)).digest("hex").slice(0, 8);

/** Makes the data of an experiment that is not there yet. */
export async function makeData({ stages, seed }: Seed, config: ExperimentConfig, world: Tabletop, hooks: ExperimentHooks): Promise<void> {
  const names = namesOf(config);
  const { progress, signal } = hooks;
  await stages.run(names.labels, `${config.labels} labelled triplets`, async () => {
    await mkdir(stages.path(names.labels), { recursive: true });
    const options = { name: "labels", count: config.labels, seed, onProgress: progress("labels"), signal };
    await writeTriplets(world, stages.path(names.labels), options);
  });
  await stages.run(names.test, `${config.test} triplets for testing`, async () => {
    await mkdir(stages.path("tests"), { recursive: true });
    // Families come in equal shares, so that those asked for fill the test.
    const count = config.test * (config.families ? Math.ceil(FAMILIES.length / config.families.length) : 1);
    const options = { name: names.test, count, seed: 3000 + seed, onProgress: progress("test"), signal };
    await writeTriplets(testedWorld(world, config), stages.path("tests"), options);
  });
  await stages.run(names.film, `${config.clips} clips`, async () => {
    await mkdir(stages.path(names.film), { recursive: true });
    const options = {
      count: config.clips,
      seed,
      actions: [...config.clip_actions] as [number, number],
      onProgress: progress("clips"),
      signal,
    };
    await writeClips(world, stages.path(names.film, "clips"), options);
  });
  await stages.run(`frames of ${names.film}`, "key frames of the clips", async () => {
    const videos = await listVideos([stages.path(names.film, "clips")]);
    const show = progress("key frames");
    const hear = { onProgress: (p: { done: number; total: number }) => show(p.done, p.total), signal };
    allRead(await extractKeyFrames(videos, stages.path(names.film, "frames"), { keyFrames: "rest" }, hear));
  });
}
