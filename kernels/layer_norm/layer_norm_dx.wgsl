// dx = rstd * (g - mean(g) - xhat * mean(g xhat)), g = dy w[head], xhat = (x - mean) * rstd, added where acc is 1; head = row % heads.
// One workgroup per row.
alias XT = f32;
alias WT = f32;
struct Params { rows: u32, D: u32, heads: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read> w: array<WT>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups);
  if (row >= p.rows) { return; }
  let base = row * p.D;
  let head = row % p.heads * p.D;
  let m = mean[row];
  let r = rstd[row];
  var s = 0.0;
  var t = 0.0;
  for (var c = lane; c < p.D; c += WG) {
    let g = dy[base + c] * f32(w[head + c]);
    s += g;
    t += g * (f32(x[base + c]) - m) * r;
  }
  let a = workgroup_sum(s, lane) / f32(p.D);
  let b = workgroup_sum(t, lane) / f32(p.D);
  for (var c = lane; c < p.D; c += WG) {
    var v = r * (dy[base + c] * f32(w[head + c]) - a - (f32(x[base + c]) - m) * r * b);
    if (p.acc != 0u) { v += dx[base + c]; }
    dx[base + c] = v;
  }
}
