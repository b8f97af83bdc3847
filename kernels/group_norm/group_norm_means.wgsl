// Joins the parts of group_norm_sums over the runs of a picture: sums[b,0,c] and sums[b,1,c] per channel, and for every channel the means
// over its group's values, means[b,0,c] = mean of w du, means[b,1,c] = mean of w du n. One invocation takes one group of one picture.
struct Params { B: u32, P: u32, C: u32, span: u32 }
@group(0) @binding(0) var<storage, read> part: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> means: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group.x * WG + lane;
  if (n >= p.B * 32u) { return; }
  let width = p.C / 32u;
  let runs = (p.P + p.span - 1u) / p.span;
  let row = n / 32u * 2u * p.C + n % 32u * width;
  var total = vec2f();
  for (var c = 0u; c < width; c++) {
    var sum = vec2f();
    for (var run = 0u; run < runs; run++) {
      let at = (n / 32u * runs + run) * 2u * p.C + n % 32u * width + c;
      sum += vec2f(part[at], part[at + p.C]);
    }
    sums[row + c] = sum.x;
    sums[row + p.C + c] = sum.y;
    total += w[n % 32u * width + c] * sum;
  }
  let mean = total / f32(width * p.P);
  for (var c = 0u; c < width; c++) {
    means[row + c] = mean.x;
    means[row + p.C + c] = mean.y;
  }
}
