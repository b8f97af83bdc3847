// part[at + group] = sum of x^2 over this group's share of x: PER vec4 for each of WG invocations, summed in a fixed order.
struct Params { n: u32, at: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> part: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;
override PER = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let g = group_index(group, groups);
  let vectors = (p.n + 3u) / 4u;
  let begin = g * WG * PER;
  var s = vec4f();
  for (var k = 0u; k < PER; k++) {
    let i = begin + k * WG + lane;
    if (i < vectors) { let a = x[i]; s += a * a; }
  }
  let all = workgroup_sum((s.x + s.y) + (s.z + s.w), lane);
  if (lane == 0u && begin < vectors) { part[p.at + g] = all; }
}
