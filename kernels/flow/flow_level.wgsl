// y[Y,X] = sum over i, j of k[i] k[j] x[STEP Y + i - 2, STEP X + j - 2] with k = (1 4 6 4 1) / 16: a picture blurred (STEP 1), or blurred and
// halved (STEP 2). Places outside repeat the edge. One invocation writes 4 x 4 pixels, which share loads.
struct Params { H: u32, W: u32, OH: u32, OW: u32, step: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;
override STEP = 1u;

// Four outputs of a row under k across, the first at column `left` + 2.
fn across(row: i32, left: i32) -> vec4f {
  let last = vec4i(i32(p.W) - 1);
  let start = clamp(row, 0, i32(p.H) - 1) * i32(p.W);
  let a = start + clamp(left + vec4i(0, 1, 2, 3), vec4i(), last);
  let b = start + clamp(left + vec4i(4, 5, 6, 7), vec4i(), last);
  let f = vec4f(x[a.x], x[a.y], x[a.z], x[a.w]);
  let g = vec4f(x[b.x], x[b.y], x[b.z], x[b.w]);
  if (STEP == 1u) { return 0.0625 * (f + g) + 0.25 * (vec4f(f.yzw, g.x) + vec4f(f.w, g.xyz)) + 0.375 * vec4f(f.zw, g.xy); }
  let c = start + min(left + vec3i(8, 9, 10), last.xyz);
  let h = vec3f(x[c.x], x[c.y], x[c.z]);
  let even = vec4f(f.xz, g.xz);
  let odd = vec4f(f.yw, g.yw);
  return 0.0625 * (even + vec4f(even.zw, h.xz)) + 0.25 * (odd + vec4f(odd.yzw, h.y)) + 0.375 * vec4f(even.yzw, h.x);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let blocks = vec2u((p.OW + 3u) / 4u, (p.OH + 3u) / 4u);
  if (n >= blocks.x * blocks.y) { return; }
  let first = 4u * vec2u(n % blocks.x, n / blocks.x);
  let left = i32(STEP * first.x) - 2;
  var row = i32(STEP * first.y) - 2;
  var a = across(row, left);
  var b = across(row + 1, left);
  var c = across(row + 2, left);
  row += 3;
  var d = vec4f();
  if (STEP == 1u) { d = across(row, left); row++; }
  for (var i = 0u; i < min(4u, p.OH - first.y); i++) {
    var e = across(row, left);
    if (STEP == 2u) {
      d = e;
      e = across(row + 1, left);
    }
    row += i32(STEP);
    let sum = 0.0625 * (a + e) + 0.25 * (b + d) + 0.375 * c;
    let o = (first.y + i) * p.OW + first.x;
    for (var j = 0u; j < min(4u, p.OW - first.x); j++) { y[o + j] = sum[j]; }
    if (STEP == 1u) { a = b; b = c; c = d; d = e; } else { a = c; b = d; c = e; }
  }
}
