// Rotary embedding on half-split pairs (j, j + D/2): y[j] = x[j] cos - sign x[j + D/2] sin, y[j + D/2] = x[j + D/2] cos + sign x[j] sin, with
// cos and sin of the row's position from host-made tables. sign -1 undoes it, which is also its gradient; added where acc is 1.
// One invocation turns four neighbouring pairs in every head of a row: the tables are read once for all heads.
alias XT = f32;
alias YT = f32;
struct Params { rows: u32, H: u32, D: u32, sign: f32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> cos_table: array<vec4f>;
@group(0) @binding(2) var<storage, read> sin_table: array<vec4f>;
@group(0) @binding(3) var<storage, read> positions: array<u32>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let half = p.D / 8u;
  let row = i / half;
  if (row >= p.rows) { return; }
  let j = i % half;
  let turn = positions[row] * half + j;
  let c = cos_table[turn];
  let s = sin_table[turn] * p.sign;
  for (var h = 0u; h < p.H; h++) {
    let at = (row * p.H + h) * 2u * half + j;
    let a = vec4f(x[at]);
    let b = vec4f(x[at + half]);
    var lo = a * c - b * s;
    var hi = b * c + a * s;
    if (p.acc != 0u) {
      lo += vec4f(y[at]);
      hi += vec4f(y[at + half]);
    }
    y[at] = vec4<YT>(lo);
    y[at + half] = vec4<YT>(hi);
  }
}
