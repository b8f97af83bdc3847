// y[oy,ox,c] = x[oy/2,ox/2,c]: nearest neighbour, twice as high and wide, NHWC. One invocation writes four channels.
struct Params { B: u32, H: u32, W: u32, C: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let C = p.C / 4u;
  if (n >= 4u * p.B * p.H * p.W * C) { return; }
  let c = n % C;
  let ox = n / C % (2u * p.W);
  let row = n / (C * 2u * p.W);
  let picture = row / (2u * p.H);
  let oy = row % (2u * p.H);
  y[n] = x[((picture * p.H + oy / 2u) * p.W + ox / 2u) * C + c];
}
