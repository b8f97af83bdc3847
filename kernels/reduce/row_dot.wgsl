// y[r] = scale * sum over c of x[r, c] * z[r, c]; rows are runs of C of the n values, the last one may be shorter. One workgroup per row.
struct Params { rows: u32, C: u32, n: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups);
  if (row >= p.rows) { return; }
  var s = 0.0;
  for (var i = row * p.C + lane; i < min((row + 1u) * p.C, p.n); i += WG) { s += x[i] * z[i]; }
  let sum = workgroup_sum(s, lane);
  if (lane == 0u) { y[row] = sum * p.scale; }
}
