// The window along columns and the displacement as in flow_solve.wgsl, four columns an invocation. Needs W % 4 = 0.
struct Params { H: u32, W: u32, R: u32, prior: f32 }
@group(0) @binding(0) var<storage, read> sums: array<vec4f>;
@group(0) @binding(1) var<storage, read> window: array<f32>;
@group(0) @binding(2) var<storage, read> flow: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> next: array<vec4f>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let quads = p.W / 4u;
  let count = p.H * quads;
  if (n >= count) { return; }
  let y = n / quads;
  let x = n % quads;
  let first = y - min(y, p.R);
  let end = min(y + p.R + 1u, p.H);
  var xx = vec4f(); var xy = vec4f(); var yy = vec4f(); var xt = vec4f(); var yt = vec4f();
  for (var i = first; i < end; i++) {
    let w = window[i + p.R - y];
    let at = i * quads + x;
    xx += w * sums[at];
    xy += w * sums[count + at];
    yy += w * sums[2u * count + at];
    xt += w * sums[3u * count + at];
    yt += w * sums[4u * count + at];
  }
  let a = flow[2u * n];
  let b = flow[2u * n + 1u];
  xx += p.prior;
  yy += p.prior;
  xt += p.prior * vec4f(a.xz, b.xz);
  yt += p.prior * vec4f(a.yw, b.yw);
  let det = xx * yy - xy * xy;
  let dx = (yy * xt - xy * yt) / det;
  let dy = (xx * yt - xy * xt) / det;
  next[2u * n] = vec4f(dx.x, dy.x, dx.y, dy.y);
  next[2u * n + 1u] = vec4f(dx.z, dy.z, dx.w, dy.w);
}
