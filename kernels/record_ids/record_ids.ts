// Keeps the ids and log-probabilities that a decode step chose, so that many steps can be in flight before the host reads anything.
import { kernel } from "../kernel.ts";

export const recordIds = kernel({
  name: "record_ids",
  source: new URL("./record_ids.wgsl", import.meta.url),
  reads: ["id", "logprob"],
  writes: ["current", "ids", "logprobs"],
  params: { R: "u32", step: "u32" },
  types: { id: "u32", current: "u32", ids: "u32" },
  consts: { WG: 64 },
  grid: ({ R }, { WG }) => [Math.ceil(R / WG)],
});
