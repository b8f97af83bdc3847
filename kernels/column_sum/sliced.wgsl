// y[c] = sum over r of x[r, c] as in column_sum.wgsl. A workgroup makes 32 columns: each of its SLICES rows of invocations adds every
// SLICES-th row of x, then the slices are added in order.
struct Params { rows: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
const SLICES = 8u;
var<workgroup> part: array<array<f32, 32>, SLICES>;

@compute @workgroup_size(32, SLICES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_id) id: vec3u) {
  let c = group_index(group, groups) * 32u + id.x;
  var sum = 0.0;
  if (c < p.C) {
    for (var r = id.y; r < p.rows; r += SLICES) { sum += x[r * p.C + c]; }
  }
  part[id.y][id.x] = sum;
  workgroupBarrier();
  if (id.y > 0u || c >= p.C) { return; }
  for (var s = 1u; s < SLICES; s++) { sum += part[s][id.x]; }
  if (p.acc == 1u) { sum += y[c]; }
  y[c] = sum;
}
