// cache[r, base + t] = x[r, t]: puts the keys or values of T new tokens, C numbers each, behind those a cache of `cap` tokens a row holds.
// Tokens past the end of the cache are dropped. One invocation writes one element.
alias XT = f32;
alias CT = f32;
struct Params { R: u32, T: u32, C: u32, cap: u32, base: u32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read_write> cache: array<CT>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.R * p.T * p.C) { return; }
  let r = i / (p.T * p.C);
  let t = i / p.C % p.T;
  if (p.base + t < p.cap) { cache[(r * p.cap + p.base + t) * p.C + i % p.C] = CT(x[i]); }
}
