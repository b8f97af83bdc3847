// sums[f,y,x] = sum over i = -R ... R of window[i + R] terms[f,y,x + i]: the window along rows of five planes; places outside count nothing.
// One invocation writes one value.
struct Params { H: u32, W: u32, R: u32 }
@group(0) @binding(0) var<storage, read> terms: array<f32>;
@group(0) @binding(1) var<storage, read> window: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  if (n >= 5u * p.H * p.W) { return; }
  let x = n % p.W;
  let first = x - min(x, p.R);
  let end = min(x + p.R + 1u, p.W);
  var sum = 0.0;
  for (var i = first; i < end; i++) { sum += window[i + p.R - x] * terms[n - x + i]; }
  sums[n] = sum;
}
