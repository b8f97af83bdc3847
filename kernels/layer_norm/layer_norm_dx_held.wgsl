// dx = rstd * (g - mean(g) - xhat * mean(g xhat)), g = dy w[head], xhat = (x - mean) * rstd, added where acc is 1; head = row % heads.
// Split as in layer_norm_held.wgsl: one subgroup walks PER rows of one head, each lane holds its columns in registers.
enable subgroups;
alias XT = f32;
alias WT = f32;
struct Params { rows: u32, D: u32, heads: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<WT>>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(6) var<uniform> p: Params;
override LPR = 8u;
override PER = 1u;
const N = 1;

@compute @workgroup_size(LPR)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = p.D / 4u;
  var scale: array<vec4f, N>;
  for (var k = 0; k < N; k++) {
    let c = lane + u32(k) * LPR;
    if (c < n) { scale[k] = vec4f(w[group.y * n + c]); }
  }
  let first = group.x * PER * p.heads + group.y;
  for (var row = first; row < min(first + PER * p.heads, p.rows); row += p.heads) {
    let m = mean[row];
    let r = rstd[row];
    var v: array<vec4f, N>;
    var g: array<vec4f, N>;
    var s = vec2f();
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      if (c < n) {
        v[k] = (vec4f(x[row * n + c]) - m) * r;
        g[k] = dy[row * n + c] * scale[k];
      }
      s += vec2f(total(g[k]), dot(g[k], v[k]));
    }
    let means = row_sum2(s) / f32(p.D);
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      if (c < n) {
        var d = r * (g[k] - means.x - v[k] * means.y);
        if (p.acc != 0u) { d += dx[row * n + c]; }
        dx[row * n + c] = d;
      }
    }
  }
}
