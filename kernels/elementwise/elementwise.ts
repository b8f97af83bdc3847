// Elementwise sums and copies: add, cast between element types, and reordering of axes.
import { flat, flatVec4 } from "../flat.ts";
import { kernel } from "../kernel.ts";

const floats = ["f32", "f16"] as const;

export const add = kernel({
  name: "add",
  source: new URL("./add.wgsl", import.meta.url),
  reads: ["a", "b"],
  writes: ["y"],
  params: { n: "u32" },
  types: { a: { alias: "AT", dtypes: floats }, b: { alias: "BT", dtypes: floats }, y: { alias: "YT", dtypes: floats } },
  ...flat,
  variants: [flatVec4(new URL("./add_vec4.wgsl", import.meta.url))],
});

export const cast = kernel({
  name: "cast",
  source: new URL("./cast.wgsl", import.meta.url),
  reads: ["x"],
  writes: ["y"],
  params: { n: "u32", acc: "u32" },
  types: { x: { alias: "XT", dtypes: floats }, y: { alias: "YT", dtypes: floats } },
  ...flat,
  variants: [flatVec4(new URL("./cast_vec4.wgsl", import.meta.url))],
});

const inFours = flatVec4(new URL("./permute_vec4.wgsl", import.meta.url));

export const permute = kernel({
  name: "permute",
  source: new URL("./permute.wgsl", import.meta.url),
  reads: ["x"],
  writes: ["y"],
  params: { n: "u32", s1: "u32", s2: "u32", s3: "u32", t0: "u32", t1: "u32", t2: "u32", t3: "u32", acc: "u32" },
  types: { x: { alias: "XT", dtypes: floats }, y: { alias: "YT", dtypes: floats } },
  ...flat,
  variants: [{ ...inFours, when: ({ s3, t0, t1, t2, t3 }) => t3 === 1 && [s3, t0, t1, t2].every((v) => v % 4 === 0) }],
});
