import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { gather, scatter } from "./embedding.ts";

const drawIds = (n: number, V: number, rng: CheckRng) => Uint32Array.from({ length: n }, () => rng.int(V));

export function gatherLoops({ rows, C, V, first = 0, rest = 0 }: Numbers, { table, ids, y: old }: Values) {
  const t = table as Float32Array;
  const id = ids as Uint32Array;
  const y = rest ? Float64Array.from(old as Float32Array) : new Float64Array(rows * C);
  for (let r = 0; r < rows; r++) {
    const v = id[r] - first;
    if (v >= 0 && v < V) for (let c = 0; c < C; c++) y[r * C + c] = t[v * C + c];
  }
  return { y };
}

export function scatterLoops({ rows, C, V, first = 0, skip, acc }: Numbers, { dy, ids, dtable }: Values) {
  const d = dy as Float32Array;
  const id = ids as Uint32Array;
  const out = acc ? Float64Array.from(dtable as Float32Array) : new Float64Array(V * C);
  for (let r = 0; r < rows; r++) {
    const v = id[r] - first;
    if (id[r] !== skip && v >= 0 && v < V) for (let c = 0; c < C; c++) out[v * C + c] += d[r * C + c];
  }
  return { dtable: out };
}

export default [
  check({
    kernel: gather,
    cases: [
      { rows: 1, C: 1, V: 1, first: 0, rest: 0, group: 5 },
      { rows: 7, C: 10, V: 5, first: 0, rest: 0, group: 3 },
      { rows: 9, C: 37, V: 5, first: 2, rest: 1, group: 4 },
      { rows: 33, C: 64, V: 450, first: 0, rest: 0, group: 5 },
      { rows: 40, C: 44, V: 30, first: 12, rest: 1, group: 5 },
      { rows: 20, C: 256, V: 30, first: 0, rest: 0, group: 7 },
      { rows: 70001, C: 4, V: 20, first: 0, rest: 0, group: 5 },
    ],
    bench: [{ rows: 1024, C: 160, V: 448, first: 0, rest: 0, group: 5 }],
    inputs: ({ rows, C, V, first, rest }, rng): Values => {
      const ids = drawIds(rows, V + 2 * first, rng);
      if (rows > 5) ids[5] = V + first + 3;
      return { table: rng.normals(V * C), scales: new Float32Array(4), ids, ...(rest ? { y: rng.normals(rows * C) } : {}) };
    },
    outputs: ({ rows, C }) => ({ y: rows * C }),
    reference: gatherLoops,
    tolerance: { f32: 0, f16: 5e-4 },
    quantized: { table: { scales: "scales", columns: ({ C }) => C } },
    dtypes: [{ table: "f16" }, { table: "f16", y: "f16" }, { table: "bf16" }, { table: "int8" }, { table: "int4" }],
    bytes: ({ rows, C }, size) => rows * C * (size("table") + size("y")),
  }),
  check({
    kernel: scatter,
    cases: [
      { rows: 1, C: 1, V: 1, first: 0, skip: 0xffffffff, acc: 0 },
      { rows: 9, C: 6, V: 3, first: 0, skip: 1, acc: 1 },
      { rows: 35, C: 20, V: 11, first: 0, skip: 0, acc: 0 },
      { rows: 300, C: 64, V: 50, first: 0, skip: 0xffffffff, acc: 1 },
      { rows: 90, C: 5, V: 9, first: 4, skip: 7, acc: 1 },
      { rows: 300, C: 64, V: 20, first: 11, skip: 13, acc: 0 },
      { rows: 2100, C: 8, V: 450, first: 0, skip: 0xffffffff, acc: 0 },
    ],
    bench: [
      { rows: 1024, C: 64, V: 448, first: 0, skip: 0xffffffff, acc: 0 },
      { rows: 1024, C: 160, V: 448, first: 0, skip: 0xffffffff, acc: 0 },
    ],
    inputs: ({ rows, C, V, first, acc }, rng) => ({
      dy: rng.normals(rows * C),
      ids: drawIds(rows, V + 2 * first, rng),
      ...(acc ? { dtable: rng.normals(V * C) } : {}),
    }),
    outputs: ({ C, V }) => ({ dtable: V * C }),
    reference: scatterLoops,
    tolerance: { f32: 2e-6 },
    bytes: ({ rows, C, V }) => 4 * (rows * C + V * C),
  }),
];
