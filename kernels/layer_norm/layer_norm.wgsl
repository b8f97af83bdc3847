// y = (x - mean) * rstd * w[head] + b[head] over D values; row i has head i % heads, rstd = 1 / sqrt(variance + eps).
// One workgroup per row.
alias XT = f32;
alias WT = f32;
alias YT = f32;
struct Params { rows: u32, D: u32, heads: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read> w: array<WT>;
@group(0) @binding(2) var<storage, read> b: array<WT>;
@group(0) @binding(3) var<storage, read_write> y: array<YT>;
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups);
  if (row >= p.rows) { return; }
  let base = row * p.D;
  let head = row % p.heads * p.D;
  var s = 0.0;
  for (var c = lane; c < p.D; c += WG) { s += f32(x[base + c]); }
  let m = workgroup_sum(s, lane) / f32(p.D);
  var q = 0.0;
  for (var c = lane; c < p.D; c += WG) { let v = f32(x[base + c]) - m; q += v * v; }
  let r = 1.0 / sqrt(workgroup_sum(q, lane) / f32(p.D) + p.eps);
  for (var c = lane; c < p.D; c += WG) { y[base + c] = YT((f32(x[base + c]) - m) * r * f32(w[head + c]) + f32(b[head + c])); }
  if (lane == 0u) {
    mean[row] = m;
    rstd[row] = r;
  }
}
