// y[i] = -log(-log(u)), u = uniform01(pcg4d(stream, i, counter, seed).x). One invocation per element.
struct Params { n: u32, stream: u32, counter: u32, seed: u32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n) { return; }
  y[i] = gumbel(uniform01(pcg4d(vec4u(p.stream, i, p.counter, p.seed)).x));
}
