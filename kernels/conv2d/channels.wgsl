// y[p,c] = x[p,c] for c < I and 0 for the channels above, c < O (+ the old y where acc is 1): pads, cuts or copies the last dimension.
// One invocation writes one value.
struct Params { rows: u32, I: u32, O: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  if (n >= p.rows * p.O) { return; }
  let c = n % p.O;
  var value = 0.0;
  if (c < p.I) { value = x[n / p.O * p.I + c]; }
  if (p.acc == 1u) { value += y[n]; }
  y[n] = value;
}
