// ONNX Runtime with WebGPU: its web package (through navigator.gpu) and its Node package (its own Dawn). Models are one or a few nodes, written
// here in ONNX's protobuf; weights are constants of the model.
import { fromFloat32, toFloat32 } from "../../weights/dtypes.ts";
import { type Data, groupSize, type PeerCase, type Product, quantizedWeights, transposed } from "./cases.ts";
import { type Engine, load, type Ready, versionOf } from "./engine.ts";

type Attributes = Record<string, number | string | number[]>;
interface Node {
  readonly op: string;
  readonly inputs: string[];
  readonly output: string;
  readonly attributes?: Attributes;
  /** Operators that only ONNX Runtime has. */
  readonly own?: boolean;
}
/** The array's class is the element type: f32, the bits of f16, bytes, int64. */
type Values = Float32Array | Uint16Array | Uint8Array | BigInt64Array;
interface Model {
  readonly nodes: Node[];
  readonly inputs: Record<string, { shape: number[]; data: Float32Array | Uint16Array }>;
  readonly constants: Record<string, { shape: number[]; data: Values }>;
  /** Of the inputs' element type. */
  readonly output: { name: string; shape: number[] };
}

interface OrtTensor {
  readonly data: Float32Array | Uint16Array;
  readonly location?: string;
  getData?(): Promise<Float32Array | Uint16Array>;
  dispose(): void;
}
interface Session {
  run(feeds: Record<string, OrtTensor>): Promise<Record<string, OrtTensor>>;
}
interface Ort {
  env: { wasm: { numThreads: number }; webgpu: { device: GPUDevice | Promise<GPUDevice> }; logLevel: string };
  Tensor: (new (
    type: string,
    data: Float32Array | Uint16Array,
    dims: number[],
  ) => OrtTensor) & {
    fromGpuBuffer(buffer: GPUBuffer, options: { dataType: string; dims: number[] }): OrtTensor;
  };
  InferenceSession: { create(model: Uint8Array, options: object): Promise<Session> };
}

const ways = ({ work }: PeerCase) => (work.op === "attention" ? ["its attention operator", "composed"] : [""]);

export async function openWeb(folder: string): Promise<Engine> {
  plainUploads();
  const ort = (await load(folder, "onnxruntime-web", "dist/ort.webgpu.bundle.min.mjs")) as unknown as Ort;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = "error";
  return {
    version: versionOf(folder, "onnxruntime-web"),
    ways,
    prepare: async (c, data, way) => {
      const model = modelOf(c, data, way);
      if (!model) return undefined;
      const session = await ort.InferenceSession.create(encodeModel(model), {
        executionProviders: ["webgpu"],
        preferredOutputLocation: "gpu-buffer",
      });
      const device = await ort.env.webgpu.device;
      const feeds = Object.fromEntries(
        Object.entries(model.inputs).map(([name, { shape, data: values }]) => {
          const buffer = device.createBuffer({ size: values.byteLength, usage: 128 | 8 | 4 });
          device.queue.writeBuffer(buffer, 0, values as Float32Array<ArrayBuffer>);
          return [name, ort.Tensor.fromGpuBuffer(buffer, { dataType: typeName(values), dims: shape })];
        }),
      );
      return readyOf(session, feeds, model.output.name, () => device.queue.onSubmittedWorkDone());
    },
  };
}

export async function openNode(folder: string): Promise<Engine> {
  const ort = (await load(folder, "onnxruntime-node")) as unknown as Ort;
  return {
    version: versionOf(folder, "onnxruntime-node"),
    note: "inputs go up and results come down each time",
    ways,
    prepare: async (c, data, way) => {
      const model = modelOf(c, data, way);
      if (!model) return undefined;
      const session = await ort.InferenceSession.create(encodeModel(model), { executionProviders: ["webgpu"], logSeverityLevel: 3 });
      const feeds = Object.fromEntries(
        Object.entries(model.inputs).map(([name, { shape, data: values }]) => [name, new ort.Tensor(typeName(values), values, shape)]),
      );
      return readyOf(session, feeds, model.output.name, async () => {});
    },
  };
}

const typeName = (values: Float32Array | Uint16Array) => (values instanceof Float32Array ? "float32" : "float16");

function readyOf(session: Session, feeds: Record<string, OrtTensor>, output: string, finish: () => Promise<unknown>): Ready {
  return {
    run: async () => {
      const y = (await session.run(feeds))[output];
      await finish();
      y.dispose();
    },
    result: async () => {
      const y = (await session.run(feeds))[output];
      const data = y.getData ? await y.getData() : y.data;
      return data instanceof Float32Array ? data : toFloat32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), "F16");
    },
  };
}

