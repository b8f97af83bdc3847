// TensorFlow.js on its WebGPU backend.
import type { Data, PeerCase } from "./cases.ts";
import { type Engine, load, type Ready, versionOf } from "./engine.ts";
import { adam, normEps, type TrainingShape, trainingBatch, weightShapes } from "./training.ts";

interface TFTensor {
  readonly shape: number[];
  data(): Promise<Float32Array>;
  dispose(): void;
}
interface Optimizer {
  minimize(f: () => TFTensor, returnCost: boolean, variables: TFTensor[]): TFTensor | null;
}
interface TF {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  backend(): { device: GPUDevice; endComputePassEncoder(): void; submitQueue(): void };
  tensor(values: Float32Array | Int32Array, shape: number[], dtype?: string): TFTensor;
  variable(x: TFTensor): TFTensor & { assign(x: TFTensor): void };
  tidy<T>(f: () => T): T;
  scalar(v: number): TFTensor;
  matMul(a: TFTensor, b: TFTensor, transA?: boolean, transB?: boolean): TFTensor;
  softmax(x: TFTensor, axis?: number): TFTensor;
  mean(x: TFTensor, axis: number | undefined, keep?: boolean): TFTensor;
  sub(a: TFTensor, b: TFTensor): TFTensor;
  add(a: TFTensor, b: TFTensor): TFTensor;
  mul(a: TFTensor, b: TFTensor | number): TFTensor;
  neg(a: TFTensor): TFTensor;
  square(a: TFTensor): TFTensor;
  rsqrt(a: TFTensor): TFTensor;
  sigmoid(a: TFTensor): TFTensor;
  sum(a: TFTensor, axis?: number): TFTensor;
  log(a: TFTensor): TFTensor;
  exp(a: TFTensor): TFTensor;
  max(a: TFTensor, axis: number, keep?: boolean): TFTensor;
  reshape(a: TFTensor, shape: number[]): TFTensor;
  transpose(a: TFTensor, order: number[]): TFTensor;
  gather(a: TFTensor, ids: TFTensor): TFTensor;
  oneHot(ids: TFTensor, depth: number): TFTensor;
  cast(a: TFTensor, dtype: string): TFTensor;
  conv2d(x: TFTensor, w: TFTensor, stride: number, pad: string): TFTensor;
  train: { adam(lr: number, b1: number, b2: number, eps: number): Optimizer };
}

export async function open(folder: string): Promise<Engine> {
  const tf = (await load(folder, "@tensorflow/tfjs")) as unknown as TF;
  await load(folder, "@tensorflow/tfjs-backend-webgpu");
  if (!(await tf.setBackend("webgpu"))) throw new Error("its WebGPU backend does not start");
  await tf.ready();
  return {
    version: versionOf(folder, "@tensorflow/tfjs"),
    // Its WebGPU backend computes in f32 alone.
    prepare: async (c, data) => {
      if (c.work.op === "matmul" && c.work.stored !== "f32") return undefined;
      return c.work.op === "training" ? training(tf, c.work, data) : ready(tf, c, data);
    },
  };
}

async function finish(tf: TF): Promise<void> {
  const backend = tf.backend();
  backend.endComputePassEncoder();
  backend.submitQueue();
  await backend.device.queue.onSubmittedWorkDone();
}

function ready(tf: TF, c: PeerCase, data: Data): Ready {
  const compute = record(tf, c, data);
  return {
    run: async () => {
      const y = tf.tidy(compute);
      await finish(tf);
      y.dispose();
    },
    result: () => tf.tidy(compute).data(),
  };
}

/** Adds minus infinity above the diagonal. */
function causalMask(tf: TF, T: number): TFTensor {
  return tf.tensor(
    Float32Array.from({ length: T * T }, (_, i) => (i % T > Math.floor(i / T) ? -1e9 : 0)),
    [1, T, T],
  );
}

