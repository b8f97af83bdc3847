// Convolution and enlargement of pictures, NHWC: x (B, H, W, C), weights (out, kh, kw, in). With dy the gradient of y = conv(x, w) + b:
// dx = conv(dy, w flipped and transposed), dw = sum over pixels of dy x^T per tap, db = sum over pixels of dy.
import { accumulate } from "../../kernels/accumulate/accumulate.ts";
import { channels, conv2dDw, conv2dFlip, conv2dSum, dwSpan, conv2d as forward } from "../../kernels/conv2d/conv2d.ts";
import { upsampleDx, upsample as upsampleKernel } from "../../kernels/upsample/upsample.ts";
import { ShapeError, WorldlineError } from "../errors.ts";
import type { Tensor } from "../tensor.ts";
import { banded, bands, checkBanded } from "./bands.ts";

export interface ConvOptions {
  /** (O): added to every pixel. */
  readonly bias?: Tensor;
  /** Of the result's shape: added to it. */
  readonly residual?: Tensor;
  /**
   * 1 (unless told): zeros of half a kernel's size on every side, so that the picture keeps its size. 2: one zero row below and one zero column
   * at the right, 3x3 weights, so that an even size halves (Chameleon's Downsample).
   */
  readonly stride?: 1 | 2;
  readonly name?: string;
}

interface Sizes {
  B: number;
  H: number;
  W: number;
  I: number;
  OH: number;
  OW: number;
  O: number;
  KH: number;
  KW: number;
  stride: number;
  pad: number;
}

/**
 * Convolution: x (B, H, W, I), w (O, kh, kw, I) with odd kh = kw -> (B, H / stride, W / stride, O) in f32. x must be an activation. All may be f16;
 * gradients need x and w in f32.
 */
export function conv2d(x: Tensor, w: Tensor, options: ConvOptions = {}): Tensor {
  const { bias, residual, name = "conv2d" } = options;
  const sizes = sizesOf(x, w, options);
  const { B, OH, OW, O, KH } = sizes;
  const { tape } = x;
  checkGradients(x, w, options);
  const y = tape.empty([B, OH, OW, O], "f32", name);
  const flags = { bias: bias ? 1 : 0, residual: residual ? 1 : 0 };
  if (banded(tape, x, y)) {
    convolveBands(x, w, y, options, sizes);
    return y;
  }
  const { unread } = tape.device;
  tape.launch(forward, { x, w, b: bias ?? unread, r: residual ?? unread, y }, { ...sizes, up: 1, ...flags, acc: 0 });
  tape.onBackward(y, [x, w, bias, residual], () => {
    const dy = tape.grad(y);
    if (tape.requires(x)) {
      const v = tape.empty([sizes.I, sizes.KH, sizes.KW, O], "f32", "flipped weights");
      tape.launch(conv2dFlip, { w, v }, sizes);
      const back = {
        ...sizes,
        H: OH,
        W: OW,
        I: O,
        OH: sizes.H,
        OW: sizes.W,
        O: sizes.I,
        stride: 1,
        pad: KH - 1 - sizes.pad,
        up: sizes.stride,
      };
      const dx = tape.into(x)!;
      tape.launch(forward, { x: dy, w: v, b: v, r: dy, y: dx.tensor }, { ...back, bias: 0, residual: 0, acc: dx.acc });
    }
    weightGradients(x, w, bias, dy, sizes);
    const dr = residual && tape.into(residual);
    if (dr) tape.launch(accumulate, { x: dy, y: dr.tensor }, { n: dy.size, scale: 1, acc: dr.acc });
  });
  return y;
}

/**
 * The same in bands of output rows, from the lowest up. A band below the first one is bound with the `pad` rows above it, for which the kernel lacks input: what it
 * writes there is wrong and is written anew by the band above.
 */
function convolveBands(x: Tensor, w: Tensor, y: Tensor, { bias, residual, name = "conv2d" }: ConvOptions, sizes: Sizes): void {
  const { tape } = x;
  const { unread } = tape.device;
  const { B, H, OH, KH, stride, pad } = sizes;
  checkBanded(tape, name, banded(tape, y) ? y : x, B);
  const below = KH - 1 - pad;
  const list = bands(tape, name, OH, [x.bytes / OH, y.bytes / OH, (residual ?? y).bytes / OH], { halo: pad + below, shift: pad });
  const part = (t: Tensor, rows: number, first: number, end: number) => t.reshape(rows, t.size / rows).rows(first, end - first);
  for (const { first, count } of list.reverse()) {
    const above = first === 0 ? 0 : pad;
    const input = { first: (first - above) * stride, end: Math.min(H, (first + count - 1) * stride + KH - pad) };
    const output = { first: first - above, end: first + count };
    const r = residual && part(residual, OH, output.first, output.end);
    tape.launch(
      forward,
      { x: part(x, H, input.first, input.end), w, b: bias ?? unread, r: r ?? unread, y: part(y, OH, output.first, output.end) },
      {
        ...{ ...sizes, H: input.end - input.first, OH: output.end - output.first },
        ...{ up: 1, bias: bias ? 1 : 0, residual: residual ? 1 : 0, acc: 0 },
      },
    );
  }
}

