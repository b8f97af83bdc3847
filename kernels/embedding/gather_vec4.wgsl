// y[r, c] = table[ids[r], c]; an id outside the table gives zeros. One invocation writes four columns.
alias TT = f32;
alias YT = f32;
struct Params { rows: u32, C: u32, V: u32 }
@group(0) @binding(0) var<storage, read> table: array<vec4<TT>>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let n = p.C / 4u;
  if (i >= p.rows * n) { return; }
  let id = ids[i / n];
  var v = vec4<YT>();
  if (id < p.V) { v = vec4<YT>(table[id * n + i % n]); }
  y[i] = v;
}
