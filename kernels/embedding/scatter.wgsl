// dtable[v, c] = (acc ? dtable[v, c] : 0) + sum of dy[r, c] over the rows r with ids[r] = first + v, in order of r; nothing for the id skip.
// dtable may be V rows of a larger table, from row `first` on.
// One invocation owns one element and scans all ids.
struct Params { rows: u32, C: u32, V: u32, first: u32, skip: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> dtable: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.V * p.C) { return; }
  let v = p.first + i / p.C;
  var s = 0.0;
  if (p.acc != 0u) { s = dtable[i]; }
  if (v != p.skip) {
    for (var r = 0u; r < p.rows; r++) {
      if (ids[r] == v) { s += dy[r * p.C + i % p.C]; }
    }
  }
  dtable[i] = s;
}