/** Refuses gradients through pictures or weights in f16. */
function checkGradients(x: Tensor, w: Tensor, { bias, residual, name = "conv2d" }: ConvOptions): void {
  const half = [x, w].find((t) => t.dtype === "f16");
  const trained = [x, w, bias, residual].find((t) => t && x.tape.requires(t));
  if (half && trained)
    throw new WorldlineError(
      `${name}: ${half.name} is f16, which has no gradient here, and ${trained.name} wants one; cast x and w to f32 or freeze what leads to it`,
    );
}

function weightGradients(x: Tensor, w: Tensor, bias: Tensor | undefined, dy: Tensor, sizes: Sizes): void {
  const { tape } = x;
  const { B, OH, OW, O } = sizes;
  if (!tape.requires(w) && !(bias && tape.requires(bias))) return;
  const span = dwSpan(B * OH * OW, O, w.size / O);
  const parts = Math.ceil((B * OH * OW) / span);
  const part = tape.empty([parts, w.size + O], "f32", "weight gradient parts");
  tape.launch(conv2dDw, { x, dy, part }, { ...sizes, span });
  const dw = tape.into(w) ?? { tensor: tape.empty(w.shape, "f32", "unused dw"), acc: 0 };
  const db = (bias && tape.into(bias)) ?? { tensor: tape.empty([O], "f32", "unused db"), acc: 0 };
  tape.launch(conv2dSum, { part, dw: dw.tensor, db: db.tensor }, { N: w.size, O, parts, acc: dw.acc, accBias: db.acc });
}

function sizesOf(x: Tensor, w: Tensor, { bias, residual, stride = 1 }: ConvOptions): Sizes {
  if (x.shape.length !== 4) throw new ShapeError("conv2d", { x }, "x must be (batch, height, width, channels)");
  const [B, H, W, I] = x.shape;
  const [O, KH, KW] = w.shape;
  if (w.shape.length !== 4 || w.shape[3] !== I || KH !== KW || KH % 2 === 0) {
    throw new ShapeError("conv2d", { x, w }, `w must be (out, k, k, ${I}) with k odd; weights are held with the input channels last`);
  }
  if (stride === 2 && (KH !== 3 || H % 2 || W % 2))
    throw new ShapeError("conv2d", { x, w }, "stride 2 needs 3x3 weights and an even height and width");
  const [OH, OW] = [H / stride, W / stride];
  if (bias && bias.size !== O) throw new ShapeError("conv2d", { w, bias }, `bias needs ${O} values, one for each output channel`);
  if (residual && residual.shape.join() !== [B, OH, OW, O].join()) {
    throw new ShapeError("conv2d", { x, w, residual }, `residual must be of the result's shape (${[B, OH, OW, O].join(", ")})`);
  }
  return { B, H, W, I, OH, OW, O, KH, KW, stride, pad: stride === 1 ? (KH - 1) / 2 : 0 };
}

/** Nearest neighbour, twice as high and wide: x (B, H, W, C) -> (B, 2H, 2W, C). */
export function upsample(x: Tensor): Tensor {
  if (x.shape.length !== 4) throw new ShapeError("upsample", { x }, "x must be (batch, height, width, channels)");
  const [B, H, W, C] = x.shape;
  const { tape } = x;
  const y = tape.empty([B, 2 * H, 2 * W, C], "f32", "upsample");
  if (banded(tape, y)) {
    checkBanded(tape, "upsample", y, B);
    for (const { first, count } of bands(tape, "upsample", H, [W * C * 4, 4 * W * C * 4])) {
      const rows = { x: x.reshape(H, W, C).rows(first, count), y: y.reshape(2 * H, 2 * W, C).rows(2 * first, 2 * count) };
      tape.launch(upsampleKernel, rows, { B, H: count, W, C });
    }
    return y;
  }
  tape.launch(upsampleKernel, { x, y }, { B, H, W, C });
  tape.onBackward(y, [x], () => {
    const dx = tape.into(x);
    if (dx) tape.launch(upsampleDx, { dy: tape.grad(y), dx: dx.tensor }, { B, H, W, C, acc: dx.acc });
  });
  return y;
}

/** The first `count` values of the last dimension, or all of them followed by zeros: x (..., C) -> (..., count). */
export function resizeChannels(x: Tensor, count: number): Tensor {
  const I = x.shape[x.shape.length - 1];
  if (I === count) return x;
  const { tape } = x;
  const rows = x.size / I;
  const y = tape.empty([...x.shape.slice(0, -1), count], "f32", "channels");
  if (banded(tape, x, y)) {
    checkBanded(tape, "channels", y, 1);
    for (const b of bands(tape, "channels", rows, [I * 4, count * 4])) {
      const part = { x: x.reshape(rows, I).rows(b.first, b.count), y: y.reshape(rows, count).rows(b.first, b.count) };
      tape.launch(channels, part, { rows: b.count, I, O: count, acc: 0 });
    }
    return y;
  }
  tape.launch(channels, { x, y }, { rows, I, O: count, acc: 0 });
  tape.onBackward(y, [x], () => {
    const dx = tape.into(x);
    if (dx) tape.launch(channels, { x: tape.grad(y), y: dx.tensor }, { rows, I: count, O: I, acc: dx.acc });
  });
  return y;
}
