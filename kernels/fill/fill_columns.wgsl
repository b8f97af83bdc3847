// y[r, first + c] = value for c < columns, in rows of `stride` values: a block of a wider matrix.
struct Params { rows: u32, columns: u32, stride: u32, first: u32, value: f32 }
@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.rows * p.columns) { return; }
  y[i / p.columns * p.stride + p.first + i % p.columns] = p.value;
}
