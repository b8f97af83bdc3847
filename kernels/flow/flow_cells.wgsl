// The linear equations of each cell of 4 x 4 pixels for its displacement v. At a pixel q of the cell, with u the cell's flow so far, g the mean gradient
// of a at q and b at q + u, and r = b(q + u) - a(q) - light, brightness stays where g . v = g . u - r =: t. cells = means over the cell of
// w (gx gx, gx gy, gy gy, gx t, gy t, r, 1), seven planes, with w = scale / sqrt(scale^2 + r^2), so that what is hidden in b counts less, and 0 where q
// or q + u lies outside. b is sampled by Catmull-Rom cubics, whose derivative is the gradient. One invocation makes one cell: u is one for all its
// pixels, so their samples share their weights, and 7 x 7 loads serve 16 pixels.
struct Params { H: u32, W: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read> flow: array<vec2f>;
@group(0) @binding(3) var<storage, read> light: array<f32>;
@group(0) @binding(4) var<storage, read_write> cells: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
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

// A row of b under the four columns of the cell: values and slopes across.
struct Row { value: vec4f, slope: vec4f }

fn across(row: i32, left: i32, weight: vec4f, slope: vec4f) -> Row {
  let last = i32(p.W) - 1;
  let start = clamp(row, 0, i32(p.H) - 1) * i32(p.W);
  let l = start + clamp(vec4i(left) + vec4i(0, 1, 2, 3), vec4i(0), vec4i(last));
  let r = start + clamp(vec3i(left) + vec3i(4, 5, 6), vec3i(0), vec3i(last));
  let f0 = vec4f(b[l.x], b[l.y], b[l.z], b[l.w]);
  let rest = vec3f(b[r.x], b[r.y], b[r.z]);
  let f1 = vec4f(f0.yzw, rest.x);
  let f2 = vec4f(f0.zw, rest.xy);
  let f3 = vec4f(f0.w, rest);
  return Row(weight.x * f0 + weight.y * f1 + weight.z * f2 + weight.w * f3, slope.x * f0 + slope.y * f1 + slope.z * f2 + slope.w * f3);
}

// Four columns of a row of a, and the two beside them.
struct Own { four: vec4f, left: f32, right: f32 }

fn own(row: i32, column: i32) -> Own {
  let last = i32(p.W) - 1;
  let start = clamp(row, 0, i32(p.H) - 1) * i32(p.W);
  let c = start + min(vec4i(column) + vec4i(0, 1, 2, 3), vec4i(last));
  return Own(vec4f(a[c.x], a[c.y], a[c.z], a[c.w]), a[start + max(column - 1, 0)], a[start + min(column + 4, last)]);
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let size = vec2u((p.W + 3u) / 4u, (p.H + 3u) / 4u);
  let count = size.x * size.y;
  if (n >= count) { return; }
  let last = vec2f(vec2u(p.W, p.H) - 1u);
  let first = vec2i(4u * vec2u(n % size.x, n / size.x));
  let u = flow[n];
  let whole = floor(u);
  let part = u - whole;
  let corner = first - 1 + vec2i(clamp(whole, -last - 8.0, last + 8.0));
  let weightX = weights(part.x);
  let slopeX = slopes(part.x);
  let weightY = weights(part.y);
  let slopeY = slopes(part.y);
  let columns = vec4f(vec4i(first.x) + vec4i(0, 1, 2, 3));
  let places = columns + u.x;
  let inside = select(vec4f(), vec4f(1.0), (columns <= vec4f(last.x)) & (places >= vec4f()) & (places <= vec4f(last.x)));
  var b0 = across(corner.y, corner.x, weightX, slopeX);
  var b1 = across(corner.y + 1, corner.x, weightX, slopeX);
  var b2 = across(corner.y + 2, corner.x, weightX, slopeX);
  var above = own(first.y - 1, first.x).four;
  var here = own(first.y, first.x);
  let brighter = light[0];
  var rest = vec4f(); var all = vec4f();
  var xx = vec4f(); var xy = vec4f(); var yy = vec4f(); var xt = vec4f(); var yt = vec4f();
  for (var i = 0; i < 4; i++) {
    let b3 = across(corner.y + 3 + i, corner.x, weightX, slopeX);
    let below = own(first.y + 1 + i, first.x);
    let value = weightY.x * b0.value + weightY.y * b1.value + weightY.z * b2.value + weightY.w * b3.value;
    var gx = weightY.x * b0.slope + weightY.y * b1.slope + weightY.z * b2.slope + weightY.w * b3.slope;
    var gy = slopeY.x * b0.value + slopeY.y * b1.value + slopeY.z * b2.value + slopeY.w * b3.value;
    gx = 0.5 * gx + 0.25 * (vec4f(here.four.yzw, here.right) - vec4f(here.left, here.four.xyz));
    gy = 0.5 * gy + 0.25 * (below.four - above);
    let row = f32(first.y + i);
    let r = value - here.four - brighter;
    let w = select(vec4f(), inside, row <= last.y && row + u.y >= 0.0 && row + u.y <= last.y) * p.scale * inverseSqrt(p.scale * p.scale + r * r);
    let t = gx * u.x + gy * u.y - r;
    let wx = w * gx;
    let wy = w * gy;
    rest += w * r;
    all += w;
    xx += wx * gx;
    xy += wx * gy;
    yy += wy * gy;
    xt += wx * t;
    yt += wy * t;
    b0 = b1;
    b1 = b2;
    b2 = b3;
    above = here.four;
    here = below;
  }
  let mean = vec4f(0.0625);
  cells[n] = dot(xx, mean);
  cells[count + n] = dot(xy, mean);
  cells[2u * count + n] = dot(yy, mean);
  cells[3u * count + n] = dot(xt, mean);
  cells[4u * count + n] = dot(yt, mean);
  cells[5u * count + n] = dot(rest, mean);
  cells[6u * count + n] = dot(all, mean);
}
