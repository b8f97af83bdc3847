// 8 bf16 values in 16 bytes for kernels/matmul/gemv_packed.wgsl: no scales.
const VALUES = 8u;
const QUADS = 2u;
const OFFSET = 0.0;

fn prepared(x: vec4f, quad: u32) -> vec4f { return x; }

fn scale_of(i: u32) -> f32 { return 1.0; }

fn product(w: vec4u, x: array<vec4f, QUADS>) -> f32 {
  let low = bitcast<vec4f>(w << vec4u(16u));
  let high = bitcast<vec4f>(w & vec4u(0xffff0000u));
  let sum = vec4f(low.x, high.x, low.y, high.y) * x[0] + vec4f(low.z, high.z, low.w, high.w) * x[1];
  return sum.x + sum.y + sum.z + sum.w;
}