/** Dawn in Node refuses views of shared memory, which this package's uploads are: they are copied first. */
function plainUploads(): void {
  const queue = (globalThis as unknown as { GPUQueue: { prototype: GPUQueue } }).GPUQueue.prototype;
  const original = queue.writeBuffer;
  queue.writeBuffer = function (
    this: GPUQueue,
    buffer: GPUBuffer,
    at: number,
    data: ArrayBufferView | ArrayBuffer,
    from = 0,
    size?: number,
  ) {
    const view = ArrayBuffer.isView(data) ? data : new Uint8Array(data as ArrayBuffer);
    const unit = ArrayBuffer.isView(data) ? ((data as { BYTES_PER_ELEMENT?: number }).BYTES_PER_ELEMENT ?? 1) : 1;
    const bytes = new Uint8Array(
      view.buffer,
      view.byteOffset + from * unit,
      size === undefined ? view.byteLength - from * unit : size * unit,
    );
    return original.call(this, buffer, at, bytes.slice() as Uint8Array<ArrayBuffer>);
  } as typeof queue.writeBuffer;
}

function modelOf({ work: w, name }: PeerCase, d: Data, way: string): Model | undefined {
  const node = (op: string, inputs: string[], attributes?: Attributes, own?: boolean): Node => ({
    op,
    inputs,
    output: "y",
    attributes,
    own,
  });
  switch (w.op) {
    case "matmul":
      return product(w, name, d);
    case "softmax":
      return one(node("Softmax", ["x"], { axis: 1 }), { x: { shape: [w.rows, w.C], data: d.x } }, {}, [w.rows, w.C]);
    case "layernorm": {
      const constants = { w: { shape: [w.C], data: d.w }, b: { shape: [w.C], data: d.b } };
      return one(
        node("LayerNormalization", ["x", "w", "b"], { axis: 1, epsilon: 1e-5 }),
        { x: { shape: [w.rows, w.C], data: d.x } },
        constants,
        [w.rows, w.C],
      );
    }
    case "conv": {
      const x = transposed(d.x, w.S * w.S, w.I);
      const k = transposed(d.w, 9 * w.I, w.O);
      const kernel = new Float32Array(k.length);
      for (let o = 0; o < w.O; o++)
        for (let i = 0; i < w.I; i++) for (let p = 0; p < 9; p++) kernel[(o * w.I + i) * 9 + p] = k[o * 9 * w.I + p * w.I + i];
      const conv: Node = { op: "Conv", inputs: ["x", "w"], output: "channels", attributes: { pads: [1, 1, 1, 1], kernel_shape: [3, 3] } };
      // The result is asked for as NHWC, which costs a transposition; worldline and TensorFlow.js compute in that layout.
      const model = one(conv, { x: { shape: [1, w.I, w.S, w.S], data: x } }, { w: { shape: [w.O, w.I, 3, 3], data: kernel } }, [
        1,
        w.S,
        w.S,
        w.O,
      ]);
      return { ...model, nodes: [conv, node("Transpose", ["channels"], { perm: [0, 2, 3, 1] })] };
    }
    case "attention":
      return way === "composed" ? composedAttention(w, d) : ownAttention(w, d);
    case "training":
      return undefined;
  }
}

/** MatMul of f32 or f16, or MatMulNBits, whose packed weights lie as worldline's do. */
function product(w: Product, name: string, d: Data): Model {
  const { M, N, K } = w;
  if (w.stored === "f32" || w.stored === "f16") {
    const as = (v: Float32Array) => (w.stored === "f16" ? new Uint16Array(fromFloat32(v, "F16").buffer) : v);
    const n: Node = { op: "MatMul", inputs: ["x", "w"], output: "y" };
    return one(n, { x: { shape: [M, K], data: as(d.x) } }, { w: { shape: [K, N], data: as(d.w) } }, [M, N]);
  }
  const bits = w.stored === "int4" ? 4 : 8;
  const groups = K / groupSize;
  const packed = quantizedWeights(w, name);
  const n: Node = {
    op: "MatMulNBits",
    inputs: ["x", "w", "scales"],
    output: "y",
    attributes: { K, N, bits, block_size: groupSize },
    own: true,
  };
  const constants = {
    w: { shape: [N, groups, (groupSize * bits) / 8], data: packed.bits },
    scales: { shape: [N, groups], data: packed.scales },
  };
  return one(n, { x: { shape: [M, K], data: d.x } }, constants, [M, N]);
}

function one(n: Node, inputs: Model["inputs"], constants: Model["constants"], shape: number[]): Model {
  return { nodes: [n], inputs, constants, output: { name: "y", shape } };
}

function composedAttention({ H, T, D }: { H: number; T: number; D: number }, d: Data): Model {
  const shape = [1, H, T, D];
  const mask = Float32Array.from({ length: T * T }, (_, i) => (i % T > Math.floor(i / T) ? -1e9 : 0));
  return {
    nodes: [
      { op: "Transpose", inputs: ["k"], output: "kt", attributes: { perm: [0, 1, 3, 2] } },
      { op: "MatMul", inputs: ["q", "kt"], output: "s" },
      { op: "Mul", inputs: ["s", "scale"], output: "scaled" },
      { op: "Add", inputs: ["scaled", "mask"], output: "masked" },
      { op: "Softmax", inputs: ["masked"], output: "p", attributes: { axis: 3 } },
      { op: "MatMul", inputs: ["p", "v"], output: "y" },
    ],
    inputs: Object.fromEntries(["q", "k", "v"].map((name) => [name, { shape, data: d[name] }])),
    constants: { scale: { shape: [1], data: Float32Array.of(1 / Math.sqrt(D)) }, mask: { shape: [1, 1, T, T], data: mask } },
    output: { name: "y", shape },
  };
}

