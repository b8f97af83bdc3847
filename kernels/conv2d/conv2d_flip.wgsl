// v[i,KH-1-ky,KW-1-kx,o] = w[o,ky,kx,i]: the weights with which a convolution of dy gives dx. One invocation moves one value.
struct Params { O: u32, KH: u32, KW: u32, I: u32 }
@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read_write> v: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let taps = p.KH * p.KW;
  if (n >= p.O * taps * p.I) { return; }
  let o = n % p.O;
  let tap = n / p.O % taps;
  let i = n / (p.O * taps);
  v[n] = w[(o * taps + taps - 1u - tap) * p.I + i];
}
