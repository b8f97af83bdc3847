// The flow of a level half as large, for the next finer one: y[q] = 2 x[q / 2] between four neighbours, linearly; the edge is repeated.
// One invocation writes one pixel.
struct Params { H: u32, W: u32, OH: u32, OW: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec2f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  if (n >= p.OH * p.OW) { return; }
  let last = vec2u(p.W, p.H) - 1u;
  let at = vec2u(n % p.OW, n / p.OW);
  let low = min(at / 2u, last);
  let high = min((at + 1u) / 2u, last);
  y[n] = 0.5 * (x[low.y * p.W + low.x] + x[low.y * p.W + high.x] + x[high.y * p.W + low.x] + x[high.y * p.W + high.x]);
}
