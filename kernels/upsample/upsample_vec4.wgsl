// y[oy,ox,c] = x[oy/2,ox/2,c]: nearest neighbour, twice as high and wide, NHWC. One invocation copies four channels of one pixel to four.
struct Params { B: u32, H: u32, W: u32, C: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let C = p.C / 4u;
  if (n >= p.B * p.H * p.W * C) { return; }
  let c = n % C;
  let column = n / C % p.W;
  let row = n / (C * p.W);
  let at = (4u * row * p.W + 2u * column) * C + c;
  let below = at + 2u * p.W * C;
  let value = x[n];
  y[at] = value;
  y[at + C] = value;
  y[below] = value;
  y[below + C] = value;
}
