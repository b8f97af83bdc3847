// 16 int8 values in 16 bytes for kernels/matmul/gemv_packed.wgsl, masked as in packed_int4.wgsl: 1 or 256 times the value.
const VALUES = 16u;
const QUADS = 4u;
const OFFSET = 128.0;

fn prepared(x: vec4f, quad: u32) -> vec4f { return x * vec4f(1.0, 0.00390625, 1.0, 0.00390625); }

fn scale_of(i: u32) -> f32 { return f32(scales[i]); }

fn bytes(w: u32) -> vec4f { return vec4f(vec4i(vec4u(w, w, w >> 16u, w >> 16u) & vec4u(0xffu, 0xff00u, 0xffu, 0xff00u))); }

fn product(w: vec4u, x: array<vec4f, QUADS>) -> f32 {
  let sum = bytes(w.x) * x[0] + bytes(w.y) * x[1] + bytes(w.z) * x[2] + bytes(w.w) * x[3];
  return sum.x + sum.y + sum.z + sum.w;
}