/** MultiHeadAttention takes (B, T, H D) and gives the same; the result is turned into the case's layout. */
function ownAttention({ H, T, D }: { H: number; T: number; D: number }, d: Data): Model {
  const rows = (x: Float32Array) => {
    const y = new Float32Array(x.length);
    for (let h = 0; h < H; h++) for (let t = 0; t < T; t++) y.set(x.subarray((h * T + t) * D, (h * T + t + 1) * D), (t * H + h) * D);
    return y;
  };
  return {
    nodes: [
      { op: "MultiHeadAttention", inputs: ["q", "k", "v"], output: "o", attributes: { num_heads: H, unidirectional: 1 }, own: true },
      { op: "Reshape", inputs: ["o", "heads"], output: "split" },
      { op: "Transpose", inputs: ["split"], output: "y", attributes: { perm: [0, 2, 1, 3] } },
    ],
    inputs: Object.fromEntries(["q", "k", "v"].map((name) => [name, { shape: [1, T, H * D], data: rows(d[name]) }])),
    constants: { heads: { shape: [4], data: BigInt64Array.of(1n, BigInt(T), BigInt(H), BigInt(D)) } },
    output: { name: "y", shape: [1, H, T, D] },
  };
}

// ---- ONNX's protobuf, as far as such models need it

const text = (s: string) => new TextEncoder().encode(s);
const join = (parts: Uint8Array[]) => {
  const out = new Uint8Array(parts.reduce((a, p) => a + p.length, 0));
  let at = 0;
  for (const p of parts) {
    out.set(p, at);
    at += p.length;
  }
  return out;
};

function varint(value: number): Uint8Array {
  const out: number[] = [];
  let v = value;
  while (v > 127) {
    out.push((v % 128) | 128);
    v = Math.floor(v / 128);
  }
  return Uint8Array.from([...out, v]);
}
const whole = (field: number, v: number) => join([varint(field * 8), varint(v)]);
const bytes = (field: number, b: Uint8Array) => join([varint(field * 8 + 2), varint(b.length), b]);
const real = (field: number, v: number) => join([varint(field * 8 + 5), new Uint8Array(Float32Array.of(v).buffer)]);

function attribute(name: string, v: number | string | number[]): Uint8Array {
  if (Array.isArray(v)) return join([bytes(1, text(name)), ...v.map((i) => whole(8, i)), whole(20, 7)]);
  if (typeof v === "string") return join([bytes(1, text(name)), bytes(4, text(v)), whole(20, 3)]);
  return Number.isInteger(v)
    ? join([bytes(1, text(name)), whole(3, v), whole(20, 2)])
    : join([bytes(1, text(name)), real(2, v), whole(20, 1)]);
}

/** ONNX's number of an element type. */
function typeNumber(data: Values): number {
  if (data instanceof Float32Array) return 1;
  if (data instanceof Uint8Array) return 2;
  return data instanceof BigInt64Array ? 7 : 10;
}

function valueInfo(name: string, shape: number[], type: number): Uint8Array {
  const dims = join(shape.map((d) => bytes(1, whole(1, d))));
  return join([bytes(1, text(name)), bytes(2, bytes(1, join([whole(1, type), bytes(2, dims)])))]);
}

function constant(name: string, shape: number[], data: Values): Uint8Array {
  const raw = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return join([...shape.map((d) => whole(1, d)), whole(2, typeNumber(data)), bytes(8, text(name)), bytes(9, raw)]);
}

export function encodeModel(m: Model): Uint8Array {
  const inputs = Object.entries(m.inputs);
  const graph = join([
    ...m.nodes.map((n) =>
      bytes(
        1,
        join([
          ...n.inputs.map((i) => bytes(1, text(i))),
          bytes(2, text(n.output)),
          bytes(4, text(n.op)),
          ...Object.entries(n.attributes ?? {}).map(([k, v]) => bytes(5, attribute(k, v))),
          ...(n.own ? [bytes(7, text("com.microsoft"))] : []),
        ]),
      ),
    ),
    bytes(2, text("case")),
    ...Object.entries(m.constants).map(([name, c]) => bytes(5, constant(name, c.shape, c.data))),
    ...inputs.map(([name, i]) => bytes(11, valueInfo(name, i.shape, typeNumber(i.data)))),
    bytes(12, valueInfo(m.output.name, m.output.shape, typeNumber(inputs[0][1].data))),
  ]);
  const opset = (domain: string, version: number) => bytes(8, join([...(domain ? [bytes(1, text(domain))] : []), whole(2, version)]));
  return join([whole(1, 8), bytes(7, graph), opset("", 17), opset("com.microsoft", 1)]);
}
