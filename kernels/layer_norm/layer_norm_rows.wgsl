// y = (x - mean) * rstd * w[head] + b[head] over D values; row i has head i % heads, rstd = 1 / sqrt(variance + eps).
// LPR neighbouring lanes share a row.
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
  var s = vec4f();
  for (var c = part; c < n; c += LPR) { s += vec4f(x[base + c]); }
  let m = row_sum(total(s)) / f32(p.D);
  var q = vec4f();
  for (var c = part; c < n; c += LPR) { let v = vec4f(x[base + c]) - m; q += v * v; }
  let r = 1.0 / sqrt(row_sum(total(q)) / f32(p.D) + p.eps);
  if (i / LPR < p.rows) {
    for (var c = part; c < n; c += LPR) { y[base + c] = vec4<YT>((vec4f(x[base + c]) - m) * r * vec4f(w[head + c]) + vec4f(b[head + c])); }
    if (part == 0u) {
      mean[row] = m;
      rstd[row] = r;
    }
  }
}
