// y[r, c] = table[ids[r], c]; an id outside the table gives zeros. One workgroup copies PER rows, four columns an invocation at a time;
// no division is needed to find a row.
alias TT = f32;
alias YT = f32;
struct Params { rows: u32, C: u32, V: u32 }
@group(0) @binding(0) var<storage, read> table: array<vec4<TT>>;
@group(0) @binding(1) var<storage, read> ids: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;
override PER = 1u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = p.C / 4u;
  let first = group_index(group, groups) * PER;
  for (var row = first; row < min(first + PER, p.rows); row++) {
    let id = ids[row];
    for (var c = lane; c < n; c += WG) {
      var v = vec4<YT>();
      if (id < p.V) { v = vec4<YT>(table[id * n + c]); }
      y[row * n + c] = v;
    }
  }
}
