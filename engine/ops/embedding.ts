// Rows of a table by id: token embeddings, and picking rows of an activation. The gradient adds into the rows that were read.
import { gather, scatter } from "../../kernels/embedding/embedding.ts";
import { ShapeError } from "../errors.ts";
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

/** Rows of table (V, C) for ids u32 (...): (..., C). Rows read under the id `skip` (padding) get no gradient. */
export function embedding(table: Tensor, ids: Tensor, { skip = 0xffffffff }: { skip?: number } = {}): Tensor {
  if (table.shape.length !== 2) throw new ShapeError("embedding", { table }, "the table must be (rows, columns)");
  const { tape } = ids;
  const C = table.shape[1];
  const y = tape.empty([...ids.shape, C], "f32", "rows");
  launchGather(tape, table, ids, y);
  tape.onBackward(y, [table], () => {
    const d = tape.into(table);
    for (const { first, tensor } of d ? tape.device.rowRanges(d.tensor) : []) {
      tape.launch(scatter, { dy: tape.grad(y), ids, dtable: tensor }, { rows: ids.size, C, V: tensor.shape[0], first, skip, acc: d!.acc });
    }
  });
  return y;
}

/** Rows of an activation or a codebook x (R, C) by index u32 (...): (..., C). */
export function gatherRows(x: Tensor, index: Tensor): Tensor {
  return embedding(x, index);
}
