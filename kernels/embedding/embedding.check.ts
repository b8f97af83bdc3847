import { type CheckRng, check, type Numbers, type Values } from "../kernel.ts";
import { gather, scatter } from "./embedding.ts";

const drawIds = (n: number, V: number, rng: CheckRng) => Uint32Array.from({ length: n }, () => rng.int(V));

export function gatherLoops({ rows, C, V }: Numbers, { table, ids }: Values) {
  const t = table as Float32Array;
  const id = ids as Uint32Array;
  const y = new Float64Array(rows * C);
  for (let r = 0; r < rows; r++) for (let c = 0; c < C; c++) y[r * C + c] = id[r] < V ? t[id[r] * C + c] : 0;
  return { y };
}

export function scatterLoops({ rows, C, V, skip, acc }: Numbers, { dy, ids, dtable }: Values) {
  const d = dy as Float32Array;
  const id = ids as Uint32Array;
  const out = acc ? Float64Array.from(dtable as Float32Array) : new Float64Array(V * C);
  for (let r = 0; r < rows; r++) if (id[r] !== skip) for (let c = 0; c < C; c++) out[id[r] * C + c] += d[r * C + c];
  return { dtable: out };
}

export default [
  check({
    kernel: gather,
    cases: [
      { rows: 1, C: 1, V: 1 },
      { rows: 7, C: 10, V: 5 },
      { rows: 33, C: 64, V: 450 },
      { rows: 70001, C: 4, V: 20 },
    ],
    bench: [{ rows: 1024, C: 160, V: 448 }],
    inputs: ({ rows, C, V }, rng) => {
      const ids = drawIds(rows, V, rng);
      if (rows > 5) ids[5] = V + 3;
      return { table: rng.normals(V * C), ids };
    },
    outputs: ({ rows, C }) => ({ y: rows * C }),
    reference: gatherLoops,
    tolerance: { f32: 0, f16: 5e-4 },
    dtypes: [{ table: "f16" }, { table: "f16", y: "f16" }],
    bytes: ({ rows, C }) => 8 * rows * C,
  }),
  check({
    kernel: scatter,
    cases: [
      { rows: 1, C: 1, V: 1, skip: 0xffffffff, acc: 0 },
      { rows: 9, C: 6, V: 3, skip: 1, acc: 1 },
      { rows: 35, C: 20, V: 11, skip: 0, acc: 0 },
      { rows: 300, C: 64, V: 50, skip: 0xffffffff, acc: 1 },
      { rows: 2100, C: 8, V: 450, skip: 0xffffffff, acc: 0 },
    ],
    bench: [
      { rows: 1024, C: 64, V: 448, skip: 0xffffffff, acc: 0 },
      { rows: 1024, C: 160, V: 448, skip: 0xffffffff, acc: 0 },
    ],
    inputs: ({ rows, C, V, acc }, rng) => ({
      dy: rng.normals(rows * C),
      ids: drawIds(rows, V, rng),
      ...(acc ? { dtable: rng.normals(V * C) } : {}),
    }),
    outputs: ({ C, V }) => ({ dtable: V * C }),
    reference: scatterLoops,
    tolerance: { f32: 2e-6 },
    bytes: ({ rows, C, V }) => 4 * (rows * C + V * C),
  }),
];
