// Every op: a function that checks shapes, records launches on the tape of its first activation, and leaves its gradient.
export * from "./attention.ts";
export * from "./conv.ts";
export * from "./elementwise.ts";
export * from "./embedding.ts";
export * from "./flow.ts";
export * from "./group_norm.ts";
export * from "./head_norm_rope.ts";
export * from "./loss.ts";
export * from "./low_rank.ts";
export * from "./matmul.ts";
export * from "./norm.ts";
export * from "./quantize.ts";
export * from "./reduce.ts";
export * from "./rope.ts";
export * from "./sample.ts";
export * from "./softmax.ts";
export * from "./swiglu.ts";
