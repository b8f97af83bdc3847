// dx = rstd * (w dy - x * rstd^2 * mean over c of (w dy x)), added where acc is 1. LPR neighbouring lanes share a row.
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
override WG = 64u;
override LPR = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let row = min(i / LPR, p.rows - 1u);
  let n = p.C / 4u;
  let base = row * n;
  let part = i % LPR;
  var s = vec4f();
  for (var c = part; c < n; c += LPR) { s += vec4f(w[c]) * dy[base + c] * vec4f(x[base + c]); }
  let r = rstd[row];
  let slope = r * r * row_sum(total(s)) / f32(p.C);
  if (i / LPR < p.rows) {
    for (var c = part; c < n; c += LPR) {
      var d = r * (vec4f(w[c]) * dy[base + c] - vec4f(x[base + c]) * slope);
      if (p.acc != 0u) { d += dx[base + c]; }
      dx[base + c] = d;
    }
  }
}
