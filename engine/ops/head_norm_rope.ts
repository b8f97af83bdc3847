// Layer norm of query or key heads (Chameleon, arXiv 2405.09818), rotary embedding and the write into a cache, in one launch.
import { headNormRope as forward } from "../../kernels/head_norm_rope/head_norm_rope.ts";
import { ShapeError } from "../errors.ts";
import type { Scalar } from "../tape.ts";
import type { Tensor } from "../tensor.ts";
import { layerNorm } from "./norm.ts";
import { type RopeTable, rope } from "./rope.ts";

export interface HeadNormRope {
  /** One row for each head (H, D). */
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly eps?: number;
  readonly table: RopeTable;
  /** u32 (R * T): rows of the table. */
  readonly positions: Tensor;
  /** (R, cap, H, D), f32 or f16: where the result goes, from token `base` on. Tokens past its end are dropped, and there is no gradient. */
  readonly into?: { readonly cache: Tensor; readonly base: Scalar | number };
}

/** rope(layerNorm(x)) of x (R, T, H, D): a tensor like x, or the cache. Where a gradient is wanted the two ops, each with its own. */
export function headNormRope(x: Tensor, { weight: w, bias: b, eps = 1e-5, table, positions, into }: HeadNormRope): Tensor {
  const { tape } = x;
  if (!into && [x, w, b].some((t) => tape.requires(t))) return rope(layerNorm(x, w, b, eps), table, positions);
  if (x.shape.length !== 4) throw new ShapeError("headNormRope", { x }, "it needs four dimensions (rows, tokens, heads, head size)");
  const [R, T, H, D] = x.shape;
  if (w.size !== H * D || b.size !== H * D) throw new ShapeError("headNormRope", { x, w, b }, `w and b must be (${H}, ${D})`);
  if (positions.size !== R * T || table.cos.shape[1] * 2 !== D)
    throw new ShapeError(
      "headNormRope",
      { x, positions, table: table.cos },
      `${R * T} positions and a table of ${D / 2} columns are needed`,
    );
  const y = into?.cache ?? tape.empty(x.shape, "f32", "rotated");
  const cap = y.shape[1];
  if (y.shape.join() !== [R, cap, H, D].join() || cap < T)
    throw new ShapeError("headNormRope", { x, cache: y }, `the cache must be (${R}, at least ${T}, ${H}, ${D})`);
  const { cos, sin } = table;
  tape.launch(forward, { x, w, b, cos, sin, positions, y }, { R, T, H, D, cap, base: into?.base ?? 0, eps });
  return y;
}
