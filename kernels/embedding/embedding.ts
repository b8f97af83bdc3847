// Rows of a table by id, read as the table is stored (weights/quantize.ts), and the gradient of the table: a deterministic scatter in which each table row has one owner.
import { grid2d, kernel, storedTypes } from "../kernel.ts";

const floats = ["f32", "f16"] as const;

export const gather = kernel({
  name: "embedding_gather",
  source: new URL("./gather.wgsl", import.meta.url),
  lib: ["grid", "stored_{table}"],
  reads: ["table", "scales", "ids"],
  writes: ["y"],
  params: { rows: "u32", C: "u32", V: "u32", first: "u32", rest: "u32", group: "u32" },
  types: {
    table: { stored: true, dtypes: storedTypes },
    scales: { alias: "ST", dtypes: floats },
    ids: "u32",
    y: { alias: "YT", dtypes: floats },
  },
  consts: { WG: 64 },
  grid: ({ rows, C }, { WG }) => grid2d(Math.ceil((rows * C) / WG)),
  variants: [
    {
      name: "vec4",
      source: new URL("./gather_vec4.wgsl", import.meta.url),
      lib: ["grid", "stored_{table}"],
      when: ({ C }) => C % 4 === 0,
      consts: ({ C }, { software, lanes }) => (software ? { WG: Math.max(4, lanes), PER: 8 } : { WG: C > 128 ? 64 : 32, PER: 1 }),
      grid: ({ rows }, { PER }) => grid2d(Math.ceil(rows / PER)),
    },
  ],
});

export const scatter = kernel({
  name: "embedding_scatter",
  source: new URL("./scatter.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["dy", "ids"],
  writes: ["dtable"],
  params: { rows: "u32", C: "u32", V: "u32", first: "u32", skip: "u32", acc: "u32" },
  types: { ids: "u32" },
  consts: { WG: 64 },
  grid: ({ V, C }, { WG }) => grid2d(Math.ceil((V * C) / WG)),
  variants: [
    {
      name: "rows",
      source: new URL("./scatter_rows.wgsl", import.meta.url),
      lib: ["grid"],
      needs: ["subgroups"],
      when: ({ C }, { lanes }) => C % 4 === 0 && lanes >= 4,
      consts: (_, { lanes, software }) => ({ LANES: lanes, PER: software ? 8 : 1 }),
      grid: ({ V }, { PER }) => grid2d(Math.ceil(V / PER)),
    },
  ],
});
