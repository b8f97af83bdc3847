// The window along columns of the five planes, then at each pixel the v that fits all equations of its window best:
// (xx + prior, xy; xy, yy + prior) v = (xt, yt) + prior u, where u is the flow so far: without texture it stays. One invocation writes one pixel.
struct Params { H: u32, W: u32, R: u32, prior: f32 }
@group(0) @binding(0) var<storage, read> sums: array<f32>;
@group(0) @binding(1) var<storage, read> window: array<f32>;
@group(0) @binding(2) var<storage, read> flow: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> next: array<vec2f>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let count = p.H * p.W;
  if (n >= count) { return; }
  let y = n / p.W;
  let x = n % p.W;
  let first = y - min(y, p.R);
  let end = min(y + p.R + 1u, p.H);
  var m = vec3f(0.0);
  var t = vec2f(0.0);
  for (var i = first; i < end; i++) {
    let w = window[i + p.R - y];
    let at = i * p.W + x;
    m += w * vec3f(sums[at], sums[count + at], sums[2u * count + at]);
    t += w * vec2f(sums[3u * count + at], sums[4u * count + at]);
  }
  t += p.prior * flow[n];
  m += vec3f(p.prior, 0.0, p.prior);
  next[n] = vec2f(m.z * t.x - m.y * t.y, m.x * t.y - m.y * t.x) / (m.x * m.z - m.y * m.y);
}
