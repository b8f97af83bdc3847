// y = x in another element type, added where acc is 1. One invocation writes four elements.
alias XT = f32;
alias YT = f32;
struct Params { n: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n / 4u) { return; }
  var v = vec4f(x[i]);
  if (p.acc != 0u) { v += vec4f(y[i]); }
  y[i] = vec4<YT>(v);
}
