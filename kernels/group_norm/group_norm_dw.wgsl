// db[c] = sum over pictures of sums[b,0,c], dw[c] = sum over pictures of sums[b,1,c] (+ the old values where acc is 1). One invocation
// takes one channel.
struct Params { B: u32, C: u32, acc: u32, accBias: u32 }
@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read_write> dw: array<f32>;
@group(0) @binding(2) var<storage, read_write> db: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x * WG + lane;
  if (c >= p.C) { return; }
  var sum = vec2f();
  for (var picture = 0u; picture < p.B; picture++) {
    sum += vec2f(sums[picture * 2u * p.C + c], sums[(picture * 2u + 1u) * p.C + c]);
  }
  if (p.acc == 1u) { sum.y += dw[c]; }
  if (p.accBias == 1u) { sum.x += db[c]; }
  dw[c] = sum.y;
  db[c] = sum.x;
}
