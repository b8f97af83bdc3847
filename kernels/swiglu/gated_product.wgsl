// h[n] = silu(gate[n] . x) * (up[n] . x), silu(a) = a / (1 + exp(-a)), for one row x of K values; gate and up (N, K) are stored in one type, four values
// an element. One invocation makes one value.
struct Params { N: u32, K: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> stored: array<Stored4>;
@group(0) @binding(2) var<storage, read> up: array<Stored4>;
@group(0) @binding(3) var<storage, read_write> h: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  if (n >= p.N) { return; }
  var g = 0.0;
  var u = 0.0;
  for (var k = 0u; k < p.K; k++) {
    let i = n * p.K + k;
    g += x[k] * wide4(stored[i / 4u])[i % 4u];
    u += x[k] * wide4(up[i / 4u])[i % 4u];
  }
  h[n] = g / (1.0 + exp(-g)) * u;
}
