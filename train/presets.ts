// Presets of `worldline train` and `worldline plan`: the paper's recipes (arXiv 2506.06006v3, appendix H) and the tabletop's. Each value names where
// it comes from; where the paper is silent it says so and what was chosen instead.
import type { PartialConfig } from "./options.ts";

/** A value and its source. */
type Sourced<T> = readonly [value: T, source: string];
export type Preset = { readonly [K in keyof PartialConfig]?: Sourced<NonNullable<PartialConfig[K]>> };

const transformers = "not in the paper; transformers' default";

/** What all three of the paper's recipes share. */
const paper = {
  model_name_or_path: ["leloy/Anole-7b-v0.1-hf", "H.1 to H.3: all start from Anole-7B"],
  prompt: ["phrases", "the paper formats samples as an editing or prediction task; wordings are ours"],
  prompt_order: ["picture_first", "not in the paper; as the authors' training files for AURORA"],
  lr_scheduler_type: ["cosine", "H.1 to H.3"],
  min_lr_rate: [0, "not in the paper; the cosine's own end"],
  per_device_train_batch_size: [1, "not in the paper; one triplet of 2,100 tokens on one GPU"],
  weight_decay: [0, transformers],
  adam_beta1: [0.9, transformers],
  adam_beta2: [0.999, transformers],
  adam_epsilon: [1e-8, transformers],
  max_grad_norm: [1, transformers],
  use_peft: [true, "H.1 to H.3"],
  lora_r: [16, "H.1 to H.3"],
  lora_alpha: [32, "H.1 to H.3"],
  lora_dropout: [0.05, "H.1 to H.3"],
  target_modules: [
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
    "not in the paper; every linear layer of attention and MLP",
  ],
  dtype: ["bf16", "H.1 to H.3: bf16 mixed precision"],
  gradient_checkpointing: [true, "not in the paper; fits one GPU"],
  logging_steps: [10, "ours"],
  save_steps: [100, "ours"],
} as const satisfies Preset;

const drawing = {
  ...paper,
  num_train_epochs: [40, "H.2, H.3"],
  gradient_accumulation_steps: [96, "H.2, H.3: batch 96"],
  learning_rate: [5e-4, "H.2, H.3"],
  warmup_steps: [400, "H.2, H.3"],
  loss_normalization: ["tokens", "equation 2 sums over the target's tokens; so the weights change the size of the loss"],
} as const satisfies Preset;

const tabletop = {
  num_train_epochs: [1, "unused: max_steps"],
  per_device_train_batch_size: [32, "demo, default preset"],
  learning_rate: [3e-3, "demo, default preset"],
  lr_scheduler_type: ["cosine", "demo, default preset"],
  warmup_ratio: [0.05, "demo, default preset"],
  min_lr_rate: [0.05, "demo, default preset"],
  weight_decay: [0.1, "demo, default preset"],
  adam_beta2: [0.98, "demo, default preset"],
} as const satisfies Preset;

const tabletopDrawing = {
  ...tabletop,
  max_steps: [1200, "demo, default preset"],
  loss_normalization: ["tokens", "demo, default preset"],
} as const satisfies Preset;

export const presets: Readonly<Record<string, Preset>> = {
  "paper-cdm": {
    ...paper,
    role: ["cdm", "H.1"],
    num_train_epochs: [10, "H.1"],
    gradient_accumulation_steps: [64, "H.1: batch 64"],
    learning_rate: [2e-4, "H.1"],
    warmup_steps: [500, "H.1"],
    loss_normalization: ["weights", "mean over the action's tokens"],
  },
  "paper-cft": { ...drawing, role: ["cft", "H.2"] },
  "paper-cwm": {
    ...drawing,
    role: ["cwm", "H.3"],
    recognition_epsilon: [0.8, "not in the paper, whose weights are bare distances; chosen on the tabletop (docs/log.md)"],
  },
  "tabletop-cdm": {
    ...tabletop,
    role: ["cdm", "demo"],
    max_steps: [1600, "demo, default preset"],
    loss_normalization: ["weights", "demo"],
  },
  "tabletop-cft": { ...tabletopDrawing, role: ["cft", "demo"] },
  "tabletop-cwm": { ...tabletopDrawing, role: ["cwm", "demo"], recognition_epsilon: [0.8, "demo, default preset"] },
};
