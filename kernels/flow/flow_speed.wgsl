// part[i] = the sum of the lengths of the vectors i, i + PARTS, i + 2 PARTS, ... One invocation makes one part.
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> flow: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> part: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;
override PARTS = 256u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = group.x * WG + lane;
  var sum = 0.0;
  for (var i = first; i < p.n; i += PARTS) { sum += length(flow[i]); }
  part[first] = sum;
}
