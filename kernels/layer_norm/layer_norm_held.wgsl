// y = (x - mean) * rstd * w[head] + b[head] over D values; row i has head i % heads, rstd = 1 / sqrt(variance + eps). A row has at most
// 4 N LPR columns: one subgroup walks PER rows of one head, each lane holds its columns of w, b and the row in registers, so that every
// number is loaded once and the shader has few load sites, which decide its compile time on the software adapter.
enable subgroups;
alias XT = f32;
alias WT = f32;
alias YT = f32;
struct Params { rows: u32, D: u32, heads: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<WT>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<WT>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override LPR = 8u;
override PER = 1u;
const N = 1;

@compute @workgroup_size(LPR)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = p.D / 4u;
  var scale: array<vec4f, N>;
  var shift: array<vec4f, N>;
  for (var k = 0; k < N; k++) {
    let c = lane + u32(k) * LPR;
    if (c < n) {
      scale[k] = vec4f(w[group.y * n + c]);
      shift[k] = vec4f(b[group.y * n + c]);
    }
  }
  let first = group.x * PER * p.heads + group.y;
  for (var row = first; row < min(first + PER * p.heads, p.rows); row += p.heads) {
    var v: array<vec4f, N>;
    var s = 0.0;
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      if (c < n) { v[k] = vec4f(x[row * n + c]); }
      s += total(v[k]);
    }
    let m = row_sum(s) / f32(p.D);
    var q = 0.0;
    for (var k = 0; k < N; k++) {
      if (lane + u32(k) * LPR < n) { v[k] -= m; }
      q += dot(v[k], v[k]);
    }
    let r = 1.0 / sqrt(row_sum(q) / f32(p.D) + p.eps);
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      if (c < n) { y[row * n + c] = vec4<YT>(v[k] * r * scale[k] + shift[k]); }
    }
    if (lane == 0u) {
      mean[row] = m;
      rstd[row] = r;
    }
  }
}
