// cache[r, base + t] = x[r, t]: puts the keys or values of T new tokens, C numbers each, behind those a cache of `cap` tokens a row holds.
// Tokens past the end of the cache are dropped. A row of workgroups copies one token, four numbers an invocation; C is a multiple of 4.
alias XT = f32;
alias CT = f32;
struct Params { R: u32, T: u32, C: u32, cap: u32, base: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read_write> cache: array<vec4<CT>>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 16u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let quads = p.C / 4u;
  let quad = group.y * WG + lane;
  let r = group.x / p.T;
  let place = p.base + group.x % p.T;
  if (quad < quads && place < p.cap) { cache[(r * p.cap + place) * quads + quad] = vec4<CT>(x[group.x * quads + quad]); }
}
