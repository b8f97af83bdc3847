// y = a + b. One invocation writes four elements.
alias AT = f32;
alias BT = f32;
alias YT = f32;
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> a: array<vec4<AT>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<BT>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i < p.n / 4u) { y[i] = vec4<YT>(vec4f(a[i]) + vec4f(b[i])); }
}
