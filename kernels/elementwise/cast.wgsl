// y = x in another element type, added where acc is 1. One invocation writes one element.
alias XT = f32;
alias YT = f32;
struct Params { n: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read_write> y: array<YT>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n) { return; }
  var v = f32(x[i]);
  if (p.acc != 0u) { v += f32(y[i]); }
  y[i] = YT(v);
}
