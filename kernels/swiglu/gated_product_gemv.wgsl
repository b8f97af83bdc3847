// h[n] = silu(gate[n] . x) * (up[n] . x) as in gated_product.wgsl: one subgroup makes four values, first the products with gate, then those with up
// (eight rows at once were slower on the software adapter). Its lanes take turns along k. Needs K % 4 and N % 4.
enable subgroups;
struct Params { N: u32, K: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> stored: array<Stored4>;
@group(0) @binding(2) var<storage, read> up: array<Stored4>;
@group(0) @binding(3) var<storage, read_write> h: array<vec4f>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let quad = group_index(group, groups);
  if (quad >= p.N / 4u) { return; }
  let steps = p.K / 4u;
  let first = 4u * quad * steps;
  var sums: mat4x4f;
  for (var k = lane; k < steps; k += WG) {
    let i = first + k;
    let a = x[k];
    sums += mat4x4f(a * wide4(stored[i]), a * wide4(stored[i + steps]), a * wide4(stored[i + 2u * steps]), a * wide4(stored[i + 3u * steps]));
  }
  let g = subgroupAdd(transpose(sums) * vec4f(1.0));
  sums = mat4x4f();
  for (var k = lane; k < steps; k += WG) {
    let i = first + k;
    let a = x[k];
    sums += mat4x4f(a * wide4(up[i]), a * wide4(up[i + steps]), a * wide4(up[i + 2u * steps]), a * wide4(up[i + 3u * steps]));
  }
  let u = subgroupAdd(transpose(sums) * vec4f(1.0));
  if (lane == 0u) { h[quad] = g / (1.0 + exp(-g)) * u; }
}
