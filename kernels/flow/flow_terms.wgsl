// The linear equations of each pixel q for the displacement v there: with u the flow so far, r = b(q + u) - a(q) and g the mean gradient of a
// at q and b at q + u, brightness stays where g . v = g . u - r =: t. terms = (gx gx, gx gy, gy gy, gx t, gy t), five planes of H x W, weighted
// by scale / sqrt(scale^2 + r^2) so that what is hidden in b counts less; 0 where q + u lies outside. b is sampled by Catmull-Rom cubics, whose
// derivative is the gradient. One invocation writes one pixel.
struct Params { H: u32, W: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> flow: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> terms: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

fn weights(t: f32) -> vec4f {
  let s = t * t;
  let c = s * t;
  return vec4f(-0.5 * c + s - 0.5 * t, 1.5 * c - 2.5 * s + 1.0, -1.5 * c + 2.0 * s + 0.5 * t, 0.5 * c - 0.5 * s);
}

fn slopes(t: f32) -> vec4f {
  let s = t * t;
  return vec4f(-1.5 * s + 2.0 * t - 0.5, 4.5 * s - 5.0 * t, -4.5 * s + 4.0 * t + 0.5, 1.5 * s - t);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let count = p.H * p.W;
  if (n >= count) { return; }
  let last = vec2i(i32(p.W), i32(p.H)) - 1;
  let q = vec2i(i32(n % p.W), i32(n / p.W));
  let u = flow[n];
  let place = vec2f(q) + u;
  var w = select(0.0, 1.0, all(place >= vec2f(0.0)) && all(place <= vec2f(last)));
  let whole = floor(place);
  let part = place - whole;
  let corner = vec2i(clamp(whole, vec2f(-4.0), vec2f(last) + 4.0));
  let columns = vec4u(clamp(vec4i(corner.x) + vec4i(-1, 0, 1, 2), vec4i(0), vec4i(last.x)));
  let across = weights(part.x);
  let acrossSlope = slopes(part.x);
  let down = weights(part.y);
  let downSlope = slopes(part.y);
  var value = 0.0;
  var g = vec2f(0.0);
  for (var i = 0; i < 4; i++) {
    let row = u32(clamp(corner.y + i - 1, 0, last.y)) * p.W;
    let four = vec4f(b[row + columns.x], b[row + columns.y], b[row + columns.z], b[row + columns.w]);
    let s = dot(across, four);
    value += down[i] * s;
    g += vec2f(down[i] * dot(acrossSlope, four), downSlope[i] * s);
  }
  let row = u32(q.y) * p.W;
  g.x += 0.5 * (a[row + u32(min(q.x + 1, last.x))] - a[row + u32(max(q.x - 1, 0))]);
  g.y += 0.5 * (a[u32(min(q.y + 1, last.y)) * p.W + u32(q.x)] - a[u32(max(q.y - 1, 0)) * p.W + u32(q.x)]);
  g *= 0.5;
  let r = value - a[n];
  w *= p.scale / sqrt(p.scale * p.scale + r * r);
  let t = dot(g, u) - r;
  terms[n] = w * g.x * g.x;
  terms[count + n] = w * g.x * g.y;
  terms[2u * count + n] = w * g.y * g.y;
  terms[3u * count + n] = w * g.x * t;
  terms[4u * count + n] = w * g.y * t;
}
