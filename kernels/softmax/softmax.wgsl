// y[r, c] = exp(x[r, c] - m) / sum over c of exp(x[r, c] - m), m the largest value of the row. One workgroup per row.
struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups);
  if (row >= p.rows) { return; }
  var m = x[row * p.C];
  for (var c = lane; c < p.C; c += WG) { m = max(m, x[row * p.C + c]); }
  let top = workgroup_max(m, lane);
  var s = 0.0;
  for (var c = lane; c < p.C; c += WG) { s += exp(x[row * p.C + c] - top); }
  let scale = 1.0 / workgroup_sum(s, lane);
  for (var c = lane; c < p.C; c += WG) { y[row * p.C + c] = exp(x[row * p.C + c] - top) * scale; }
}
