// Rotary embedding on half-split pairs (j, j + D/2): y[j] = x[j] cos - sign x[j + D/2] sin, y[j + D/2] = x[j + D/2] cos + sign x[j] sin, with
// cos and sin of the row's position from host-made tables. sign -1 undoes it, which is also its gradient; added where acc is 1.
// One invocation turns one pair.
alias XT = f32;
alias YT = f32;
struct Params { rows: u32, H: u32, D: u32, sign: f32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read> cos_table: array<f32>;
@group(0) @binding(2) var<storage, read> sin_table: array<f32>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<YT>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let half = p.D / 2u;
  if (i >= p.rows * p.H * half) { return; }
  let j = i % half;
  let vector = i / half;
  let turn = positions[vector / p.H] * half + j;
  let at = vector * p.D + j;
  let a = f32(x[at]);
  let b = f32(x[at + half]);
  let c = cos_table[turn];
  let s = sin_table[turn] * p.sign;
  var lo = a * c - b * s;
  var hi = b * c + a * s;
  if (p.acc != 0u) {
    lo += f32(y[at]);
    hi += f32(y[at + half]);
  }
  y[at] = YT(lo);
  y[at + half] = YT(hi);
}
