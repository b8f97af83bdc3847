// Rows of a table by id: token embeddings, and picking rows of an activation. The gradient adds into the rows that were read.
import { gather, scatter } from "../../kernels/embedding/embedding.ts";
import { ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";

/** Rows of table (V, C) for ids u32 (...): (..., C). Rows read under the id `skip` (padding) get no gradient. */
export function embedding(table: Tensor, ids: Tensor, { skip = 0xffffffff }: { skip?: number } = {}): Tensor {
  if (table.shape.length !== 2) throw new ShapeError("embedding", { table }, "the table must be (rows, columns)");
  const { tape } = ids;
  const [V, C] = table.shape;
  const y = tape.empty([...ids.shape, C], "f32", "rows");
  tape.launch(gather, { table, ids, y }, { rows: ids.size, C, V });
  tape.onBackward(y, [table], () => {
    const d = tape.into(table);
    if (d) tape.launch(scatter, { dy: tape.grad(y), ids, dtable: d.tensor }, { rows: ids.size, C, V, skip, acc: d.acc });
  });
  return y;
}

/** Rows of an activation or a codebook x (R, C) by index u32 (...): (..., C). */
export function gatherRows(x: Tensor, index: Tensor): Tensor {
  return embedding(x, index);
}
