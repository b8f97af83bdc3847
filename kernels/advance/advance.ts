// What a decode step leaves for the next one: the history of chosen ids and log-probabilities, positions, and which mask the next draw uses by the
// rules of pictures in a sequence. So many steps can be in flight before the host reads anything.
import { kernel } from "../kernel.ts";

/** Sections of `rows`, each `stride` words: the first two hold R values for each copy, the others R. */
export const rowSections = ["current", "positions", "mode", "since", "room", "done"] as const;
/** Words of `rules` before the bits of the ids that stop a row: eight entries of the table, and the mask of a row that is done. */
export const ruleWords = 9;

export const advance = kernel({
  name: "advance",
  source: new URL("./advance.wgsl", import.meta.url),
  reads: ["id", "logprob", "rules"],
  writes: ["rows", "seen", "history"],
  params: { R: "u32", copies: "u32", stride: "u32", step: "u32", picture: "u32", boi: "u32", seenWords: "u32" },
  types: { id: "u32", rules: "u32", rows: "u32", seen: "u32", history: "u32" },
  consts: { WG: 64 },
  grid: ({ R }, { WG }) => [Math.ceil(R / WG)],
});
