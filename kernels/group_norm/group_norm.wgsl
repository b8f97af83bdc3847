// y = f((x - mean) rstd w + b), with f(u) = u or, where swish is 1, u / (1 + exp(-u)). mean and rstd hold one value per picture and channel.
// One invocation takes four channels of RUN pixels of one picture.
struct Params { B: u32, P: u32, C: u32, swish: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> mean: array<vec4f>;
@group(0) @binding(2) var<storage, read> rstd: array<vec4f>;
@group(0) @binding(3) var<storage, read> w: array<vec4f>;
@group(0) @binding(4) var<storage, read> b: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;
override RUN = 16u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let C = p.C / 4u;
  let runs = (p.P + RUN - 1u) / RUN;
  if (n >= p.B * runs * C) { return; }
  let c = n % C;
  let picture = n / (C * runs);
  let first = n / C % runs * RUN;
  let last = min(first + RUN, p.P);
  let m = mean[picture * C + c];
  let scale = rstd[picture * C + c] * w[c];
  let shift = b[c];
  for (var q = first; q < last; q++) {
    let at = (picture * p.P + q) * C + c;
    var u = (x[at] - m) * scale + shift;
    if (p.swish == 1u) { u = u / (1.0 + exp(-u)); }
    y[at] = u;
  }
}
