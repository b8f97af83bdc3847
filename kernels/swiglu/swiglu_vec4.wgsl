// h = silu(g) * u, silu(a) = a / (1 + exp(-a)). One invocation writes four elements.
alias XT = f32;
alias YT = f32;
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> g: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> u: array<vec4<XT>>;
@group(0) @binding(2) var<storage, read_write> h: array<vec4<YT>>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n / 4u) { return; }
  let a = vec4f(g[i]);
  h[i] = vec4<YT>(a / (1.0 + exp(-a)) * vec4f(u[i]));
}
