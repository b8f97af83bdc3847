// dx = y * (dy - sum over c of dy y), added where acc is 1. LPR neighbouring lanes share a row.
enable subgroups;
struct Params { rows: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> y: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(3) var<uniform> p: Params;
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
  for (var c = part; c < n; c += LPR) { s += dy[base + c] * y[base + c]; }
  let mean = row_sum(total(s));
  if (i / LPR < p.rows) {
    for (var c = part; c < n; c += LPR) {
      var d = y[base + c] * (dy[base + c] - mean);
      if (p.acc != 0u) { d += dx[base + c]; }
      dx[base + c] = d;
    }
  }
}
