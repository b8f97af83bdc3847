// loss = the sum of the parts / n. One workgroup: each invocation adds every WG-th part, then they join.
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> part: array<f32>;
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;
override PARTS = 4096u;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < PARTS; i += WG) { sum += part[i]; }
  let total = workgroup_sum(sum, lane);
  if (lane == 0u) { loss[0] = total / f32(p.n); }
}
