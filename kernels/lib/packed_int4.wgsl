// 32 int4 values in 16 bytes for kernels/matmul/gemv_packed.wgsl. Bits are masked, not shifted, so they come out as 1, 16, 256 or 4096 times the
// value, and x is divided by that beforehand, which is exact.
const VALUES = 32u;
const QUADS = 8u;
const OFFSET = 8.0;

fn prepared(x: vec4f, quad: u32) -> vec4f { return x * vec4f(1.0, 0.0625, 0.00390625, 0.000244140625); }

fn scale_of(i: u32) -> f32 { return f32(scales[i]); }

fn low(w: u32) -> vec4f { return vec4f(vec4i(vec4u(w) & vec4u(0xfu, 0xf0u, 0xf00u, 0xf000u))); }

fn product(w: vec4u, x: array<vec4f, QUADS>) -> f32 {
  let h = w >> vec4u(16u);
  var sum = low(w.x) * x[0] + low(h.x) * x[1];
  sum += low(w.y) * x[2] + low(h.y) * x[3];
  sum += low(w.z) * x[4] + low(h.z) * x[5];
  sum += low(w.w) * x[6] + low(h.w) * x[7];
  return sum.x + sum.y + sum.z + sum.w;
}
