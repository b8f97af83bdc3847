// The options of `worldline train` by the names that TRL and transformers users know: one table that checks files, makes the flags and the help,
// and fills defaults and presets. A configuration is a flat object; unknown keys are refused by train/config.ts.
import { z } from "zod";

const positive = z.number().positive("a number above 0 is needed");
const share = z.number().min(0, "a number from 0 to 1 is needed").max(1, "a number from 0 to 1 is needed");
const belowOne = share.lt(1, "a number from 0 up and below 1 is needed");
const notNegative = z.number().min(0, "a number from 0 up is needed");
const count = z.int("a whole number is needed").min(1, "a whole number from 1 up is needed");
const countOrNone = z.int("a whole number is needed").min(0, "a whole number from 0 up is needed");

const patterns = z.union([z.string(), z.array(z.string())]);

/** One file of triplets in the mixture. */
export const dataFile = z.union([
  z.string(),
  z.strictObject({
    path: z.string(),
    /** How often each triplet counts in an epoch; 0.5: another half of them each epoch. */
    factor: positive.default(1),
    /** At most so many, the same in every epoch. */
    max_samples: count.optional(),
    /** Folder that picture paths are relative to; the file's own by default. */
    root: z.string().optional(),
  }),
]);

export const fields = {
  role: z.enum(["cdm", "cft", "cwm"]).describe("cdm: says the action; cft: draws the next picture; cwm: the same with recognition weights"),
  model_name_or_path: z.string().describe("model to start from: a folder or a hub id"),
  output_dir: z.string().describe("run folder: checkpoints, logs and the finished model; a rerun goes on where it stopped"),
  data: z.union([z.string(), z.array(dataFile)]).describe("labelled triplets: JSON lines (id, source, target, action) or AURORA's json"),
  synthetic: z.union([z.string(), z.array(dataFile)]).describe("triplets that `worldline annotate` made, mixed in"),
  eval_data: z.union([z.string(), z.array(dataFile)]).describe("held-out triplets"),
  cache: z.string().describe("file that keeps picture codes and features (default: codes.bin in the run folder)"),
  skip_missing: z.boolean().describe("leave out triplets whose pictures are missing instead of stopping"),
  prompt: z.enum(["plain", "phrases"]).describe("plain: pictures and words alone; phrases: one of ten wordings, drawn for each example"),
  prompt_order: z.enum(["picture_first", "text_first"]).describe("what comes first in the prompt"),
  recognition_epsilon: share.describe("cwm: share of the plain loss in the recognition weights; 1 switches them off"),
  recognition_floor: notNegative.describe("cwm: the mean distance is raised to at least this"),
  loss_normalization: z.enum(["weights", "tokens"]).describe("the summed loss is divided by the weights or by the number of scored tokens"),

  num_train_epochs: positive.describe("passes over the data; counts where max_steps is 0"),
  max_steps: countOrNone.describe("optimizer steps; 0: by num_train_epochs"),
  per_device_train_batch_size: count.describe("examples of a micro-batch"),
  gradient_accumulation_steps: count.describe("micro-batches of a step"),
  learning_rate: positive.describe("peak learning rate"),
  lr_scheduler_type: z.enum(["cosine", "linear", "constant", "constant_with_warmup"]).describe("schedule after the warm-up"),
  warmup_ratio: share.describe("share of the steps that warm up"),
  warmup_steps: countOrNone.describe("steps that warm up; counts before warmup_ratio where above 0"),
  min_lr_rate: share.describe("last learning rate as a share of the peak"),
  weight_decay: notNegative.describe("decoupled weight decay"),
  adam_beta1: belowOne.describe("AdamW's first beta"),
  adam_beta2: belowOne.describe("AdamW's second beta"),
  adam_epsilon: positive.describe("AdamW's epsilon"),
  max_grad_norm: notNegative.describe("clip the global gradient norm; 0: do not"),
  label_smoothing_factor: share.describe("share of the target spread over all ids"),
  z_loss: notNegative.describe("factor of log(sum exp)^2 in the loss"),
  max_skipped_steps: countOrNone.describe("steps that may be passed over because their loss or gradient is no number"),
  seed: countOrNone.describe("seed of data order, phrases, adapter and dropout"),

  use_peft: z.boolean().describe("train a LoRA adapter and leave the base as it is"),
  lora_r: count.describe("rank of the adapter"),
  lora_alpha: positive.describe("LoRA's alpha"),
  lora_dropout: belowOne.describe("dropout before the adapter"),
  use_rslora: z.boolean().describe("scale by alpha / sqrt(r)"),
  target_modules: z.union([z.string(), z.array(z.string())]).describe("layers with an adapter: names, or one pattern on the whole path"),
  modules_to_save: z
    .array(z.enum(["lm_head", "embed_tokens"]))
    .describe("tables trained and saved whole beside the adapter: lm_head, embed_tokens"),
  trainable_parameters: patterns.describe("without use_peft: patterns on parameter names, of which alone is trained, like \\.norm\\."),
  trainable_rows: z
    .string()
    .regex(/^$|^(?:lm_head|embed_tokens):\d+-\d+$/, "a table and its first and last row, like lm_head:4-8195, are needed")
    .describe("without use_peft: rows of lm_head or embed_tokens trained apart from a frozen rest, like lm_head:4-8195"),
  no_decay: patterns.describe("patterns on parameter names that have no weight decay, like norm or bias"),
  gradient_checkpointing: z.boolean().describe("recompute each block in the backward pass: less memory, a third more time"),
  dtype: z
    .enum(["f32", "f16", "bf16", "int8", "int4"])
    .describe("how the base's weights are held; int8 and int4 need use_peft, bf16 and f16 are trained on f32 masters"),

  group_by_length: z.boolean().describe("examples of like length share a batch"),
  max_batch_shapes: count.describe("most batch lengths that plans are made for, with group_by_length"),
  dataloader_num_workers: z.int().min(0).max(1, "0 or 1 is needed").describe("1: a worker thread makes the batches ahead"),
  logging_steps: count.describe("steps between log lines"),
  save_steps: count.describe("steps between checkpoints"),
  save_total_limit: count.describe("checkpoints that are kept"),
  eval_steps: countOrNone.describe("steps between evaluations on eval_data; 0: at the end only"),
  eval_samples: count.describe("held-out triplets whose loss is measured"),
  eval_pictures: countOrNone.describe("held-out triplets drawn (or named) into a picture grid at each evaluation"),
} as const satisfies Record<string, z.ZodType>;

