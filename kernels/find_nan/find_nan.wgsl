// first = min(first, launch) if any x[i] is NaN or infinite: GPU_DEBUG=4 puts one of these after every launch of a plan.
// Each invocation walks the array with the stride of the whole grid; integer atomics only, so the result does not depend on order.
struct Params { n: u32, launch: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> first: atomic<u32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var i = id.x; i < p.n; i += groups.x * WG) {
    if ((bitcast<u32>(x[i]) & 0x7f800000u) == 0x7f800000u) { atomicMin(&first, p.launch); }
  }
}
