// The means of five planes of cells under the window (far, near, centre, near, far) along both axes, then for each cell the v that fits all equations of
// its window best: (xx + prior, xy; xy, yy + prior) v = (xt, yt) + prior u, where u is the flow so far: without texture it stays. Places outside
// count nothing. One invocation solves four cells of a row, whose windows share loads.
struct Params { H: u32, W: u32, centre: f32, near: f32, far: f32, prior: f32 }
@group(0) @binding(0) var<storage, read> cells: array<f32>;
@group(0) @binding(1) var<storage, read> flow: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> next: array<vec2f>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

// The window along the row from `at` on, centred on columns 2 to 5; `left` and `right` are 0 at columns outside.
fn across(at: vec4i, beyond: vec4i, left: vec4f, right: vec4f) -> vec4f {
  let l = left * vec4f(cells[at.x], cells[at.y], cells[at.z], cells[at.w]);
  let r = right * vec4f(cells[beyond.x], cells[beyond.y], cells[beyond.z], cells[beyond.w]);
  return p.far * (l + r) + p.near * (vec4f(l.yzw, r.x) + vec4f(l.w, r.xyz)) + p.centre * vec4f(l.zw, r.xy);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let quads = (p.W + 3u) / 4u;
  if (n >= p.H * quads) { return; }
  let size = vec2i(i32(p.W), i32(p.H));
  let count = size.x * size.y;
  let x = 4 * i32(n % quads);
  let y = i32(n / quads);
  let l = x + vec4i(-2, -1, 0, 1);
  let r = x + vec4i(2, 3, 4, 5);
  let left = select(vec4f(), vec4f(1.0), (l >= vec4i()) & (l < vec4i(size.x)));
  let right = select(vec4f(), vec4f(1.0), r < vec4i(size.x));
  let at = clamp(l, vec4i(), vec4i(size.x - 1));
  let beyond = min(r, vec4i(size.x - 1));
  var xx = vec4f(); var xy = vec4f(); var yy = vec4f(); var xt = vec4f(); var yt = vec4f();
  for (var j = max(y - 2, 0); j < min(y + 3, size.y); j++) {
    let w = select(select(p.far, p.near, abs(j - y) == 1), p.centre, j == y);
    let row = j * size.x;
    xx += w * across(row + at, row + beyond, left, right);
    xy += w * across(row + at + count, row + beyond + count, left, right);
    yy += w * across(row + at + 2 * count, row + beyond + 2 * count, left, right);
    xt += w * across(row + at + 3 * count, row + beyond + 3 * count, left, right);
    yt += w * across(row + at + 4 * count, row + beyond + 4 * count, left, right);
  }
  xx += p.prior;
  yy += p.prior;
  let det = xx * yy - xy * xy;
  for (var i = 0; i < min(4, size.x - x); i++) {
    let o = y * size.x + x + i;
    let t = vec2f(xt[i], yt[i]) + p.prior * flow[o];
    next[o] = vec2f(yy[i] * t.x - xy[i] * t.y, xx[i] * t.y - xy[i] * t.x) / det[i];
  }
}
