// next = light + sum of w r / sum of w: how much brighter the second picture is, given the cells of flow_cells.wgsl (planes 5 and 6), made under
// `light`. A change of light is no motion. One workgroup.
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> cells: array<f32>;
@group(0) @binding(1) var<storage, read> light: array<f32>;
@group(0) @binding(2) var<storage, read_write> next: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  var residual = 0.0;
  var weight = 0.0;
  for (var i = lane; i < p.n; i += WG) {
    residual += cells[5u * p.n + i];
    weight += cells[6u * p.n + i];
  }
  let sum = workgroup_sum(residual, lane);
  let over = workgroup_sum(weight, lane);
  if (lane == 0u) { next[0] = light[0] + select(0.0, sum / over, over > 0.0); }
}
