// dx = rstd * (w dy - x * rstd^2 * mean over c of (w dy x)), added where acc is 1. A row has at most 4 N LPR columns: one subgroup walks
// PER rows, each lane holds its columns of w and of the row in registers, so that every number is loaded once.
enable subgroups;
alias XT = f32;
alias WT = f32;
struct Params { rows: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<WT>>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(5) var<uniform> p: Params;
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
    var g: array<vec4f, N>;
    var s = vec4f();
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      if (c < n) {
        v[k] = vec4f(x[row * n + c]);
        g[k] = scale[k] * dy[row * n + c];
      }
      s += v[k] * g[k];
    }
    let r = rstd[row];
    let slope = r * r * row_sum(total(s)) / f32(p.C);
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      if (c < n) {
        var d = r * (g[k] - v[k] * slope);
        if (p.acc != 0u) { d += dx[row * n + c]; }
        dx[row * n + c] = d;
      }
    }
  }
}
