// Joins the parts of group_norm_stats over the runs and channels of each of the 32 groups (Chan, Golub and LeVeque 1979: two means and sums
// of squares of m and n values join without cancellation) and writes mean and 1 / sqrt(var + eps) for every channel of the group.
// One invocation takes one group of one picture.
struct Params { B: u32, P: u32, C: u32, span: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> part: array<f32>;
@group(0) @binding(1) var<storage, read_write> mean: array<f32>;
@group(0) @binding(2) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group.x * WG + lane;
  if (n >= p.B * 32u) { return; }
  let picture = n / 32u;
  let width = p.C / 32u;
  let runs = (p.P + p.span - 1u) / p.span;
  var count = 0.0;
  var average = 0.0;
  var squares = 0.0;
  for (var run = 0u; run < runs; run++) {
    let m = f32(min(p.span, p.P - run * p.span));
    let row = (picture * runs + run) * 2u * p.C + n % 32u * width;
    for (var c = 0u; c < width; c++) {
      let d = part[row + c] - average;
      let share = m / (count + m);
      average += d * share;
      squares += part[row + p.C + c] + d * d * count * share;
      count += m;
    }
  }
  let r = 1.0 / sqrt(squares / count + p.eps);
  for (var c = 0u; c < width; c++) {
    mean[n * width + c] = average;
    rstd[n * width + c] = r;
  }
}
