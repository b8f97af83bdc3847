// code[r] = the first e with the smallest |z_r - e|^2, in f32. One invocation takes one row of z and walks the codebook.
struct Params { R: u32, D: u32, E: u32 }
@group(0) @binding(0) var<storage, read> z: array<f32>;
@group(0) @binding(1) var<storage, read> codebook: array<f32>;
@group(0) @binding(2) var<storage, read_write> code: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let r = group_index(group, groups) * WG + lane;
  if (r >= p.R) { return; }
  var best = 3.4028234e38;
  var found = 0u;
  for (var e = 0u; e < p.E; e++) {
    var sum = 0.0;
    for (var d = 0u; d < p.D; d++) {
      let gap = z[r * p.D + d] - codebook[e * p.D + d];
      sum += gap * gap;
    }
    if (sum < best) {
      best = sum;
      found = e;
    }
  }
  code[r] = found;
}