function record(tf: TF, { work: w }: PeerCase, d: Data): () => TFTensor {
  switch (w.op) {
    case "matmul": {
      const [x, y] = [tf.tensor(d.x, [w.M, w.K]), tf.tensor(d.w, [w.K, w.N])];
      return () => tf.matMul(x, y);
    }
    case "softmax": {
      const x = tf.tensor(d.x, [w.rows, w.C]);
      return () => tf.softmax(x);
    }
    case "layernorm": {
      const [x, g, b] = [tf.tensor(d.x, [w.rows, w.C]), tf.tensor(d.w, [w.C]), tf.tensor(d.b, [w.C])];
      return () => {
        const centred = tf.sub(x, tf.mean(x, 1, true));
        const scale = tf.rsqrt(tf.add(tf.mean(tf.square(centred), 1, true), tf.scalar(1e-5)));
        return tf.add(tf.mul(tf.mul(centred, scale), g), b);
      };
    }
    case "attention": {
      const [q, k, v] = ["q", "k", "v"].map((name) => tf.tensor(d[name], [w.H, w.T, w.D]));
      const mask = causalMask(tf, w.T);
      return () => tf.matMul(tf.softmax(tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(w.D)), mask)), v);
    }
    case "conv": {
      const [x, k] = [tf.tensor(d.x, [1, w.S, w.S, w.I]), tf.tensor(d.w, [3, 3, w.I, w.O])];
      return () => tf.conv2d(x, k, 1, "same");
    }
    case "training":
      throw new Error("a training step is not one op");
  }
}

function training(tf: TF, s: TrainingShape, data: Data): Ready {
  const shapes = weightShapes(s);
  const names = Object.keys(shapes);
  const fresh = (name: string) => tf.tensor(data[name], [...shapes[name]]);
  const w = Object.fromEntries(names.map((name) => [name, tf.variable(fresh(name))]));
  const { ids, targets } = trainingBatch(s);
  const R = s.batch * s.T;
  const given = tf.tensor(Int32Array.from(ids), [R], "int32");
  const wanted = tf.cast(tf.oneHot(tf.tensor(Int32Array.from(targets), [R], "int32"), s.vocabulary), "float32");
  const places = tf.tensor(
    Int32Array.from({ length: R }, (_, i) => i % s.T),
    [R],
    "int32",
  );
  const mask = tf.reshape(causalMask(tf, s.T), [1, 1, s.T, s.T]);
  const rms = (x: TFTensor, g: TFTensor) => tf.mul(tf.mul(x, tf.rsqrt(tf.add(tf.mean(tf.square(x), 1, true), tf.scalar(normEps)))), g);
  const linear = (x: TFTensor, m: TFTensor) => tf.matMul(x, m, false, true);
  const D = s.width / s.heads;
  const heads = (x: TFTensor) => tf.transpose(tf.reshape(x, [s.batch, s.T, s.heads, D]), [0, 2, 1, 3]);
  const loss = () => {
    let x = tf.add(tf.gather(w.tokens, given), tf.gather(w.positions, places));
    for (let l = 0; l < s.layers; l++) {
      const a = rms(x, w[`norm1_${l}`]);
      const [q, k, v] = ["q", "k", "v"].map((name) => heads(linear(a, w[`${name}_${l}`])));
      const p = tf.softmax(tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(D)), mask));
      const o = tf.reshape(tf.transpose(tf.matMul(p, v), [0, 2, 1, 3]), [R, s.width]);
      x = tf.add(x, linear(o, w[`o_${l}`]));
      const h = rms(x, w[`norm2_${l}`]);
      const gate = linear(h, w[`gate_${l}`]);
      x = tf.add(x, linear(tf.mul(tf.mul(gate, tf.sigmoid(gate)), linear(h, w[`up_${l}`])), w[`down_${l}`]));
    }
    const logits = linear(rms(x, w.norm), w.head);
    const centred = tf.sub(logits, tf.max(logits, 1, true));
    const logTotal = tf.log(tf.sum(tf.exp(centred), 1));
    return tf.mean(tf.sub(logTotal, tf.sum(tf.mul(centred, wanted), 1)), undefined);
  };
  const variables = names.map((name) => w[name]);
  let optimizer = tf.train.adam(adam.lr, adam.b1, adam.b2, adam.eps);
  const step = () => optimizer.minimize(loss, true, variables)!;
  return {
    run: async () => {
      const cost = step();
      await finish(tf);
      cost.dispose();
    },
    result: async () => {
      for (const name of names) w[name].assign(fresh(name));
      optimizer = tf.train.adam(adam.lr, adam.b1, adam.b2, adam.eps);
      return [(await step().data())[0], (await step().data())[0]];
    },
  };
}
