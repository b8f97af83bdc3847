// dx = sign 2 (x - t) dloss / n (+ the old dx where acc is 1); sign is 1 for x and -1 for t. One invocation writes one value.
struct Params { n: u32, sign: f32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> t: array<f32>;
@group(0) @binding(2) var<storage, read> dloss: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n) { return; }
  var value = p.sign * 2.0 * (x[i] - t[i]) * dloss[0] / f32(p.n);
  if (p.acc == 1u) { value += dx[i]; }
  dx[i] = value;
}
