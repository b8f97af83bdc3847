// loss = inverse * sum of weights[r] cost[r], inverse = 1 / sum of the weights, or 1 / denominator where byWeights is 0; a divisor of zero
// gives zeros. Rows of weight 0 do not count, whatever their cost. totals: that sum, the sum of the weights, rows that count, and rows among
// them whose best id is the target. One workgroup; each invocation takes every WG-th row.
struct Params { R: u32, byWeights: u32, denominator: f32 }
@group(0) @binding(0) var<storage, read> cost: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read> correct: array<u32>;
@group(0) @binding(3) var<storage, read_write> loss: array<f32>;
@group(0) @binding(4) var<storage, read_write> inverse: array<f32>;
@group(0) @binding(5) var<storage, read_write> totals: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  var s = 0.0;
  var t = 0.0;
  var count = 0u;
  var hits = 0u;
  for (var r = lane; r < p.R; r += WG) {
    let w = weights[r];
    if (w != 0.0) {
      s += w * cost[r];
      count++;
      hits += correct[r];
    }
    t += w;
  }
  let sum = workgroup_sum(s, lane);
  let weight = workgroup_sum(t, lane);
  let rows = workgroup_sum(f32(count), lane);
  let right = workgroup_sum(f32(hits), lane);
  let by = select(p.denominator, weight, p.byWeights != 0u);
  if (lane == 0u) {
    let f = select(1.0 / by, 0.0, by == 0.0);
    loss[0] = sum * f;
    inverse[0] = f;
    totals[0] = sum;
    totals[1] = weight;
    totals[2] = rows;
    totals[3] = right;
  }
}
