// dx[y,x,c] = the sum of dy over the 2x2 pixels that copied it (+ the old dx where acc is 1). One invocation writes one value.
struct Params { B: u32, H: u32, W: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> dx: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  if (n >= p.B * p.H * p.W * p.C) { return; }
  let c = n % p.C;
  let column = n / p.C % p.W;
  let row = n / (p.C * p.W);
  let at = (4u * row * p.W + 2u * column) * p.C + c;
  let below = at + 2u * p.W * p.C;
  var sum = (dy[at] + dy[at + p.C]) + (dy[below] + dy[below + p.C]);
  if (p.acc == 1u) { sum += dx[n]; }
  dx[n] = sum;
}
