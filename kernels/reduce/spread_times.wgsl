// dx[i] = (acc ? dx[i] : 0) + dy[i / C] * z[i]: the gradient of dot products over runs of C values.
struct Params { n: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read> z: array<f32>;
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.n) { return; }
  var v = dy[i / p.C] * z[i];
  if (p.acc != 0u) { v += dx[i]; }
  dx[i] = v;
}
