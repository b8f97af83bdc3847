// Rows of a table by id: token embeddings, and picking rows of an activation. The gradient adds into the rows that were read.
import { gather, scatter } from "../../kernels/embedding/embedding.ts";
import { ShapeError, WorldlineError } from "../errors.ts";
import type { Tape } from "../tape.ts";
import type { Tensor } from "../tensor.ts";

/** Launches the reading of rows of a table, range by range where it is larger than one binding. */
export function launchGather(tape: Tape, table: Tensor, ids: Tensor, y: Tensor): void {
  for (const { first, tensor } of tape.device.rowRanges(table)) {
    const { scales = tape.device.unread, group = 0 } = tensor.quantized ?? {};
    const [V, C] = tensor.shape;
    tape.launch(gather, { table: tensor, scales, ids, y }, { rows: ids.size, C, V, first, rest: first ? 1 : 0, group });
  }
}

/** Rows first ... of a table that stand in for the table's own: trained apart from a frozen, perhaps quantised table. */
export interface ChosenRows {
  readonly first: number;
  /** f32 (count, C). */
  readonly weight: Tensor;
}

/** Rows of table (V, C), or those of `rows` in their place, for ids u32 (...): (..., C). Rows read under the id `skip` (padding) get no gradient. */
export function embedding(table: Tensor, ids: Tensor, { skip = 0xffffffff, rows }: { skip?: number; rows?: ChosenRows } = {}): Tensor {
  if (table.shape.length !== 2) throw new ShapeError("embedding", { table }, "the table must be (rows, columns)");
  if (rows) checkRows("embedding", table, rows);
  const { tape } = ids;
  const C = table.shape[1];
  const y = tape.empty([...ids.shape, C], "f32", "rows");
  launchGather(tape, table, ids, y);
  for (const { first, tensor } of rows ? tape.device.rowRanges(rows.weight) : []) {
    const numbers = { rows: ids.size, C, V: tensor.shape[0], first: rows!.first + first, rest: 1, group: 0 };
    tape.launch(gather, { table: tensor, scales: tape.device.unread, ids, y }, numbers);
  }
  const trained = rows ?? { first: 0, weight: table };
  tape.onBackward(y, [trained.weight], () => {
    const d = tape.into(trained.weight);
    for (const { first, tensor } of d ? tape.device.rowRanges(d.tensor) : []) {
      const numbers = { rows: ids.size, C, V: tensor.shape[0], first: trained.first + first, skip, acc: d!.acc };
      tape.launch(scatter, { dy: tape.grad(y), ids, dtable: tensor }, numbers);
    }
  });
  return y;
}

/** Throws where the rows do not lie within the table, or both are to be trained. */
export function checkRows(op: string, table: Tensor, { first, weight }: ChosenRows): void {
  const [count, C] = weight.shape;
  if (weight.shape.length !== 2 || C !== table.shape[1] || first + count > table.shape[0])
    throw new ShapeError(
      op,
      { table, rows: weight },
      `rows ${first} to ${first + count - 1} of ${table.shape[1]} columns must lie within the table`,
    );
  if (table.trainable && weight.trainable)
    throw new WorldlineError(`${op}: ${table.name} and rows of it are both trained; freeze one of them`);
}

/** Rows of an activation or a codebook x (R, C) by index u32 (...): (..., C). */
export function gatherRows(x: Tensor, index: Tensor): Tensor {
  return embedding(x, index);
}
