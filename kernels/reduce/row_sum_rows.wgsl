// y[r] = scale * sum over c of x[r, c]; rows are runs of C of the n values, the last one may be shorter. LPR neighbouring lanes share a row.
enable subgroups;
struct Params { rows: u32, C: u32, n: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;
override LPR = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let row = min(i / LPR, p.rows - 1u);
  let end = min((row + 1u) * p.C, p.n);
  var s = vec4f();
  for (var q = row * (p.C / 4u) + i % LPR; q < end / 4u; q += LPR) { s += x[q]; }
  var rest = 0.0;
  if (i % LPR == 0u) {
    for (var e = end / 4u * 4u; e < end; e++) { rest += x[e / 4u][e % 4u]; }
  }
  let sum = row_sum(total(s) + rest);
  if (i / LPR < p.rows && i % LPR == 0u) { y[row] = sum * p.scale; }
}
