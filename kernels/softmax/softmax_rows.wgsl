// y[r, c] = exp(x[r, c] - m) / sum over c of exp(x[r, c] - m), m the largest value of the row. LPR neighbouring lanes share a row.
enable subgroups;
struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;
override LPR = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let row = min(i / LPR, p.rows - 1u);
  let n = p.C / 4u;
  let base = row * n;
  let part = i % LPR;
  var m = x[base];
  for (var c = part; c < n; c += LPR) { m = max(m, x[base + c]); }
  let top = row_max(max(max(m.x, m.y), max(m.z, m.w)));
  var s = vec4f();
  for (var c = part; c < n; c += LPR) { s += exp(x[base + c] - top); }
  let scale = 1.0 / row_sum(total(s));
  if (i / LPR < p.rows) {
    for (var c = part; c < n; c += LPR) { y[base + c] = exp(x[base + c] - top) * scale; }
  }
}
