// dx = rstd * (g - mean(g) - xhat * mean(g xhat)), g = dy w[head], xhat = (x - mean) * rstd, added where acc is 1; head = row % heads.
// LPR neighbouring lanes share a row.
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
override WG = 64u;
override LPR = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let row = min(i / LPR, p.rows - 1u);
  let n = p.D / 4u;
  let base = row * n;
  let head = row % p.heads * n;
  let part = i % LPR;
  let m = mean[row];
  let r = rstd[row];
  var s = vec4f();
  var t = vec4f();
  for (var c = part; c < n; c += LPR) {
    let g = dy[base + c] * vec4f(w[head + c]);
    s += g;
    t += g * (vec4f(x[base + c]) - m) * r;
  }
  let means = row_sum2(vec2f(total(s), total(t))) / f32(p.D);
  if (i / LPR < p.rows) {
    for (var c = part; c < n; c += LPR) {
      var v = r * (dy[base + c] * vec4f(w[head + c]) - means.x - (vec4f(x[base + c]) - m) * r * means.y);
      if (p.acc != 0u) { v += dx[base + c]; }
      dx[base + c] = v;
    }
  }
}
