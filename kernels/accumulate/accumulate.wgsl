// y[i] = x[i] * scale, added to what y holds where acc is 1. One invocation makes one element.
struct Params { n: u32, scale: f32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n) { return; }
  var sum = x[i] * p.scale;
  if (p.acc == 1u) { sum += y[i]; }
  y[i] = sum;
}
