// AdamW (adamw.wgsl) on weights stored as bf16 or, with F16 = 1, as f16, four values an invocation: the update is made on an f32 master, and the weight that
// the model reads is the master rounded to nearest, ties to even. A master that does not round to the weight was never made, or belongs to other
// weights: then the weight itself is taken up. f16 is rounded and widened by its bits, because WGSL leaves the rounding of conversions open.
struct Params { n: u32, lr: f32, b1: f32, b2: f32, c1: f32, c2: f32, eps: f32, decay: f32 }
@group(0) @binding(0) var<storage, read> grad: array<vec4f>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read_write> w: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> master: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;
override F16 = 0u;

const smallest = 0x38800000u; // bits of 2^-14, the smallest normal f16
const beyond = 0x477ff000u; // bits of 65520, the first that rounds past the largest f16

fn rounded(x: vec4f) -> vec4u {
  let bits = bitcast<vec4u>(x);
  if (F16 == 0u) { return (bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) >> vec4u(16u); }
  let size = bits & vec4u(0x7fffffffu);
  let based = size - vec4u(0x38000000u);
  let normal = (based + 0xfffu + ((based >> vec4u(13u)) & vec4u(1u))) >> vec4u(13u);
  let small = vec4u(round(min(abs(x), vec4f(1.0)) * 16777216.0));
  let near = select(select(small, normal, size >= vec4u(smallest)), vec4u(0x7c00u), size >= vec4u(beyond));
  return near | ((bits >> vec4u(16u)) & vec4u(0x8000u));
}

fn widened(h: vec4u) -> vec4f {
  if (F16 == 0u) { return bitcast<vec4f>(h << vec4u(16u)); }
  let size = h & vec4u(0x7fffu);
  let normal = bitcast<vec4f>((size << vec4u(13u)) + vec4u(0x38000000u));
  let value = select(vec4f(size) / 16777216.0, normal, size >= vec4u(0x400u));
  return select(value, -value, (h & vec4u(0x8000u)) != vec4u());
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let s = scale[0];
  if (i * 4u >= p.n || s == 0.0) { return; }
  let packed = w[i];
  let top = vec4u(packed.x & 0xffffu, packed.x >> 16u, packed.y & 0xffffu, packed.y >> 16u);
  let held = master[i];
  let old = select(widened(top), held, rounded(held) == top);
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
