// Writes small ONNX models: the few messages of ONNX's protocol buffers (onnx.proto: ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto,
// ValueInfoProto) byte by byte, so that tests of the metrics need no model from elsewhere.

/** A constant of the graph. */
export interface Constant {
  readonly name: string;
  readonly shape: readonly number[];
  readonly floats?: Float32Array;
  readonly ints?: readonly number[];
}

/** One operation. An attribute is a whole number or a list of them. */
export interface Node {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, number | readonly number[]>>;
}

/** An input or output; a dimension that is text is free. */
export interface Value {
  readonly name: string;
  readonly type: "float" | "int64";
  readonly shape: readonly (number | string)[];
}

export interface Graph {
  readonly nodes: readonly Node[];
  readonly constants: readonly Constant[];
  readonly inputs: readonly Value[];
  readonly outputs: readonly Value[];
}

const elementTypes = { float: 1, int64: 7 };

/** Bytes of a model with operator set 13. */
export function onnxModel(graph: Graph): Uint8Array {
  const opset = message(text(1, ""), int(2, 13));
  return Uint8Array.from(message(int(1, 8), text(2, "test"), part(7, graphProto(graph)), part(8, opset)));
}

function graphProto({ nodes, constants, inputs, outputs }: Graph): number[] {
  return message(
    ...nodes.map((node) => part(1, nodeProto(node))),
    text(2, "graph"),
    ...constants.map((c) => part(5, tensorProto(c))),
    ...inputs.map((value) => part(11, valueProto(value))),
    ...outputs.map((value) => part(12, valueProto(value))),
  );
}

function nodeProto({ op, inputs, outputs, attributes = {} }: Node): number[] {
  const attribute = ([name, value]: [string, number | readonly number[]]) =>
    typeof value === "number"
      ? part(5, message(text(1, name), int(3, value), int(20, 2)))
      : part(5, message(text(1, name), ...value.map((n) => int(8, n)), int(20, 7)));
  return message(
    ...inputs.map((n) => text(1, n)),
    ...outputs.map((n) => text(2, n)),
    text(4, op),
    ...Object.entries(attributes).map(attribute),
  );
}

function tensorProto({ name, shape, floats, ints }: Constant): number[] {
  const raw = floats
    ? new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength)
    : new Uint8Array(BigInt64Array.from((ints ?? []).map(BigInt)).buffer);
  return message(
    ...shape.map((n) => int(1, n)),
    int(2, floats ? elementTypes.float : elementTypes.int64),
    text(8, name),
    part(9, [...raw]),
  );
}

function valueProto({ name, type, shape }: Value): number[] {
  const dims = shape.map((n) => part(1, typeof n === "number" ? int(1, n) : text(2, n)));
  return message(text(1, name), part(2, part(1, message(int(1, elementTypes[type]), part(2, message(...dims))))));
}

const message = (...fields: number[][]) => fields.flat();
const part = (field: number, bytes: readonly number[]) => [...varint(field * 8 + 2), ...varint(bytes.length), ...bytes];
const text = (field: number, value: string) => part(field, [...new TextEncoder().encode(value)]);
const int = (field: number, value: number) => [...varint(field * 8), ...varint(value)];

/** Base 128, lowest group first; negative numbers as 64-bit two's complement. */
function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}
