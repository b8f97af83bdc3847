// dx = rstd (w du - mean(w du) - n mean(w du n)) (+ the old dx where acc is 1), with n, u and du as in group_norm_sums and the means over
// the group of the channel. One invocation takes four channels of RUN pixels of one picture.
struct Params { B: u32, P: u32, C: u32, swish: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read> mean: array<vec4f>;
@group(0) @binding(3) var<storage, read> rstd: array<vec4f>;
@group(0) @binding(4) var<storage, read> w: array<vec4f>;
@group(0) @binding(5) var<storage, read> b: array<vec4f>;
@group(0) @binding(6) var<storage, read> means: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(8) var<uniform> p: Params;
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
  let r = rstd[picture * C + c];
  let weight = w[c];
  let shift = b[c];
  let plain = means[picture * 2u * C + c];
  let slope = means[(picture * 2u + 1u) * C + c];
  for (var q = first; q < last; q++) {
    let at = (picture * p.P + q) * C + c;
    let normal = (x[at] - m) * r;
    var du = dy[at] * weight;
    if (p.swish == 1u) {
      let u = normal * weight + shift;
      let s = 1.0 / (1.0 + exp(-u));
      du *= s * (1.0 + u * (1.0 - s));
    }
    var value = r * (du - plain - normal * slope);
    if (p.acc == 1u) { value += dx[at]; }
    dx[at] = value;
  }
}
