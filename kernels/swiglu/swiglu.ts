// The gated activation of the feed-forward layer and its gradient.
import { flat, flatVec4 } from "../flat.ts";
import { kernel } from "../kernel.ts";

const floats = ["f32", "f16"] as const;

export const swiglu = kernel({
  name: "swiglu",
  source: new URL("./swiglu.wgsl", import.meta.url),
  reads: ["g", "u"],
  writes: ["h"],
  params: { n: "u32" },
  types: { g: { alias: "XT", dtypes: floats }, u: { alias: "XT", dtypes: floats }, h: { alias: "YT", dtypes: floats } },
  ...flat,
  variants: [flatVec4(new URL("./swiglu_vec4.wgsl", import.meta.url))],
});

export const swigluBackward = kernel({
  name: "swiglu_backward",
  source: new URL("./swiglu_backward.wgsl", import.meta.url),
  reads: ["g", "u", "dh"],
  writes: ["dg", "du"],
  params: { n: "u32", accg: "u32", accu: "u32" },
  types: { g: { alias: "XT", dtypes: floats }, u: { alias: "XT", dtypes: floats } },
  ...flat,
  variants: [flatVec4(new URL("./swiglu_backward_vec4.wgsl", import.meta.url))],
});
