// d logits[r, v] (+)= (softmax (1 + 2 z lse) - (1 - smoothing) [v == target] - smoothing / V) * weight * inverse * dloss; rows of weight 0 give 0.
// The logits are those of rows `row` ... of the batch.
struct Params { R: u32, V: u32, row: u32, smoothing: f32, z: f32, acc: u32 }
@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<f32>;
@group(0) @binding(3) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read> inverse: array<f32>;
@group(0) @binding(5) var<storage, read> dloss: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogits: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.R * p.V) { return; }
  let r = p.row + i / p.V;
  let k = weights[r] * inverse[0] * dloss[0];
  let l = lse[r];
  var d = 0.0;
  if (weights[r] != 0.0) {
    let hot = select(0.0, 1.0 - p.smoothing, i % p.V == targets[r]);
    d = k * (exp(logits[i] - l) * (1.0 + 2.0 * p.z * l) - hot - p.smoothing / f32(p.V));
  }
  if (p.acc == 1u) { d += dlogits[i]; }
  dlogits[i] = d;
}
