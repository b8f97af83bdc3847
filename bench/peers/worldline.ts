// worldline itself at the compared cases, through its public ops and one kept plan.
import { type Device, stored } from "../../engine/device.ts";
import { openDevice } from "../../engine/node.ts";
import { add, attention, conv2d, crossEntropy, embedding, layerNorm, linear, rmsnorm, softmax, swiglu } from "../../engine/ops/index.ts";
import { adamw } from "../../engine/optim.ts";
import { Tape } from "../../engine/tape.ts";
import type { Tensor } from "../../engine/tensor.ts";
import type { DType } from "../../kernels/kernel.ts";
import { type Data, groupSize, type PeerCase, type Product, quantizedWeights, transposed } from "./cases.ts";
import type { Engine, Ready } from "./engine.ts";
import { adam, normEps, type TrainingShape, trainingBatch, weightShapes } from "./training.ts";

export async function open(): Promise<Engine> {
  const device = await openDevice();
  return { version: "this checkout", prepare: (c, data) => prepare(device, c, data) };
}

async function prepare(device: Device, c: PeerCase, data: Data): Promise<Ready> {
  if (c.work.op === "training") return training(device, c.work, data);
  if (c.work.op === "matmul" && c.work.stored === "f16" && !device.capabilities.features.has("shader-f16"))
    throw new Error("this adapter has no f16");
  const tape = new Tape(device);
  const inputs: Record<string, Float32Array> = {};
  const input: Input = (name, shape, values, dtype) => {
    inputs[name] = values;
    return tape.input(name, shape, dtype);
  };
  const y = tape.keep(record(c, data, device, input));
  const plan = await tape.plan();
  for (const [name, values] of Object.entries(inputs)) plan.write(name, values);
  return {
    run: async () => {
      plan.run();
      await device.finish();
    },
    result: async () => headsLast(c, (await plan.run().read(y))[0]),
  };
}

type Input = (name: string, shape: readonly number[], values: Float32Array, dtype?: DType) => Tensor;

/** w as the case stores it, (N, K). */
function weightsOf(device: Device, w: Product, name: string, d: Data): Tensor {
  const t = device.matrix([w.N, w.K], { dtype: w.stored, name: "w", groupSize });
  if (!t.quantized) {
    device.write(t, transposed(d.w, w.K, w.N));
    return t;
  }
  const { bits, scales } = quantizedWeights(w, name);
  device.upload(t, 0, bits);
  device.write(t.quantized.scales, scales);
  return t;
}

function record({ work: w, name }: PeerCase, d: Data, device: Device, input: Input): Tensor {
  switch (w.op) {
    case "matmul": {
      const dtype = w.stored === "f16" ? "f16" : "f32";
      return linear(input("x", [w.M, w.K], d.x, dtype), weightsOf(device, w, name, d), { dtype });
    }
    case "softmax":
      return softmax(input("x", [w.rows, w.C], d.x));
    case "layernorm":
      return layerNorm(
        input("x", [w.rows, w.C], d.x),
        device.tensor([1, w.C], { data: d.w }),
        device.tensor([1, w.C], { data: d.b }),
        1e-5,
      );
    case "attention": {
      const [q, k, v] = ["q", "k", "v"].map((name) => input(name, [1, w.T, w.H, w.D], headsFirst(d[name], w.H, w.T, w.D)));
      return attention(q, k, v, { causal: true });
    }
    case "conv": {
      const weights = device.tensor([w.O, 3, 3, w.I], { data: transposed(d.w, 9 * w.I, w.O) });
      return conv2d(input("x", [1, w.S, w.S, w.I], d.x), weights);
    }
    case "training":
      throw new Error("a training step is not one op");
  }
}

/** (H, T, D) -> (T, H, D), worldline's layout. */
function headsFirst(x: Float32Array, H: number, T: number, D: number): Float32Array {
  const y = new Float32Array(x.length);
  for (let h = 0; h < H; h++) for (let t = 0; t < T; t++) y.set(x.subarray((h * T + t) * D, (h * T + t + 1) * D), (t * H + h) * D);
  return y;
}

/** Back to (H, T, D) where the case has heads. */
function headsLast({ work: w }: PeerCase, y: ArrayLike<number>): ArrayLike<number> {
  return w.op === "attention" ? headsFirst(Float32Array.from(y), w.T, w.H, w.D) : y;
}

async function training(device: Device, s: TrainingShape, data: Data): Promise<Ready> {
  const shapes = weightShapes(s);
  const specs = Object.entries(shapes).map(([name, shape]) => ({ name, shape }));
  const tensors = device.arena(specs, "weights", "weights");
  const w: Record<string, Tensor> = {};
  tensors.forEach((t, i) => {
    t.trainable = true;
    device.write(t, data[specs[i].name]);
    w[specs[i].name] = t;
  });
  const tape = new Tape(device, { training: true });
  const { ids, targets } = trainingBatch(s);
  const places = tape.input("places", [s.batch, s.T], "u32");
  let x = add(embedding(w.tokens, tape.input("ids", [s.batch, s.T], "u32")), embedding(w.positions, places));
  const heads = [s.batch, s.T, s.heads, s.width / s.heads] as const;
  for (let l = 0; l < s.layers; l++) {
    const a = rmsnorm(x, w[`norm1_${l}`], normEps);
    const [q, k, v] = ["q", "k", "v"].map((name) => linear(a, w[`${name}_${l}`]).reshape(...heads));
    x = linear(attention(q, k, v, { causal: true }).reshape(s.batch, s.T, s.width), w[`o_${l}`], { residual: x });
    const h = rmsnorm(x, w[`norm2_${l}`], normEps);
    x = linear(swiglu(linear(h, w[`gate_${l}`]), linear(h, w[`up_${l}`])), w[`down_${l}`], { residual: x });
  }
  const R = s.batch * s.T;
  const logits = linear(rmsnorm(x, w.norm, normEps), w.head).reshape(R, s.vocabulary);
  const weights = tape.input("weights", [R]);
  const { loss } = crossEntropy(logits, tape.input("targets", [R], "u32"), weights, { denominator: "weights" });
  tape.backward(loss);
  const step = tape.scalar("step", 1);
  const params = new Map(specs.map(({ name }) => [name, w[name]]));
  adamw(tape, params, { lr: tape.scalar("lr", adam.lr), step, betas: [adam.b1, adam.b2], eps: adam.eps, weightDecay: 0 });
  const plan = await tape.plan();
  plan.write("ids", ids).write("targets", targets).write("weights", new Float32Array(R).fill(1));
  plan.write(
    "places",
    Uint32Array.from({ length: R }, (_, i) => i % s.T),
  );
  let steps = 0;
  const next = () => plan.set("step", ++steps).run();
  return {
    run: async () => {
      next();
      await device.finish();
    },
    result: async () => {
      for (const { name } of specs) device.write(w[name], data[name]);
      for (const role of ["moment 1", "moment 2"]) {
        const { buffer } = stored(device.mirror(tensors[0], role, "moments"));
        device.raw.queue.writeBuffer(buffer, 0, new Uint8Array(buffer.size));
      }
      steps = 0;
      return [await next().readNumber(loss), await next().readNumber(loss)];
    },
  };
}
