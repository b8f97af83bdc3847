// Adds the parts of conv2d_dw in order: dw[n] = sum over s of part[s,n] and db[o] = sum over s of part[s,N+o], N weights; `acc` adds to dw
// and `accBias` to db. One invocation sums one value.
struct Params { N: u32, O: u32, parts: u32, acc: u32, accBias: u32 }
@group(0) @binding(0) var<storage, read> part: array<f32>;
@group(0) @binding(1) var<storage, read_write> dw: array<f32>;
@group(0) @binding(2) var<storage, read_write> db: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let total = p.N + p.O;
  if (n >= total) { return; }
  var sum = 0.0;
  for (var s = 0u; s < p.parts; s++) { sum += part[s * total + n]; }
  if (n < p.N) {
    if (p.acc == 1u) { sum += dw[n]; }
    dw[n] = sum;
  } else {
    if (p.accBias == 1u) { sum += db[n - p.N]; }
    db[n - p.N] = sum;
  }
}
