// Sums for the gradients, over a run of pixels of one picture and for each channel: with n = (x - mean) rstd, u = n w + b and
// du = dy f'(u): part[b,run,0,c] = sum of du, part[b,run,1,c] = sum of du n. f'(u) = 1, or for swish s (1 + u (1 - s)), s = sigmoid(u).
// One invocation takes four channels of one run.
struct Params { B: u32, P: u32, C: u32, span: u32, swish: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read> mean: array<vec4f>;
@group(0) @binding(3) var<storage, read> rstd: array<vec4f>;
@group(0) @binding(4) var<storage, read> w: array<vec4f>;
@group(0) @binding(5) var<storage, read> b: array<vec4f>;
@group(0) @binding(6) var<storage, read_write> part: array<vec4f>;
@group(0) @binding(7) var<uniform> p: Params;
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
  let m = mean[picture * C + c];
  let r = rstd[picture * C + c];
  let weight = w[c];
  let shift = b[c];
  var sum = vec4f();
  var product = vec4f();
  for (var q = first; q < last; q++) {
    let at = (picture * p.P + q) * C + c;
    let normal = (x[at] - m) * r;
    var du = dy[at];
    if (p.swish == 1u) {
      let u = normal * weight + shift;
      let s = 1.0 / (1.0 + exp(-u));
      du *= s * (1.0 + u * (1.0 - s));
    }
    sum += du;
    product += du * normal;
  }
  part[n / C * 2u * C + c] = sum;
  part[(n / C * 2u + 1u) * C + c] = product;
}
