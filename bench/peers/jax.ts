// jax-js on WebGPU (its Node support is by the shim alone) or, as "jax-js wasm", on the processor. Functions are compiled with jit.
import type { Data, PeerCase } from "./cases.ts";
import { type Engine, load, type Ready, versionOf } from "./engine.ts";
import { adam, normEps, type TrainingShape, trainingBatch, weightShapes } from "./training.ts";

interface JArray {
  readonly ref: JArray;
  add(x: JArray | number): JArray;
  sub(x: JArray | number): JArray;
  mul(x: JArray | number): JArray;
  div(x: JArray | number): JArray;
  reshape(shape: number[]): JArray;
  transpose(order?: number[]): JArray;
  astype(dtype: string): JArray;
  data(): Promise<Float32Array>;
  dispose(): void;
  blockUntilReady(): Promise<JArray>;
}
type Tree = JArray | Tree[] | { [name: string]: Tree };
interface Jax {
  init(device: string): Promise<string[]>;
  defaultDevice(device: string): void;
  getWebGPUDevice(): GPUDevice;
  jit<F>(f: F): F;
  valueAndGrad(f: (...args: never[]) => JArray): (...args: unknown[]) => [JArray, Record<string, JArray>];
  blockUntilReady(x: Tree): Promise<unknown>;
  numpy: {
    array(values: Float32Array | Int32Array, options?: { shape?: number[] }): JArray;
    matmul(a: JArray, b: JArray): JArray;
    mean(a: JArray, axis?: number, o?: { keepdims?: boolean }): JArray;
    sum(a: JArray, axis?: number): JArray;
    sqrt(a: JArray): JArray;
    square(a: JArray): JArray;
  };
  nn: {
    softmax(x: JArray, axis?: number): JArray;
    logSoftmax(x: JArray, axis?: number): JArray;
    silu(x: JArray): JArray;
    dotProductAttention(q: JArray, k: JArray, v: JArray, o: { isCausal?: boolean }): JArray;
  };
  lax: { convGeneralDilated(x: JArray, w: JArray, strides: number[], padding: string): JArray };
}

const openOn =
  (device: "webgpu" | "wasm") =>
  async (folder: string): Promise<Engine> => {
    iteratorHelpers();
    const jax = (await load(folder, "@jax-js/jax")) as unknown as Jax;
    if (!(await jax.init(device)).includes(device)) throw new Error(`its ${device} backend does not start`);
    jax.defaultDevice(device);
    const finish = async (y: Tree) => {
      await jax.blockUntilReady(y);
      if (device === "webgpu") await jax.getWebGPUDevice().queue.onSubmittedWorkDone();
    };
    return {
      version: `${versionOf(folder, "@jax-js/jax")}${device === "wasm" ? " WebAssembly" : ""}`,
      // Its element types go down to f16, on WebGPU alone.
      prepare: async (c, data) => {
        if (c.work.op === "matmul" && c.work.stored !== "f32" && (c.work.stored !== "f16" || device === "wasm")) return undefined;
        return c.work.op === "training" ? training(jax, c.work, data, finish) : ready(jax, c, data, finish);
      },
    };
  };

export const open = openOn("webgpu");
export const openWasm = openOn("wasm");

/** jax-js uses iterator helpers, which Node 20 lacks. */
function iteratorHelpers(): void {
  const prototype = Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]())) as Record<string, unknown>;
  if (prototype.map) return;
  Object.assign(prototype, {
    *map(this: Iterable<unknown>, f: (x: unknown, i: number) => unknown) {
      let i = 0;
      for (const x of this) yield f(x, i++);
    },
    *filter(this: Iterable<unknown>, f: (x: unknown, i: number) => unknown) {
      let i = 0;
      for (const x of this) if (f(x, i++)) yield x;
    },
    toArray(this: Iterable<unknown>) {
      return [...this];
    },
    every(this: Iterable<unknown>, f: (x: unknown) => unknown) {
      for (const x of this) if (!f(x)) return false;
      return true;
    },
    some(this: Iterable<unknown>, f: (x: unknown) => unknown) {
      for (const x of this) if (f(x)) return true;
      return false;
    },
  });
}

function ready(jax: Jax, c: PeerCase, data: Data, finish: (y: Tree) => Promise<void>): Ready {
  const { compute, inputs } = record(jax, c, data);
  const compiled = jax.jit(compute);
  const call = () => compiled(...inputs.map((x) => x.ref));
  return {
    run: async () => {
      const y = call();
      await finish(y.ref);
      y.dispose();
    },
    result: () => outputOf(c, call()).data(),
  };
}

/** Attention and convolution leave their layouts as the case wants them; f16 is widened, as Node 20 has no array of it. */
function outputOf({ work: w }: PeerCase, y: JArray): JArray {
  if (w.op === "matmul" && w.stored === "f16") return y.astype("float32");
  if (w.op === "attention") return y.reshape([w.T, w.H, w.D]).transpose([1, 0, 2]);
  return w.op === "conv" ? y.reshape([w.O, w.S * w.S]).transpose([1, 0]) : y;
}

