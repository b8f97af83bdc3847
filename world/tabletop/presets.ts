// The three sizes of the demo: `quick` shows that every stage works, `default` shows the method, `full` is the richer world over three seeds.
import { defaultTraining, type TrainOptions } from "../../train/loop.ts";
import { type BaseSettings, defaultBase } from "./base.ts";
import { defaultWorld, fullWorld, type Tabletop } from "./world.ts";

export interface DemoSettings {
  readonly labels: number;
  readonly test: number;
  /** Names the test scenes: settings are tuned on one seed and reported on another. */
  readonly testSeed: number;
  /** Clips of unlabelled video, and actions in each. */
  readonly clips: number;
  readonly clipActions: readonly [number, number];
  readonly cdm: TrainOptions;
  readonly cwm: TrainOptions;
  /** Share of annotated pairs that the filter keeps, and how often labelled triplets count beside them. */
  readonly keep: number;
  readonly labelRepeats: number;
  readonly epsilon: number;
  readonly temperature: number;
  readonly candidates: number;
  readonly seeds: readonly number[];
  /** Whether to train the two single-component ablations. */
  readonly ablations: boolean;
}

export interface Preset {
  readonly world: Tabletop;
  readonly base: BaseSettings;
  readonly demo: DemoSettings;
}

const defaultDemo: DemoSettings = {
  labels: 2000,
  test: 200,
  testSeed: 4000,
  clips: 300,
  clipActions: [16, 24],
  cdm: { ...defaultTraining, steps: 2000 },
  cwm: { ...defaultTraining, steps: 1200, divideBy: "tokens" },
  keep: 0.4,
  labelRepeats: 2,
  epsilon: 0.8,
  temperature: 0.85,
  candidates: 8,
  seeds: [0],
  ablations: true,
};

export type PresetName = "quick" | "default" | "full";

export const presets: Readonly<Record<PresetName, Preset>> = {
  default: { world: defaultWorld, base: defaultBase, demo: defaultDemo },
  quick: {
    world: defaultWorld,
    base: defaultBase,
    demo: {
      ...defaultDemo,
      labels: 100,
      test: 20,
      clips: 6,
      clipActions: [6, 8],
      cdm: { ...defaultDemo.cdm, steps: 60 },
      cwm: { ...defaultDemo.cwm, steps: 60 },
    },
  },
  full: {
    world: fullWorld,
    base: {
      ...defaultBase,
      // Wider where pictures are small and width costs little: 30 kinds are drawn out of 16 numbers a cell.
      vq: { ...defaultBase.vq, codes: 128, channelMultiplier: [1, 1, 2, 3, 3] },
      lm: { hidden: 96, intermediate: 256, layers: 6, heads: 3, ropeTheta: 60 },
      documents: { scenes: 10000, frames: 10000 },
      copySteps: 600,
      vqTraining: {
        ...defaultBase.vqTraining,
        plain: { ...defaultBase.vqTraining.plain, learningRate: 1.5e-3, steps: 4000 },
        quantized: { ...defaultBase.vqTraining.quantized, learningRate: 8e-4, steps: 1500 },
      },
      vqGrid: 3,
      lmTraining: { ...defaultBase.lmTraining, learningRate: 4e-3, steps: 3000 },
    },
    demo: {
      ...defaultDemo,
      testSeed: 5000,
      labels: 12000,
      clips: 1000,
      cdm: { ...defaultDemo.cdm, learningRate: 2e-3, steps: 5000 },
      cwm: { ...defaultDemo.cwm, learningRate: 2e-3, steps: 3000 },
      seeds: [0, 1, 2],
    },
  },
};

/** The folder of the base that comes with the package for a preset. */
export function shippedBase(preset: PresetName): URL {
  return new URL(`./${preset === "full" ? "base_full" : "base"}/`, import.meta.url);
}
