// stat[b, n, t] = (lse[b, n, t], sum over d of o[b, t, n, d] dout[b, t, n, d]): the two numbers a row that the gradients of the scores need.
// One invocation makes one row, four numbers at a time; D is a multiple of 4.
struct Params { B: u32, T: u32, N: u32, D: u32 }
@group(0) @binding(0) var<storage, read> o: array<vec4f>;
@group(0) @binding(1) var<storage, read> dout: array<vec4f>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read_write> stat: array<vec2f>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups) * WG + lane;
  if (row >= p.B * p.T * p.N) { return; }
  let i = (row / (p.N * p.T) * p.N + row % p.N) * p.T + row / p.N % p.T;
  var delta = 0.0;
  let quads = p.D / 4u;
  for (var d = 0u; d < quads; d++) { delta += dot(o[row * quads + d], dout[row * quads + d]); }
  stat[i] = vec2f(lse[i], delta);
}
