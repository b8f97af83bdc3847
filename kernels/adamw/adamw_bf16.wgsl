// AdamW (adamw.wgsl) on weights stored as bf16, four values an invocation: the update is made on an f32 master, and the weight that the model reads is the
// master rounded to nearest, ties to even. A master that does not round to the weight was never made, or belongs to other weights: then the weight
// itself is taken up.
struct Params { n: u32, lr: f32, b1: f32, b2: f32, c1: f32, c2: f32, eps: f32, decay: f32 }
@group(0) @binding(0) var<storage, read> grad: array<vec4f>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read_write> w: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> master: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;

fn rounded(x: vec4f) -> vec4u {
  let bits = bitcast<vec4u>(x);
  return (bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) >> vec4u(16u);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let s = scale[0];
  if (i * 4u >= p.n || s == 0.0) { return; }
  let packed = w[i];
  let top = vec4u(packed.x & 0xffffu, packed.x >> 16u, packed.y & 0xffffu, packed.y >> 16u);
  let held = master[i];
  let old = select(bitcast<vec4f>(top << vec4u(16u)), held, rounded(held) == top);
  let g = grad[i] * s;
  let mean = p.b1 * m[i] + (1.0 - p.b1) * g;
  let square = p.b2 * v[i] + (1.0 - p.b2) * g * g;
  m[i] = mean;
  v[i] = square;
  let new_one = old * (1.0 - p.lr * p.decay) - p.lr * (mean / p.c1) / (sqrt(square) / sqrt(p.c2) + p.eps);
  master[i] = new_one;
  let near = rounded(new_one);
  w[i] = vec2u(near.x | (near.y << 16u), near.z | (near.w << 16u));
}