function record(jax: Jax, { work: w }: PeerCase, d: Data): { compute: (...x: JArray[]) => JArray; inputs: JArray[] } {
  const { numpy: np, nn } = jax;
  const array = (values: Float32Array, ...shape: number[]) => np.array(values).reshape(shape);
  switch (w.op) {
    case "matmul": {
      const inputs = [array(d.x, w.M, w.K), array(d.w, w.K, w.N)];
      return { compute: (x, y) => np.matmul(x, y), inputs: w.stored === "f16" ? inputs.map((x) => x.astype("float16")) : inputs };
    }
    case "softmax":
      return { compute: (x) => nn.softmax(x, -1), inputs: [array(d.x, w.rows, w.C)] };
    case "layernorm":
      return {
        compute: (x, g, b) => {
          const centred = x.ref.sub(np.mean(x, 1, { keepdims: true }));
          const deviation = np.sqrt(np.mean(np.square(centred.ref), 1, { keepdims: true }).add(1e-5));
          return centred.div(deviation).mul(g).add(b);
        },
        inputs: [array(d.x, w.rows, w.C), array(d.w, w.C), array(d.b, w.C)],
      };
    case "attention":
      return {
        compute: (q, k, v) => nn.dotProductAttention(q, k, v, { isCausal: true }),
        inputs: ["q", "k", "v"].map((name) => array(d[name], w.H, w.T, w.D).transpose([1, 0, 2])),
      };
    case "conv":
      return {
        compute: (x, k) => jax.lax.convGeneralDilated(x, k, [1, 1], "SAME"),
        inputs: [
          array(d.x, w.S, w.S, w.I).transpose([2, 0, 1]).reshape([1, w.I, w.S, w.S]),
          array(d.w, 3, 3, w.I, w.O).transpose([3, 2, 0, 1]),
        ],
      };
    case "training":
      throw new Error("a training step is not one op");
  }
}

type Weights = Record<string, JArray>;

function training(jax: Jax, s: TrainingShape, data: Data, finish: (y: Tree) => Promise<void>): Ready {
  const { numpy: np, nn } = jax;
  const shapes = weightShapes(s);
  const names = Object.keys(shapes);
  const R = s.batch * s.T;
  const oneHot = (ids: ArrayLike<number>, depth: number) => {
    const hot = new Float32Array(ids.length * depth);
    for (let i = 0; i < ids.length; i++) hot[i * depth + ids[i]] = 1;
    return np.array(hot).reshape([ids.length, depth]);
  };
  const { ids, targets } = trainingBatch(s);
  const given = oneHot(ids, s.vocabulary);
  const wanted = oneHot(targets, s.vocabulary);
  const rms = (x: JArray, g: JArray) => x.ref.div(np.sqrt(np.mean(np.square(x), 1, { keepdims: true }).add(normEps))).mul(g);
  const linear = (x: JArray, m: JArray) => np.matmul(x, m.transpose([1, 0]));
  const loss = (w: Weights, tokens: JArray, labels: JArray): JArray => {
    let x = np.matmul(tokens, w.tokens).reshape([s.batch, s.T, s.width]).add(w.positions).reshape([R, s.width]);
    for (let l = 0; l < s.layers; l++) {
      const a = rms(x.ref, w[`norm1_${l}`]);
      const heads = (y: JArray) => y.reshape([s.batch, s.T, s.heads, s.width / s.heads]);
      const [q, k, v] = ["q", "k", "v"].map((name) => heads(linear(a.ref, w[`${name}_${l}`])));
      a.dispose();
      x = x.add(linear(nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([R, s.width]), w[`o_${l}`]));
      const h = rms(x.ref, w[`norm2_${l}`]);
      x = x.add(linear(nn.silu(linear(h.ref, w[`gate_${l}`])).mul(linear(h, w[`up_${l}`])), w[`down_${l}`]));
    }
    const logs = nn.logSoftmax(linear(rms(x, w.norm), w.head), -1);
    return np.sum(np.sum(logs.mul(labels), 1)).mul(-1 / R);
  };
  const gradients = jax.valueAndGrad(loss as (...args: never[]) => JArray);
  const step = jax.jit((w: Weights, m: Weights, v: Weights, correction: JArray, tokens: JArray, labels: JArray) => {
    const [value, g] = gradients(Object.fromEntries(names.map((n) => [n, w[n].ref])), tokens, labels);
    const next: { w: Weights; m: Weights; v: Weights } = { w: {}, m: {}, v: {} };
    for (const n of names) {
      next.m[n] = m[n].mul(adam.b1).add(g[n].ref.mul(1 - adam.b1));
      next.v[n] = v[n].mul(adam.b2).add(np.square(g[n]).mul(1 - adam.b2));
      // correction holds 1 / (1 - b1^t) and 1 / sqrt(1 - b2^t), as shape (2, 1).
      const [c1, c2] = [0, 1].map((i) => np.sum(correction.ref.mul(np.array(Float32Array.of(1 - i, i)).reshape([2, 1]))));
      const change = next.m[n].ref.mul(c1).mul(adam.lr).div(np.sqrt(next.v[n].ref).mul(c2).add(adam.eps));
      next.w[n] = w[n].sub(change);
    }
    correction.dispose();
    return [value, next.w, next.m, next.v] as [JArray, Weights, Weights, Weights];
  });
  const zeros = () => Object.fromEntries(names.map((n) => [n, np.array(new Float32Array(data[n].length)).reshape([...shapes[n]])]));
  const begin = (): [Weights, Weights, Weights] => [
    Object.fromEntries(names.map((n) => [n, np.array(data[n]).reshape([...shapes[n]])])),
    zeros(),
    zeros(),
  ];
  let state = begin();
  let t = 0;
  const next = () => {
    t++;
    const correction = np.array(Float32Array.of(1 / (1 - adam.b1 ** t), 1 / Math.sqrt(1 - adam.b2 ** t))).reshape([2, 1]);
    const [value, ...after] = step(...state, correction, given.ref, wanted.ref);
    state = after;
    return value;
  };
  return {
    run: async () => {
      const value = next();
      await finish([value.ref, ...state.map((tree) => Object.fromEntries(names.map((n) => [n, tree[n].ref])))]);
      value.dispose();
    },
    result: async () => {
      for (const tree of state) for (const n of names) tree[n].dispose();
      state = begin();
      t = 0;
      return [(await next().data())[0], (await next().data())[0]];
    },
  };
}
