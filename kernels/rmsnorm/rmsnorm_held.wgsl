// y[r, c] = w[c] * x[r, c] * rstd[r], rstd[r] = 1 / sqrt(mean over c of x[r, c]^2 + eps). A row has at most 4 N LPR columns: one
// subgroup walks PER rows, each lane holds its columns of w and of the row in registers, so that every number is loaded once.
enable subgroups;
alias XT = f32;
alias WT = f32;
alias YT = f32;
struct Params { rows: u32, C: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<WT>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override LPR = 8u;
override PER = 1u;
const N = 2;

@compute @workgroup_size(LPR)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = p.C / 4u;
  var scale: array<vec4f, N>;
  for (var k = 0; k < N; k++) {
    let c = lane + u32(k) * LPR;
    if (c < n) { scale[k] = vec4f(w[c]); }
  }
  let first = group_index(group, groups) * PER;
  for (var row = first; row < min(first + PER, p.rows); row++) {
    var v: array<vec4f, N>;
    var s = vec4f();
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      if (c < n) { v[k] = vec4f(x[row * n + c]); }
      s += v[k] * v[k];
    }
    let r = 1.0 / sqrt(row_sum(total(s)) / f32(p.C) + p.eps);
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      if (c < n) { y[row * n + c] = vec4<YT>(scale[k] * v[k] * r); }
    }
    if (lane == 0u) { rstd[row] = r; }
  }
}
