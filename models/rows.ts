// Rows of the head or the token table trained apart from the rest, which stays frozen in whatever type it is stored: Anole (arXiv 2407.06135) trained only
// the head's picture rows, ids 4 ... 8195. Gradients and moments are those of the rows alone.
import type { Device } from "../engine/device.ts";
import { WorldlineError } from "../engine/errors.ts";
import { embedding } from "../engine/ops/index.ts";
import type { Rng } from "../engine/rng.ts";
import { Tape } from "../engine/tape.ts";
import type { Chameleon, Table } from "./chameleon.ts";

export interface RowChoice {
  readonly of: "lm_head" | "model.embed_tokens";
  /** The first id, and how many. */
  readonly first: number;
  readonly count: number;
}

/**
 * The model with rows of a table apart, as a view that shares everything else: they begin as the table's own, or, given a generator, normal with deviation
 * sqrt(2 / C) as Anole's. Their name is `<of>.rows.weight`. Tied tables share their rows.
 */
export async function withRows(device: Device, model: Chameleon, { of, first, count }: RowChoice, fresh?: Rng): Promise<Chameleon> {
  const { vocabSize: V, hidden: C, tieWordEmbeddings: tied } = model.config;
  if (!(Number.isInteger(first) && Number.isInteger(count) && first >= 0 && count >= 1 && first + count <= V))
    throw new WorldlineError(`rows ${first} to ${first + count - 1} of ${of}: they must lie within 0 to ${V - 1}; choose others`);
  const table: Table = of === "lm_head" ? model.lm_head : model.model.embed_tokens;
  const weight = device.tensor([count, C], { name: `${of}.rows.weight`, kind: "weights" });
  device.write(weight, fresh ? fresh.normals(count * C, Math.sqrt(2 / C)) : await tableRows(device, table, first, count));
  const chosen: Table = { weight: table.weight, rows: { first, weight } };
  const [head, tokens] = [of === "lm_head" || tied, of === "model.embed_tokens" || tied];
  return Object.assign(Object.create(Object.getPrototypeOf(model) as object) as Chameleon, model, {
    model: { ...model.model, ...(tokens ? { embed_tokens: chosen } : {}) },
    ...(head ? { lm_head: chosen } : {}),
  });
}

/** Rows as the model reads them, whatever they are stored as. */
export async function tableRows(device: Device, table: Table, first = 0, count = table.weight.shape[0]): Promise<Float32Array> {
  const columns = table.weight.shape[1];
  // As many at a time as one binding holds.
  const most = Math.min(count, Math.max(1, Math.floor(device.bindingBytes / (4 * columns))));
  const tape = new Tape(device);
  const y = tape.keep(embedding(table.weight, tape.input("ids", [most], "u32"), { rows: table.rows }));
  const plan = await tape.plan();
  const out = new Float32Array(count * columns);
  for (let at = 0; at < count; at += most) {
    const rows = Math.min(most, count - at);
    const ids = Uint32Array.from({ length: most }, (_, i) => first + at + Math.min(i, rows - 1));
    const [values] = await plan.write("ids", ids).run().read(y);
    out.set((values as Float32Array).subarray(0, rows * columns), at * columns);
  }
  plan.destroy();
  return out;
}