const lists: ReadonlySet<string> = new Set(["target_modules", "modules_to_save", "trainable_parameters", "no_decay"]);

/** How an option is written as a flag. */
export function kindOf(key: keyof typeof fields): "switch" | "number" | "files" | "list" | "text" {
  const field: z.ZodType = fields[key];
  if (field instanceof z.ZodBoolean) return "switch";
  if (field instanceof z.ZodNumber) return "number";
  if (lists.has(key)) return "list";
  return field instanceof z.ZodUnion ? "files" : "text";
}

export const schema = z.strictObject(fields).partial();

/** A configuration as far as it is given. */
export type PartialConfig = z.infer<typeof schema>;

type Required_ = Omit<PartialConfig, "role" | "model_name_or_path" | "output_dir" | "data" | "synthetic" | "eval_data" | "cache">;

/** A whole configuration. */
export type TrainConfig = Required<Required_> &
  Pick<PartialConfig, "synthetic" | "eval_data" | "cache"> &
  Required<Pick<PartialConfig, "role" | "model_name_or_path" | "output_dir" | "data">>;

/** Values where neither a preset, the file nor a flag says otherwise. The optimizer's are those of the tabletop. */
export const defaults: Required<Required_> = {
  skip_missing: false,
  prompt: "plain",
  prompt_order: "text_first",
  recognition_epsilon: 0.8,
  recognition_floor: 0,
  loss_normalization: "weights",
  num_train_epochs: 3,
  max_steps: 0,
  per_device_train_batch_size: 32,
  gradient_accumulation_steps: 1,
  learning_rate: 3e-3,
  lr_scheduler_type: "cosine",
  warmup_ratio: 0.05,
  warmup_steps: 0,
  min_lr_rate: 0.05,
  weight_decay: 0.1,
  adam_beta1: 0.9,
  adam_beta2: 0.98,
  adam_epsilon: 1e-8,
  max_grad_norm: 1,
  label_smoothing_factor: 0,
  z_loss: 0,
  max_skipped_steps: 10,
  seed: 0,
  use_peft: false,
  lora_r: 16,
  lora_alpha: 32,
  lora_dropout: 0.05,
  use_rslora: false,
  target_modules: ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
  modules_to_save: [],
  trainable_parameters: [],
  trainable_rows: "",
  no_decay: [],
  gradient_checkpointing: false,
  dtype: "f32",
  group_by_length: true,
  max_batch_shapes: 3,
  dataloader_num_workers: 1,
  logging_steps: 20,
  save_steps: 500,
  save_total_limit: 2,
  eval_steps: 0,
  eval_samples: 64,
  eval_pictures: 4,
};
