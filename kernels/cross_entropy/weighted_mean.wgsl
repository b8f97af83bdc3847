// loss = scale * sum of w[r] cost[r], scale = 1 / sum of w (or 1 / denominator where that is not 0); a zero sum of weights gives zeros.
// One workgroup; each invocation takes every WG-th row.
struct Params { rows: u32, denominator: f32 }
@group(0) @binding(0) var<storage, read> cost: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  var s = 0.0;
  var t = 0.0;
  for (var r = lane; r < p.rows; r += WG) {
    if (weights[r] != 0.0) { s += weights[r] * cost[r]; }
    t += weights[r];
  }
  let sum = workgroup_sum(s, lane);
  let weight = workgroup_sum(t, lane);
  let by = select(p.denominator, weight, p.denominator == 0.0);
  if (lane == 0u) {
    let f = select(1.0 / by, 0.0, by == 0.0);
    loss[0] = sum * f;
    scale[0] = f;
  }
}
