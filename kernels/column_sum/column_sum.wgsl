// y[c] = sum over r of x[r, c], added to what y holds where acc is 1: the gradient of a bias. One invocation makes one column.
struct Params { rows: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group_index(group, groups) * WG + lane;
  if (c >= p.C) { return; }
  var sum = 0.0;
  for (var r = 0u; r < p.rows; r++) { sum += x[r * p.C + c]; }
  if (p.acc == 1u) { sum += y[c]; }
  y[c] = sum;
}
