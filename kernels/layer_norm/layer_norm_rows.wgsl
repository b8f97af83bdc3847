// y = (x - mean) * rstd * w[head] + b[head] over D values; row i has head i % heads, rstd = 1 / sqrt(variance + eps).
// LPR neighbouring lanes share a row. Mean and variance come from one pass, CHUNK vec4 at a time: what is known so far, (count, mean `at`, sum of
// squares `q` about it) for each of the four columns of a vec4, is merged with the same of the next chunk (Chan, Golub and LeVeque 1983), and so
// are the lanes at the end.
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
const CHUNK = 4u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let row = min(i / LPR, p.rows - 1u);
  let n = p.D / 4u;
  let base = row * n;
  let head = row % p.heads * n;
  let part = i % LPR;
  var count = 0.0;
  var at = vec4f();
  var q = vec4f();
  var c = part;
  for (; c + (CHUNK - 1u) * LPR < n; c += CHUNK * LPR) {
    var v: array<vec4f, CHUNK>;
    var near = vec4f();
    for (var k = 0u; k < CHUNK; k++) {
      v[k] = vec4f(x[base + c + k * LPR]);
      near += v[k];
    }
    near *= 1.0 / f32(CHUNK);
    for (var k = 0u; k < CHUNK; k++) { q += (v[k] - near) * (v[k] - near); }
    let step = near - at;
    let share = f32(CHUNK) / (count + f32(CHUNK));
    at += step * share;
    q += step * step * (count * share);
    count += f32(CHUNK);
  }
  for (; c < n; c += LPR) {
    let step = vec4f(x[base + c]) - at;
    let share = 1.0 / (count + 1.0);
    at += step * share;
    q += step * step * (count * share);
    count += 1.0;
  }
  let m = row_sum(total(at) * count) / f32(p.D);
  let r = 1.0 / sqrt(row_sum(total(q + count * (at - m) * (at - m))) / f32(p.D) + p.eps);
  if (i / LPR < p.rows) {
    for (c = part; c < n; c += LPR) { y[base + c] = vec4<YT>((vec4f(x[base + c]) - m) * r * vec4f(w[head + c]) + vec4f(b[head + c])); }
    if (part == 0u) {
      mean[row] = m;
      rstd[row] = r;
    }
  }
}
