// y[r, c] = table[ids[r] - first, c], where the binding holds V rows of the table from row `first` on. Rows of y whose id is not among them
// become zero, or stay as they are where `rest` is 1: a table in several ranges is read by several launches. The table is read as it is
// stored (kernels/lib/stored_f32.wgsl and its kin). One invocation writes one element.
alias ST = f32;
alias YT = f32;
struct Params { rows: u32, C: u32, V: u32, first: u32, rest: u32, group: u32 }
@group(0) @binding(0) var<storage, read> stored: array<Stored4>;
@group(0) @binding(1) var<storage, read> scales: array<ST>;
@group(0) @binding(2) var<storage, read> ids: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<YT>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.rows * p.C) { return; }
  // An id before `first` wraps around and is past the end.
  let id = ids[i / p.C] - p.first;
  if (id < p.V) { y[i] = YT(stored1(id, i % p.C, p.C, p.group)); }
  else if (p.rest == 0u) { y[i] = YT(0); }
}
