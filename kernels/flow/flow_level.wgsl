// y[Y,X] = sum over i, j of k[i] k[j] x[step Y + i - 2, step X + j - 2] with k = (1 4 6 4 1) / 16: a picture blurred (step 1), or blurred and
// halved (step 2). Places outside repeat the edge. One invocation writes one pixel.
struct Params { H: u32, W: u32, OH: u32, OW: u32, step: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  if (n >= p.OH * p.OW) { return; }
  let top = i32(p.step * (n / p.OW));
  let left = i32(p.step * (n % p.OW));
  let k = array<f32, 5>(0.0625, 0.25, 0.375, 0.25, 0.0625);
  var sum = 0.0;
  for (var i = 0; i < 5; i++) {
    let row = u32(clamp(top + i - 2, 0, i32(p.H) - 1)) * p.W;
    var across = 0.0;
    for (var j = 0; j < 5; j++) { across += k[j] * x[row + u32(clamp(left + j - 2, 0, i32(p.W) - 1))]; }
    sum += k[i] * across;
  }
  y[n] = sum;
}
