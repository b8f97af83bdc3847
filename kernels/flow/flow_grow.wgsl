// A flow of cells (H, W) for a finer grid (OH, OW), N places to a cell and side: between four neighbours linearly, past the outermost cells going on in
// the same line. Of the N x N places between cells k and k + 1 on either axis, number i is N k + N / 2 + i, at first + i / N. One invocation writes those.
struct Params { H: u32, W: u32, OH: u32, OW: u32, N: u32, first: f32, gain: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec2f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  if (n >= (p.H + 1u) * (p.W + 1u)) { return; }
  let last = vec2i(i32(p.W), i32(p.H)) - 1;
  let cell = vec2i(i32(n % (p.W + 1u)), i32(n / (p.W + 1u))) - 1;
  let low = clamp(cell, vec2i(), max(last - 1, vec2i()));
  let high = min(low + 1, last);
  let a = p.gain * x[low.y * (last.x + 1) + low.x];
  let b = p.gain * x[low.y * (last.x + 1) + high.x];
  let c = p.gain * x[high.y * (last.x + 1) + low.x];
  let d = p.gain * x[high.y * (last.x + 1) + high.x];
  let part = vec2f(cell - low) + p.first;
  let corner = i32(p.N) * cell + i32(p.N / 2u);
  for (var i = max(-corner.y, 0); i < min(i32(p.N), i32(p.OH) - corner.y); i++) {
    let down = part.y + f32(i) / f32(p.N);
    let left = mix(a, c, down);
    let right = mix(b, d, down);
    let row = (corner.y + i) * i32(p.OW) + corner.x;
    for (var j = max(-corner.x, 0); j < min(i32(p.N), i32(p.OW) - corner.x); j++) {
      y[row + j] = mix(left, right, part.x + f32(j) / f32(p.N));
    }
  }
}
