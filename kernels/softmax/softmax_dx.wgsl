// dx = y * (dy - sum over c of dy y), added where acc is 1. One workgroup per row.
struct Params { rows: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> y: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups);
  if (row >= p.rows) { return; }
  var s = 0.0;
  for (var c = lane; c < p.C; c += WG) { s += dy[row * p.C + c] * y[row * p.C + c]; }
  let mean = workgroup_sum(s, lane);
  for (var c = lane; c < p.C; c += WG) {
    let i = row * p.C + c;
    var d = y[i] * (dy[i] - mean);
    if (p.acc != 0u) { d += dx[i]; }
    dx[i] = d;
  }
}
