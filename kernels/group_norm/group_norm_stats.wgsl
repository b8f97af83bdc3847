// Mean and sum of squared deviations of each channel over a run of pixels of one picture: part[b,run,0,c] = mean, part[b,run,1,c] = the sum.
// Two passes over the run, the second from the cache. One invocation takes four channels of one run.
struct Params { B: u32, P: u32, C: u32, span: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> part: array<vec4f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let C = p.C / 4u;
  let runs = (p.P + p.span - 1u) / p.span;
  if (n >= p.B * runs * C) { return; }
  let c = n % C;
  let picture = n / (C * runs);
  let first = n / C % runs * p.span;
  let last = min(first + p.span, p.P);
  var sum = vec4f();
  for (var q = first; q < last; q++) { sum += x[(picture * p.P + q) * C + c]; }
  let mean = sum / f32(last - first);
  var squares = vec4f();
  for (var q = first; q < last; q++) {
    let d = x[(picture * p.P + q) * C + c] - mean;
    squares += d * d;
  }
  part[n / C * 2u * C + c] = mean;
  part[(n / C * 2u + 1u) * C + c] = squares;
}
