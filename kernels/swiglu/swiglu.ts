// The gated activation of the feed-forward layer and its gradient, and for one token the activation together with the two products before it.
import { flat, flatVec4 } from "../flat.ts";
import { type Capabilities, grid2d, kernel, type Numbers } from "../kernel.ts";

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

const wide = { stored: true, dtypes: ["f32", "f16", "bf16"] } as const;

/** Whether the fast variant of gatedProduct can be used: elsewhere two products and swiglu are faster. */
export const gatedProductPays = ({ N, K }: Numbers, { lanes }: Capabilities) => lanes >= 4 && N % 4 === 0 && K % 4 === 0;

export const gatedProduct = kernel({
  name: "gated_product",
  source: new URL("./gated_product.wgsl", import.meta.url),
  lib: ["grid", "stored_{gate}"],
  reads: ["x", "gate", "up"],
  writes: ["h"],
  params: { N: "u32", K: "u32" },
  types: { gate: wide, up: wide },
  consts: { WG: 64 },
  grid: ({ N }, { WG }) => grid2d(Math.ceil(N / WG)),
  variants: [
    {
      name: "gemv",
      source: new URL("./gated_product_gemv.wgsl", import.meta.url),
      lib: ["grid", "stored_{gate}"],
      needs: ["subgroups"],
      when: gatedProductPays,
      consts: (_, { lanes }) => ({ WG: lanes }),
      grid: ({ N }) => grid2d(N / 4),
    },
  ],
});
