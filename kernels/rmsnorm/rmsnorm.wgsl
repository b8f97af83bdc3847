// y[r, c] = w[c] * x[r, c] * rstd[r], rstd[r] = 1 / sqrt(mean over c of x[r, c]^2 + eps). One workgroup per row.
alias XT = f32;
alias WT = f32;
alias YT = f32;
struct Params { rows: u32, C: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read> w: array<WT>;
@group(0) @binding(2) var<storage, read_write> y: array<YT>;
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups);
  if (row >= p.rows) { return; }
  var s = 0.0;
  for (var c = lane; c < p.C; c += WG) { let v = f32(x[row * p.C + c]); s += v * v; }
  let r = 1.0 / sqrt(workgroup_sum(s, lane) / f32(p.C) + p.eps);
  for (var c = lane; c < p.C; c += WG) { y[row * p.C + c] = YT(f32(w[c]) * f32(x[row * p.C + c]) * r); }
  if (lane == 0u) { rstd[row] = r; }
}
