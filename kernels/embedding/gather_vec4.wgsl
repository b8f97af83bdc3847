// Rows of a table as in gather.wgsl. One workgroup copies PER rows, four columns an invocation at a time; no division is needed to find a row.
alias ST = f32;
alias YT = f32;
struct Params { rows: u32, C: u32, V: u32, first: u32, rest: u32, group: u32 }
@group(0) @binding(0) var<storage, read> stored: array<Stored4>;
@group(0) @binding(1) var<storage, read> scales: array<ST>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;
override PER = 1u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = p.C / 4u;
  let top = group_index(group, groups) * PER;
  for (var row = top; row < min(top + PER, p.rows); row++) {
    let id = ids[row] - p.first;
    if (id >= p.V && p.rest == 1u) { continue; }
    for (var c = lane; c < n; c += WG) {
      var v = vec4<YT>();
      if (id < p.V) { v = vec4<YT>(stored4(id, c, p.C, p.group)); }
      y[row * n + c] = v;
    }
  }
}
