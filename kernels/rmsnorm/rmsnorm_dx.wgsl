// dx = rstd * (w dy - x * rstd^2 * mean over c of (w dy x)), added where acc is 1. One workgroup per row.
alias XT = f32;
alias WT = f32;
struct Params { rows: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read> w: array<WT>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups);
  if (row >= p.rows) { return; }
  var s = 0.0;
  for (var c = lane; c < p.C; c += WG) {
    let i = row * p.C + c;
    s += f32(w[c]) * dy[i] * f32(x[i]);
  }
  let r = rstd[row];
  let mean = workgroup_sum(s, lane) / f32(p.C);
  for (var c = lane; c < p.C; c += WG) {
    let i = row * p.C + c;
    var d = r * (f32(w[c]) * dy[i] - f32(x[i]) * (r * r * mean));
    if (p.acc != 0u) { d += dx[i]; }
    dx[i] = d;
  }
}
