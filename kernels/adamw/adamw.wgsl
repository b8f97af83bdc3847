// AdamW with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101), four values an invocation:
//   g = grad * scale; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2
//   w = w (1 - lr decay) - lr (m / c1) / (sqrt(v) / sqrt(c2) + eps),  c1 = 1 - b1^t, c2 = 1 - b2^t
// A gradient that is not finite makes scale 0 (clip_scale.wgsl); then nothing changes.
struct Params { n: u32, lr: f32, b1: f32, b2: f32, c1: f32, c2: f32, eps: f32, decay: f32 }
@group(0) @binding(0) var<storage, read> grad: array<vec4f>;
@group(0) @binding(1) var<storage, read> scale: array<f32>;
@group(0) @binding(2) var<storage, read_write> w: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let s = scale[0];
  if (i * 4u >= p.n || s == 0.0) { return; }
  let g = grad[i] * s;
  let mean = p.b1 * m[i] + (1.0 - p.b1) * g;
  let square = p.b2 * v[i] + (1.0 - p.b2) * g * g;
  m[i] = mean;
  v[i] = square;
  w[i] = w[i] * (1.0 - p.lr * p.decay) - p.lr * (mean / p.c1) / (sqrt(square) / sqrt(p.c2) + p.eps);
}
