// loss = inverse * sum of weights[r] ce[r], inverse = 1 / sum of the weights, or 1 / denominator where byWeights is 0; a divisor of zero
// gives zeros. Rows of weight 0 do not count, whatever their ce. One workgroup; each invocation takes every WG-th row.
struct Params { R: u32, byWeights: u32, denominator: f32 }
@group(0) @binding(0) var<storage, read> ce: array<f32>;
@group(0) @binding(1) var<storage, read> weights: array<f32>;
@group(0) @binding(2) var<storage, read_write> loss: array<f32>;
@group(0) @binding(3) var<storage, read_write> inverse: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  var s = 0.0;
  var t = 0.0;
  for (var r = lane; r < p.R; r += WG) {
    let w = weights[r];
    if (w != 0.0) { s += w * ce[r]; }
    t += w;
  }
  let sum = workgroup_sum(s, lane);
  let weight = workgroup_sum(t, lane);
  let by = select(p.denominator, weight, p.byWeights != 0u);
  if (lane == 0u) {
    let f = select(1.0 / by, 0.0, by == 0.0);
    loss[0] = sum * f;
    inverse[0] = f;
  }
}
