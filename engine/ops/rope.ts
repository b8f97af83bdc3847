// Rotary position embedding (arXiv 2104.09864) on half-split pairs, with tables made on the host in f64: WGSL promises too little for sin and cos.
import { rope as rotate } from "../../kernels/rope/rope.ts";
import type { Device } from "../device.ts";
import { ShapeError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";

export interface RopeTable {
  /** (positions, D / 2). */
  readonly cos: Tensor;
  readonly sin: Tensor;
}

export interface RopeOptions {
  readonly theta: number;
  readonly headDim: number;
  readonly positions: number;
  /** linear divides positions by factor; dynamic grows theta once `positions` passes `maxPositions`. */
  readonly scaling?: { readonly type: "linear" | "dynamic"; readonly factor: number } | null;
  readonly maxPositions?: number;
  /** With dynamic scaling: tokens known when positions are first rotated; later positions are rotated one by one, each as the last of its sequence. */
  readonly known?: number;
}

/** cos and sin of position * theta^(-2j/D) for every position and j < D/2. */
export function ropeTable(device: Device, o: RopeOptions): RopeTable {
  const half = o.headDim / 2;
  const cos = new Float32Array(o.positions * half);
  const sin = new Float32Array(o.positions * half);
  for (let p = 0; p < o.positions; p++) {
    const { theta, position } = scaled(o, Math.max(p + 1, o.known ?? o.positions));
    for (let j = 0; j < half; j++) {
      const angle = (p / position) * theta ** ((-2 * j) / o.headDim);
      cos[p * half + j] = Math.cos(angle);
      sin[p * half + j] = Math.sin(angle);
    }
  }
  const make = (name: string, data: Float32Array) => device.tensor([o.positions, half], { name, kind: "other", data });
  return { cos: make("rope cos", cos), sin: make("rope sin", sin) };
}

/** theta and the divisor of positions for a sequence of `length` tokens. */
function scaled(
  { theta, headDim: D, positions, scaling, maxPositions = positions }: RopeOptions,
  length: number,
): { theta: number; position: number } {
  if (scaling?.type === "linear") return { theta, position: scaling.factor };
  if (scaling?.type !== "dynamic" || length <= maxPositions) return { theta, position: 1 };
  return { theta: theta * ((scaling.factor * length) / maxPositions - (scaling.factor - 1)) ** (D / (D - 2)), position: 1 };
}

/** Rotates each head of x (B, T, H, D) by its token's position, u32 (B * T). */
export function rope(x: Tensor, table: RopeTable, positions: Tensor): Tensor {
  const [H, D] = x.shape.slice(-2);
  const rows = x.size / (H * D);
  if (positions.size !== rows || table.cos.shape[1] * 2 !== D) {
    throw new ShapeError("rope", { x, positions, table: table.cos }, `${rows} positions and a table of ${D / 2} columns are needed`);
  }
  const { tape } = x;
  const { cos, sin } = table;
  const y = tape.empty(x.shape, "f32", "rotated");
  tape.launch(rotate, { x, cos, sin, positions, y }, { rows, H, D, sign: 1, acc: 0 });
  tape.onBackward(y, [x], () => {
    const dx = tape.into(x);
    if (dx) tape.launch(rotate, { x: tape.grad(y), cos, sin, positions, y: dx.tensor }, { rows, H, D, sign: -1, acc: dx.acc });
  });
  return y;
}
