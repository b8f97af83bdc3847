// The gradient of cross-entropy, V a multiple of 4, four values an invocation; see cross_entropy_dx.wgsl.
struct Params { R: u32, V: u32, row: u32, smoothing: f32, z: f32, acc: u32 }
@group(0) @binding(0) var<storage, read> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> inverse: array<f32>;
@group(0) @binding(5) var<storage, read> dloss: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogits: array<vec4f>;
@group(0) @binding(7) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let n = p.V / 4u;
  if (i >= p.R * n) { return; }
  let r = p.row + i / n;
  let v = 4u * (i % n);
  let hit = vec4u(v, v + 1u, v + 2u, v + 3u) == vec4u(targets[r]);
  var d = vec4f();
  if (weights[r] != 0.0) {
    let hot = select(vec4f(), vec4f(1.0 - p.smoothing), hit) + p.smoothing / f32(p.V);
    d = weights[r] * inverse[0] * dloss[0] * (exp(logits[i] - lse[r]) * (1.0 + 2.0 * p.z * lse[r]) - hot);
  }
  if (p.acc == 1u) { d += dlogits[i]; }
  dlogits[i] = d;
}
